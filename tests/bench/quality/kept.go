package main

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"quire/runtime/program"
)

// stored is a measurement on disk and what it was made from.
type stored[T any] struct {
	Of     string
	Result T
}

// remember returns the measurement of a name if it was made from the same things, else makes
// and keeps it.
func remember[T any](b *bench, name, of string, measure func() (T, error)) (T, error) {
	path := filepath.Join(b.dir, name+".json")
	var s stored[T]
	if text, err := os.ReadFile(path); err == nil && json.Unmarshal(text, &s) == nil && s.Of == of {
		return s.Result, nil
	}
	r, err := measure()
	if err != nil {
		return r, err
	}
	text, err := json.MarshalIndent(stored[T]{of, r}, "", " ")
	if err != nil {
		return r, err
	}
	return r, write(path, text)
}

// forget makes a name be measured again.
func (b *bench) forget(name string) { os.Remove(filepath.Join(b.dir, name+".json")) }

// write replaces a file at once.
func write(path string, data []byte) error {
	if err := os.WriteFile(path+".part", data, 0o644); err != nil {
		return err
	}
	return os.Rename(path+".part", path)
}

// digest is of a compiled program (code, plans, where its weights come from) and of whatever
// else decides what is measured.
func digest(p *program.Program, rest ...any) (string, error) {
	f, err := os.CreateTemp("", "quality")
	if err != nil {
		return "", err
	}
	f.Close()
	defer os.Remove(f.Name())
	q := *p
	q.Compiler = "" // a commit that changes nothing of the program
	if err := program.Write(f.Name(), &q, nil); err != nil {
		return "", err
	}
	text, err := os.ReadFile(f.Name())
	if err != nil {
		return "", err
	}
	sum := sha256.New()
	sum.Write(text)
	fmt.Fprint(sum, rest...)
	return hex.EncodeToString(sum.Sum(nil))[:24], nil
}
