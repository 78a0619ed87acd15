// Command quire compiles language models and runs them.
//
// Each command is a file of its own over the Go API: whatever a command can do, a Go program can do. The shape of the
// command line is package kong's; what all commands share stands in main.go (the list), flags.go (flags), output.go
// (results, JSON, bars) and errors.go (messages and exit codes).
//
// Results go to stdout, everything else to stderr. With --json stdout holds one JSON object, or nothing after an error.
package main
