package main

import (
	"fmt"

	"github.com/alecthomas/kong"
)

// laterCmd stands for a command of the command line that this build does not have.
type laterCmd struct {
	Rest []string `arg:"" optional:"" passthrough:"" hidden:""`
}

// Run refuses.
func (c *laterCmd) Run(k *kong.Context) error {
	return &usageError{err: fmt.Errorf("%s: not in this build, expected a command of quire --help", k.Selected().Name)}
}
