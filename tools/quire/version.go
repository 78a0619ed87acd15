package main

import (
	"context"
	"os"
	"regexp"

	"quire/codegen/llc"
	"quire/tools/model"
)

type versionCmd struct{}

func (versionCmd) Help() string { return "Example:\n\n    quire version --json" }

type versionResult struct {
	Version string `json:"version"`
	Commit  string `json:"commit"`
	LLVM    string `json:"llvm"`
	Driver  string `json:"driver"`
}

// Run never fails: what is not found is an empty text.
func (versionCmd) Run(ctx context.Context, e *environment) error {
	r := versionResult{Version: model.Version(), Commit: model.Commit()}
	tools, err := llc.Find(ctx)
	if err == nil {
		r.LLVM = tools.Release
	}
	r.Driver = driver("/proc/driver/nvidia/version")
	if e.JSON {
		return e.json(r)
	}
	return e.printf("quire %s\ncommit %s\nLLVM %s\ndriver %s\n", r.Version, or(r.Commit, "unknown"), or(r.LLVM, "not found"), or(r.Driver, "none"))
}

var release = regexp.MustCompile(`Kernel Module.*?(\d+(?:\.\d+)+)`)

// driver is the version of NVIDIA's driver that Linux has loaded.
func driver(path string) string {
	text, err := os.ReadFile(path)
	if err != nil {
		return ""
	}
	m := release.FindStringSubmatch(string(text))
	if m == nil {
		return ""
	}
	return m[1]
}

func or(s, otherwise string) string {
	if s == "" {
		return otherwise
	}
	return s
}
