package calibrate

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/gob"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
)

// result is what one layer became.
type result struct {
	Layer  Layer
	Rows   map[string][]byte    // linears, rounded
	Floats map[string][]float32 // norms and biases that took a scale
}

// state keeps finished layers in a folder beside the checkpoint until that is whole.
type state struct{ dir, key string }

const stateDir = ".calibration"

// key hashes all that a layer's result depends on.
func (r *run) key() string {
	h := sha256.New()
	o := r.o
	fmt.Fprintf(h, "1 %d %d %s %v %d %d %d %d %s\n", o.Bits, o.Group, o.Search, o.Clip, o.Seed, o.Window, o.Windows, o.Sample, o.Frontend.KV)
	for _, f := range r.m.Source.Files {
		var when int64
		if st, err := os.Stat(f.Path); err == nil {
			when = st.ModTime().UnixNano()
		}
		fmt.Fprintf(h, "%s %d %d\n", f.Path, f.Size, when)
	}
	binary.Write(h, binary.LittleEndian, o.Tokens)
	return hex.EncodeToString(h.Sum(nil))
}

// openState finds the layers of an earlier run of the same key; those of another are removed.
func openState(dir, key string) (*state, error) {
	s := &state{filepath.Join(dir, stateDir), key}
	was, err := os.ReadFile(filepath.Join(s.dir, "key"))
	if err == nil && string(was) == key {
		return s, nil
	}
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	if err := os.RemoveAll(s.dir); err != nil {
		return nil, err
	}
	if err := os.MkdirAll(s.dir, 0o755); err != nil {
		return nil, err
	}
	return s, os.WriteFile(filepath.Join(s.dir, "key"), []byte(key), 0o644)
}

func (s *state) path(i int) string { return filepath.Join(s.dir, fmt.Sprintf("layer-%04d", i)) }

// load reads a finished layer; nil when it is not.
func (s *state) load(i int) (*result, error) {
	f, err := os.Open(s.path(i))
	if errors.Is(err, fs.ErrNotExist) {
		return nil, nil
	}
	if err != nil {
		return nil, err
	}
	defer f.Close()
	r := &result{}
	if err := gob.NewDecoder(f).Decode(r); err != nil {
		return nil, fmt.Errorf("%s: %w, expected a finished layer", s.path(i), err)
	}
	return r, nil
}

// save keeps a layer: the file is whole or absent, whenever the process ends.
func (s *state) save(i int, r *result) error {
	f, err := os.CreateTemp(s.dir, ".layer.*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	err = gob.NewEncoder(f).Encode(r)
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return err
	}
	return os.Rename(f.Name(), s.path(i))
}

func (s *state) remove() error { return os.RemoveAll(s.dir) }
