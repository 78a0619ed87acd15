package main

import (
	"os"
	"path/filepath"
	"testing"
)

func TestDriver(t *testing.T) {
	path := filepath.Join(t.TempDir(), "version")
	text := "NVRM version: NVIDIA UNIX Open Kernel Module for x86_64  580.95.05  Release Build\nGCC version: gcc 12\n"
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
	if got := driver(path); got != "580.95.05" {
		t.Errorf("driver is %q, expected 580.95.05", got)
	}
	if got := driver(path + "x"); got != "" {
		t.Errorf("driver without a file is %q, expected none", got)
	}
}
