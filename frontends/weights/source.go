package weights

import (
	"bytes"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
)

// Format is the kind of a model source.
type Format string

// The formats that Open knows.
const (
	GGUF        Format = "gguf"
	HuggingFace Format = "huggingface" // a directory: config.json and safetensors
	Safetensors Format = "safetensors" // one file, without a configuration
)

// Options of Open. The zero value is the default.
type Options struct {
	// NoMmap reads the files into memory instead of mapping them: for disks that may vanish or change under us.
	NoMmap bool
	// MaxHeader bounds the header of a safetensors file, and a shard index, in bytes; 0 means 64 MiB.
	MaxHeader int64
	// NoWeights opens a directory that holds no safetensors, for its configuration or tokenizer alone.
	NoWeights bool
}

func (o Options) maxHeader() int64 {
	if o.MaxHeader > 0 {
		return o.MaxHeader
	}
	return 64 << 20
}

// Source is an opened model. It owns its files: after Close no Tensor's Data may be touched. Its methods may be
// called from many goroutines at once, Close excepted.
type Source struct {
	Format Format
	Path   string  // as given to Open
	Files  []*File // the files that hold tensors, shards in name order

	KV   Metadata // GGUF metadata; for safetensors the "__metadata__" strings of the first file
	Keys []string // the keys of KV: GGUF in file order, else sorted

	// The JSON files of a Hugging Face directory as they are, nil where absent.
	Config           []byte // config.json
	GenerationConfig []byte // generation_config.json
	Tokenizer        []byte // tokenizer.json
	TokenizerConfig  []byte // tokenizer_config.json
	SpecialTokens    []byte // special_tokens_map.json
	ChatTemplate     []byte // chat_template.jinja
	QuantizeConfig   []byte // quantize_config.json or quant_config.json, of older AWQ and GPTQ files

	// Tensors in the order of the files and, within a file, of the list (GGUF) or of the offsets (safetensors).
	Tensors []*Tensor

	byName map[string]*Tensor
}

// Open opens a GGUF file (told by its magic), a .safetensors file or a Hugging Face directory with default options.
func Open(path string) (*Source, error) { return OpenWith(path, Options{}) }

// OpenWith is Open with options.
func OpenWith(path string, o Options) (*Source, error) {
	info, err := os.Stat(path)
	if err != nil {
		return nil, &Error{File: path, Msg: "no such model, expected a GGUF file, a .safetensors file or a Hugging Face directory", Err: cause(err)}
	}
	s := &Source{Path: path, byName: map[string]*Tensor{}}
	if info.IsDir() {
		err = s.openDir(path, o)
	} else {
		err = s.openFile(path, o)
	}
	if err != nil {
		return nil, errors.Join(err, s.Close())
	}
	return s, nil
}

func (s *Source) openFile(path string, o Options) error {
	f, err := os.OpenFile(path, readOnly, 0)
	if err != nil {
		return &Error{File: path, Err: cause(err)}
	}
	file, err := newFile(path, f, o)
	if err != nil {
		return err
	}
	s.Files = []*File{file}
	switch {
	case bytes.HasPrefix(file.data, []byte("GGUF")):
		s.Format = GGUF
		return s.readGGUF(file)
	case strings.EqualFold(filepath.Ext(path), ".safetensors"):
		s.Format = Safetensors
		return s.readSafetensors(0, o)
	}
	return at(path, "begins with %q, expected a GGUF file (\"GGUF\") or a name that ends in .safetensors", file.data[:min(4, len(file.data))])
}

// add appends a tensor whose extent was checked.
func (s *Source) add(t *Tensor) *Error {
	if t.Name == "" {
		return at(s.Files[t.File].Path, "tensor %d has no name", len(s.Tensors))
	}
	if old, ok := s.byName[t.Name]; ok {
		first := s.Files[old.File].Path
		if old.File == t.File {
			return inTensor(t.Name, at(first, "listed twice, expected once"))
		}
		return inTensor(t.Name, at(s.Files[t.File].Path, "also in %s, expected in one file", first))
	}
	t.source = s
	s.byName[t.Name] = t
	s.Tensors = append(s.Tensors, t)
	return nil
}

// Tensor finds a tensor by its name, nil when there is none.
func (s *Source) Tensor(name string) *Tensor { return s.byName[name] }

// Check compares every file with what it was at opening: an error names the first whose size or time changed.
func (s *Source) Check() error {
	for _, f := range s.Files {
		if err := f.check(); err != nil {
			return err
		}
	}
	return nil
}

// Close unmaps and closes the files. A second Close does nothing.
func (s *Source) Close() error {
	var errs []error
	for _, f := range s.Files {
		errs = append(errs, f.close())
	}
	return errors.Join(errs...)
}

// Tensor is one tensor of a Source.
type Tensor struct {
	Name string
	// Enc is the encoding: a name of package block (f32 f16 bf16 q4_0 ... q4_k), or an element type or format which
	// that package does not decode: f64 i64 i32 i16 i8 u64 u32 u16 u8 bool f8_e4m3 f8_e5m2 ..., and ggml's others.
	Enc    string
	Shape  []int64 // row-major, outermost first: a linear layer's weight is [out, in]
	File   int     // index into Source.Files
	Offset int64   // of the first byte, from the start of the file
	Bytes  int64

	align  int64 // bytes of an element, or of the scalar that a block's fields need
	source *Source
}

// Elems is the number of elements.
func (t *Tensor) Elems() int64 {
	n := int64(1)
	for _, d := range t.Shape {
		n *= d
	}
	return n
}

// Path is the file that holds the tensor.
func (t *Tensor) Path() string { return t.source.Files[t.File].Path }

// Data is the tensor's bytes in the mapping: read-only (a write faults), valid until Close.
func (t *Tensor) Data() []byte {
	return t.source.Files[t.File].data[t.Offset : t.Offset+t.Bytes : t.Offset+t.Bytes]
}

// Aligned reports whether the tensor lies at a multiple of its element's size. If not, its bytes must be copied
// before they are read as elements.
func (t *Tensor) Aligned() bool { return t.Offset%t.align == 0 }

// ReadAt copies bytes of the tensor from offset off, all of p or an error. A page that is gone (the file was cut
// short by another process) is an error here, where a read of Data would end the process.
func (t *Tensor) ReadAt(p []byte, off int64) (int, error) {
	if off < 0 || off > t.Bytes || int64(len(p)) > t.Bytes-off {
		return 0, inTensor(t.Name, at(t.source.Files[t.File].Path, "bytes %d to %d of %d, expected within the tensor", off, off+int64(len(p)), t.Bytes))
	}
	n, err := t.source.Files[t.File].readAt(p, t.Offset+off)
	if err != nil {
		return n, inTensor(t.Name, err)
	}
	return n, nil
}

// String is the tensor as errors and listings print it.
func (t *Tensor) String() string { return fmt.Sprintf("%s: %s%v", brief(t.Name), t.Enc, t.Shape) }

// cause strips the path from an error of package os, as Error.File has it.
func cause(err error) error {
	var p *os.PathError
	if errors.As(err, &p) {
		return p.Err
	}
	return err
}
