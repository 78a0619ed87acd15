package model

import (
	"bytes"
	"fmt"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quire/frontends/spec"
)

// Kind says what a MODEL argument turned out to be.
type Kind string

// The kinds of MODEL.
const (
	File      Kind = "file"      // GGUF, or one .safetensors file
	Directory Kind = "directory" // Hugging Face
	Spec      Kind = "spec"      // YAML
	Compiled  Kind = "program"   // .quire
)

// Ref is a MODEL argument that exists.
type Ref struct {
	Kind Kind
	Path string
}

// example finds a spec that comes with the compiler, by the name of its file, and writes it
// where other readers of specs find it.
func example(name, cacheDir string) (Ref, error) {
	text, err := fs.ReadFile(spec.Examples(), name)
	if err != nil {
		return Ref{}, &MissingError{Model: name}
	}
	path := filepath.Join(cacheDir, "specs", name)
	if old, err := os.ReadFile(path); err == nil && bytes.Equal(old, text) {
		return Ref{Spec, path}, nil
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return Ref{}, err
	}
	return Ref{Spec, path}, os.WriteFile(path, text, 0o644)
}

// DefaultCacheDir is where models and programs are kept: QUIRE_CACHE_DIR, else quire in the user's cache folder.
func DefaultCacheDir() (string, error) {
	if dir := os.Getenv("QUIRE_CACHE_DIR"); dir != "" {
		return dir, nil
	}
	dir, err := os.UserCacheDir()
	if err != nil {
		return "", fmt.Errorf("cache folder: %w, expected --cache-dir or QUIRE_CACHE_DIR", err)
	}
	return filepath.Join(dir, "quire"), nil
}

// MissingError says that MODEL is no file, and whether it is a name to pull.
type MissingError struct {
	Model string
	Known bool // Pull would fetch it
}

func (e *MissingError) Error() string {
	if e.Known {
		return fmt.Sprintf("%s: not in the cache yet, expected a pulled model: quire pull %s", e.Model, e.Model)
	}
	return fmt.Sprintf("%s: no such file, expected a GGUF file, a Hugging Face directory, a YAML spec, a .quire program or one of: %s",
		e.Model, strings.Join(Names(), ", "))
}

// Names lists the short names of models, sorted.
func Names() []string { return slices.Sorted(maps.Keys(known)) }

// Resolve finds out what MODEL is. A file wins over a short name, and over a spec that comes
// with the compiler.
func Resolve(model, cacheDir string) (Ref, error) {
	info, err := os.Stat(model)
	if err != nil {
		k, ok := known[model]
		if !ok {
			return example(model, cacheDir)
		}
		path := k.path(cacheDir)
		if _, err := os.Stat(path); err != nil {
			return Ref{}, &MissingError{Model: model, Known: true}
		}
		return Ref{File, path}, nil
	}
	if info.IsDir() {
		return Ref{Directory, model}, nil
	}
	switch strings.ToLower(filepath.Ext(model)) {
	case ".yaml", ".yml":
		return Ref{Spec, model}, nil
	case ".quire":
		return Ref{Compiled, model}, nil
	}
	return Ref{File, model}, nil
}
