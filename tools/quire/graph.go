package main

import "fmt"

type graphCmd struct {
	Model string `arg:"" placeholder:"MODEL|FILE.ir" help:"A model, or IR text."`
}

// Run refuses.
func (c *graphCmd) Run() error {
	return &usageError{err: fmt.Errorf("graph: not in this build, expected another command")}
}
