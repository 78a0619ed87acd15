package spec

import (
	"embed"
	"io/fs"
)

//go:embed examples/*.yaml
var examples embed.FS

// Examples holds the specs of well-known models: smollm2-135m.yaml, llama-3-8b.yaml and others.
func Examples() fs.FS {
	sub, err := fs.Sub(examples, "examples")
	if err != nil {
		panic("BUG: " + err.Error()) // the name is a constant
	}
	return sub
}
