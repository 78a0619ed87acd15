//go:build !linux || !amd64

package target

// mayUseTiles is Linux's question.
func mayUseTiles() bool { return false }
