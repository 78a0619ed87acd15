//go:build race

package cuda_test

// raced says whether the race detector is at work.
const raced = true
