package checkpoint

import (
	"bufio"
	"encoding/json"
	"fmt"
	"io"
	"os"
	"path/filepath"

	"quire/frontends/weights"
)

// shards writes tensors into files of a bounded size, whose number is known only at the end.
type shards struct {
	dir   string
	limit int64

	pending []weights.TensorData
	bytes   int64
	total   int64
	names   [][]string // of the tensors of each file
}

// metadata is what transformers asks of a file.
var metadata = map[string]string{"format": "pt"}

func (s *shards) add(t weights.TensorData) error {
	n := int64(len(t.Data))
	if len(s.pending) > 0 && s.bytes+n > s.limit {
		if err := s.flush(); err != nil {
			return err
		}
	}
	s.pending = append(s.pending, t)
	s.bytes, s.total = s.bytes+n, s.total+n
	return nil
}

func (s *shards) part(i int) string {
	return filepath.Join(s.dir, fmt.Sprintf(".model-%05d.part", i+1))
}

func (s *shards) flush() error {
	var names []string
	for _, t := range s.pending {
		names = append(names, t.Name)
	}
	err := replace(s.part(len(s.names)), func(w io.Writer) error { return weights.WriteSafetensors(w, metadata, s.pending) })
	s.names = append(s.names, names)
	s.pending, s.bytes = nil, 0
	return err
}

// finish names the files, and writes the index of several.
func (s *shards) finish() error {
	if err := s.flush(); err != nil {
		return err
	}
	if len(s.names) == 1 {
		return os.Rename(s.part(0), filepath.Join(s.dir, "model.safetensors"))
	}
	where := map[string]string{}
	for i, names := range s.names {
		file := fmt.Sprintf("model-%05d-of-%05d.safetensors", i+1, len(s.names))
		if err := os.Rename(s.part(i), filepath.Join(s.dir, file)); err != nil {
			return err
		}
		for _, n := range names {
			where[n] = file
		}
	}
	return writeJSON(filepath.Join(s.dir, "model.safetensors.index.json"), map[string]any{
		"metadata": map[string]any{"total_size": s.total}, "weight_map": where})
}

// replace writes a file, all of it or nothing.
func replace(path string, write func(w io.Writer) error) error {
	f, err := os.CreateTemp(filepath.Dir(path), "."+filepath.Base(path)+".*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	b := bufio.NewWriterSize(f, 1<<20)
	if err = write(b); err == nil {
		err = b.Flush()
	}
	if err == nil {
		err = f.Chmod(0o644)
	}
	if cerr := f.Close(); err == nil {
		err = cerr
	}
	if err != nil {
		return fmt.Errorf("%s: %w", path, err)
	}
	return os.Rename(f.Name(), path)
}

// writeJSON writes sorted keys, indented.
func writeJSON(path string, v any) error {
	text, err := json.MarshalIndent(v, "", "  ")
	if err != nil {
		return err
	}
	return replace(path, func(w io.Writer) error {
		_, err := w.Write(append(text, '\n'))
		return err
	})
}
