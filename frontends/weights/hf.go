package weights

import (
	"errors"
	"io"
	"io/fs"
	"maps"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"unicode"
)

// Limits of a Hugging Face directory.
const (
	maxConfig    = 16 << 20  // bytes of a JSON file
	maxTokenizer = 128 << 20 // bytes of tokenizer.json (Gemma's has 35 MB)
	maxShards    = 4096
)

const (
	singleName = "model.safetensors"
	indexName  = "model.safetensors.index.json"
)

// openDir opens a Hugging Face directory. Every file is opened through an os.Root, so that neither a name in the
// shard index nor a symbolic link leads outside it.
func (s *Source) openDir(dir string, o Options) error {
	s.Format = HuggingFace
	root, prefix, err := openRoot(dir)
	if err != nil {
		return &Error{File: dir, Err: cause(err)}
	}
	defer root.Close()
	d := folder{path: dir, prefix: prefix, root: root}
	for _, j := range []struct {
		to    *[]byte
		limit int64
		names []string
	}{
		{&s.Config, maxConfig, []string{"config.json"}},
		{&s.GenerationConfig, maxConfig, []string{"generation_config.json"}},
		{&s.Tokenizer, maxTokenizer, []string{"tokenizer.json"}},
		{&s.TokenizerConfig, maxConfig, []string{"tokenizer_config.json"}},
		{&s.SpecialTokens, maxConfig, []string{"special_tokens_map.json"}},
		{&s.ChatTemplate, maxConfig, []string{"chat_template.jinja"}},
		{&s.QuantizeConfig, maxConfig, []string{"quantize_config.json", "quant_config.json"}},
	} {
		for _, name := range j.names {
			if *j.to == nil {
				if *j.to, err = d.read(name, j.limit); err != nil {
					return err
				}
			}
		}
	}
	if s.Config == nil && !o.NoWeights {
		return at(dir, "no config.json, expected a Hugging Face directory%s", d.hint())
	}
	return s.openShards(d, o)
}

// openShards opens model.safetensors, or the files that its index names.
func (s *Source) openShards(d folder, o Options) error {
	names := []string{singleName}
	var index map[string]string
	if !d.has(singleName) {
		text, err := d.read(indexName, o.maxHeader())
		if err != nil {
			return err
		}
		if text == nil {
			if o.NoWeights {
				return nil
			}
			return at(d.path, "neither %s nor %s, expected one%s", singleName, indexName, d.hint())
		}
		if index, err = parseIndex(d.join(indexName), text); err != nil {
			return err
		}
		names = slices.Compact(slices.Sorted(maps.Values(index)))
		if len(names) > maxShards {
			return at(d.join(indexName), "%d shards, expected at most %d", len(names), maxShards)
		}
	}
	for i, name := range names {
		f, err := d.open(name)
		if err != nil {
			return err
		}
		file, err := newFile(d.join(name), f, o)
		if err != nil {
			return err
		}
		s.Files = append(s.Files, file)
		if err := s.readSafetensors(i, o); err != nil {
			return err
		}
	}
	for _, name := range slices.Sorted(maps.Keys(index)) {
		if t := s.byName[name]; t == nil || names[t.File] != index[name] {
			return inTensor(name, at(d.join(index[name]), "absent, expected here by %s", indexName))
		}
	}
	return nil
}

// parseIndex reads the weight_map of a shard index: tensor name to file name, each a plain name in the directory.
func parseIndex(path string, text []byte) (map[string]string, error) {
	s := &scan{b: text}
	var index map[string]string
	var now string
	s.object(func(key string) {
		if key != "weight_map" {
			s.skip(0)
			return
		}
		index = map[string]string{}
		s.object(func(tensor string) {
			now = tensor
			shard := s.str(255)
			if s.fail == nil && !plainName(shard) {
				s.errorf("shard %s, expected the name of a file in the same directory", brief(shard))
			}
			index[tensor] = shard
			if s.fail == nil {
				now = ""
			}
		})
	})
	s.end()
	if s.fail != nil {
		return nil, &Error{File: path, Tensor: now, Err: s.fail}
	}
	if len(index) == 0 {
		return nil, at(path, "no weight_map, expected tensor names with their shards")
	}
	return index, nil
}

// plainName reports whether name is that of a file in the same directory, and printable as it is.
func plainName(name string) bool {
	return name != "." && filepath.IsLocal(name) && !strings.ContainsAny(name, `/\`) &&
		!strings.ContainsFunc(name, func(r rune) bool { return !unicode.IsPrint(r) })
}

// folder is a directory whose files are opened inside root.
type folder struct {
	path   string // as the user wrote it
	prefix string // of the directory inside root
	root   *os.Root
}

// openRoot opens dir as a root. A snapshot of the Hugging Face hub's cache (models--O--N/snapshots/REV) links to the
// blobs of its model folder: there that folder is the root, and prefix leads to the snapshot.
func openRoot(dir string) (root *os.Root, prefix string, err error) {
	abs, err := filepath.Abs(dir)
	if err != nil {
		return nil, "", err
	}
	snapshots := filepath.Dir(abs)
	model := filepath.Dir(snapshots)
	if filepath.Base(snapshots) == "snapshots" && strings.HasPrefix(filepath.Base(model), "models--") {
		root, err = os.OpenRoot(model)
		return root, filepath.Join("snapshots", filepath.Base(abs)), err
	}
	root, err = os.OpenRoot(dir)
	return root, "", err
}

func (d folder) join(name string) string { return filepath.Join(d.path, name) }

func (d folder) open(name string) (*os.File, error) {
	f, err := d.root.OpenFile(filepath.Join(d.prefix, name), readOnly, 0)
	if err != nil {
		return nil, &Error{File: d.join(name), Msg: "expected a file in the directory", Err: cause(err)}
	}
	return f, nil
}

// has reports whether there is such a name, be it a bad link.
func (d folder) has(name string) bool {
	_, err := d.root.Lstat(filepath.Join(d.prefix, name))
	return err == nil
}

// read reads a whole small file, nil when it does not exist.
func (d folder) read(name string, limit int64) ([]byte, error) {
	if !d.has(name) {
		return nil, nil
	}
	f, err := d.open(name)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	info, err := f.Stat()
	if err != nil {
		return nil, &Error{File: d.join(name), Err: cause(err)}
	}
	if !info.Mode().IsRegular() || info.Size() > limit {
		return nil, at(d.join(name), "%s of %d bytes, expected a regular file of at most %d", info.Mode().Type(), info.Size(), limit)
	}
	text := make([]byte, info.Size())
	if _, err := io.ReadFull(f, text); err != nil {
		return nil, &Error{File: d.join(name), Err: cause(err)}
	}
	return text, nil
}

// hint names files that show what the directory is instead.
func (d folder) hint() string {
	entries, err := fs.ReadDir(d.root.FS(), filepath.ToSlash(filepath.Join(".", d.prefix)))
	if err != nil && !errors.Is(err, io.EOF) {
		return ""
	}
	for _, e := range entries {
		switch strings.ToLower(filepath.Ext(e.Name())) {
		case ".gguf":
			return " (it holds " + brief(e.Name()) + ": name that file)"
		case ".bin", ".pt", ".pth":
			return " (it holds " + brief(e.Name()) + ": save the model as safetensors)"
		}
	}
	return ""
}
