package decoder

import (
	"errors"
	"fmt"
	"slices"
	"strings"

	"quire/frontends/weights"
	"quire/ir/types"
	"quire/ir/types/block"
	"quire/ir/types/noise"
)

// Bindings says for every weight of a model, by its name in IR, where its values come from.
type Bindings map[string]Binding

// Binding is rows of a tensor, or of a packed linear, or random values.
type Binding struct {
	Tensor     *weights.Tensor // nil: random; of a packed linear the codes
	Packed     *Packed         // nil: rows lie in the tensor as they are
	Row        int64           // first row in the tensor
	Rows, Cols int64           // a vector of n elements is n rows of 1
	Enc        string          // encoding of the rows: the tensor's, or the one that random values are put into
	Round      string          // encoding that the rows are rounded to at load, "" to leave them
	Columns    []int           // of a packed linear: the input of each column, where they are in another order than the inputs
	Vector     bool            // a norm or a bias: f32 in IR, decoded at load
	Random     Random
}

// Random describes the values of a weight without a file: package noise's stream of Seed.
type Random struct {
	Seed      int64
	Mean, Std float64
}

// Elem is the element type of the weight in IR.
func (b Binding) Elem() types.Elem {
	if b.Vector {
		return types.Plain(types.F32)
	}
	if b.Round != "" {
		return types.Quantised(b.Round)
	}
	if d, ok := types.ParseDType(b.Enc); ok {
		return types.Plain(d)
	}
	return types.Quantised(b.Enc)
}

// Extent is where the rows lie in the file of their tensor: offset from its start, and size. Random rows have only a
// size, which they would have encoded; of a packed linear it is all of the codes.
func (b Binding) Extent() (offset, size int64) {
	if b.Packed != nil {
		return b.Tensor.Offset, b.Tensor.Bytes
	}
	e, _ := block.Lookup(b.Enc)
	row, _ := e.RowBytes(b.Cols) // whole blocks: Bind saw to it
	if b.Tensor != nil {
		offset = b.Tensor.Offset + b.Row*row
	}
	return offset, b.Rows * row
}

// Float32 decodes the values, row-major, as kernels compute with them: rounded where they are to be.
func (b Binding) Float32() ([]float32, error) {
	x, err := b.source()
	if err != nil || b.Round == "" {
		return x, err
	}
	return x, roundTrip(b.Round, int(b.Cols), x)
}

// source decodes the values as they stand in the file. Random values are rounded as their encoding does.
func (b Binding) source() ([]float32, error) {
	x := make([]float32, b.Rows*b.Cols)
	switch {
	case b.Tensor == nil:
		noise.Fill(x, b.Random.Seed, 0, b.Random.Mean, b.Random.Std)
		if b.Enc == "f32" {
			return x, nil
		}
		return x, roundTrip(b.Enc, int(b.Cols), x)
	case b.Packed != nil:
		data, err := b.Packed.rows(int(b.Row), int(b.Rows))
		if err != nil {
			return nil, err
		}
		return x, block.DecodeRows(b.Enc, int(b.Cols), data, x)
	}
	offset, size := b.Extent()
	data := make([]byte, size)
	if _, err := b.Tensor.ReadAt(data, offset-b.Tensor.Offset); err != nil {
		return nil, err
	}
	return x, block.DecodeRows(b.Enc, int(b.Cols), data, x)
}

// roundTrip puts rows into an encoding and takes them out.
func roundTrip(enc string, cols int, x []float32) error {
	e, _ := block.Lookup(enc)
	row, err := e.RowBytes(int64(cols))
	if err != nil {
		return err
	}
	data := make([]byte, int64(len(x)/cols)*row)
	if err := block.EncodeRows(enc, cols, x, data); err != nil {
		return err
	}
	return block.DecodeRows(enc, cols, data, x)
}

// Bind finds every weight of a configuration in a source. Each error (of type *weights.Error) names the tensor.
func Bind(c Config, src *weights.Source) (Bindings, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	b := &binder{c: &c, src: src, out: Bindings{}, used: map[string]bool{}, name: ggufNames}
	if src.Format != weights.GGUF {
		var err error
		if b.packing, err = packingOf(src); err != nil {
			return nil, err
		}
		b.name = hfNames(src)
	}
	for _, n := range c.Needs() {
		if err := b.bind(n); err != nil {
			b.errs = append(b.errs, err)
		}
		if len(b.errs) == maxErrors {
			break
		}
	}
	if len(b.errs) == 0 {
		b.unread()
	}
	if len(b.errs) > 0 {
		return nil, errors.Join(b.errs...)
	}
	return b.out, nil
}

const maxErrors = 8

// namer spells a tensor's name for a layer (-1: outside) from the two names of a role.
type namer func(hf, gguf string, layer int, suffix string) string

func ggufNames(_, gguf string, layer int, suffix string) string {
	if layer >= 0 {
		return fmt.Sprintf("blk.%d.%s%s", layer, gguf, suffix)
	}
	return gguf + suffix
}

// hfNames picks the spelling of a checkpoint: plain, or a text model inside a larger one (Gemma 3).
func hfNames(src *weights.Source) namer {
	for _, p := range []struct{ model, head string }{
		{"model.", ""}, {"language_model.model.", "language_model."}, {"model.language_model.", ""},
	} {
		if src.Tensor(p.model+"embed_tokens.weight") == nil {
			continue
		}
		return func(hf, _ string, layer int, suffix string) string {
			if layer >= 0 {
				return fmt.Sprintf("%slayers.%d.%s%s", p.model, layer, hf, suffix)
			}
			if inner, ok := strings.CutPrefix(hf, "model."); ok {
				return p.model + inner + suffix
			}
			return p.head + hf + suffix
		}
	}
	return func(hf, _ string, layer int, suffix string) string {
		if layer >= 0 {
			return fmt.Sprintf("model.layers.%d.%s%s", layer, hf, suffix)
		}
		return hf + suffix
	}
}

type binder struct {
	c       *Config
	src     *weights.Source
	packing *packing // nil: no linear is packed
	name    namer
	out     Bindings
	used    map[string]bool
	errs    []error
}

func (b *binder) bind(n Need) error {
	module := b.name(n.role.hf, n.role.gguf, n.layer, "")
	rows, first := int64(n.Rows), int64(0)
	if fused, total, at := b.fused(n); fused != "" {
		module, rows, first = fused, total, at
	}
	t := b.src.Tensor(module + n.suffix())
	if b.packs(n, module) {
		return b.bindPacked(n, module, rows, first)
	}
	if t == nil {
		return b.at(module+n.suffix(), "absent, expected %s", want(n, rows))
	}
	b.used[t.Name] = true
	shape := []int64{rows, int64(n.Cols)}
	if n.Vector() {
		shape = shape[:1]
	}
	if !slices.Equal(t.Shape, shape) {
		return b.at(t.Name, "shape %v, expected %s", t.Shape, want(n, rows))
	}
	if _, ok := block.Lookup(t.Enc); !ok {
		return b.at(t.Name, "encoding %s, expected one of %s", t.Enc, strings.Join(block.Names(), " "))
	}
	b.out[n.Name] = Binding{Tensor: t, Row: first, Rows: int64(n.Rows), Cols: int64(n.Cols), Enc: t.Enc, Vector: n.Vector()}
	return nil
}

// fused finds the module that holds n's rows among those of other roles, "" where n has its own: its rows in all, and
// where n's begin.
func (b *binder) fused(n Need) (module string, total, first int64) {
	for _, f := range fusions {
		if !slices.Contains(f.ids, n.role.id) {
			continue
		}
		for i, id := range f.ids {
			r := layerRole(id)
			if i == 0 && b.has(n, b.name(r.hf, r.gguf, n.layer, "")) {
				return "", 0, 0
			}
			if id == n.role.id {
				first = total
			}
			total += int64(r.rows(b.c))
		}
		if module = b.name(f.hf, f.gguf, n.layer, ""); b.has(n, module) {
			return module, total, first
		}
	}
	return "", 0, 0
}

// has reports whether a module has what n needs of it, plain or packed.
func (b *binder) has(n Need, module string) bool {
	return b.src.Tensor(module+n.suffix()) != nil || b.packs(n, module)
}

func layerRole(id string) *role {
	i := slices.IndexFunc(layerRoles, func(r role) bool { return r.id == id })
	return &layerRoles[i]
}

// want says what a need expects, for errors.
func want(n Need, rows int64) string {
	if n.Vector() {
		return fmt.Sprintf("[%d] for %s", rows, n.Name)
	}
	return fmt.Sprintf("[%d %d] for %s", rows, n.Cols, n.Name)
}

func (b *binder) at(tensor, format string, a ...any) error {
	return &weights.Error{File: b.src.Path, Tensor: tensor, Msg: fmt.Sprintf(format, a...)}
}

// harmless are parts of layer tensors' names that hold nothing to compute with.
var harmless = []string{"rotary_emb.inv_freq", "attn_rot_embd", "masked_bias", ".workspace"}

// unread reports tensors of layers that no weight reads: a model that computes more than its configuration says.
func (b *binder) unread() {
	prefix := strings.TrimSuffix(b.name("", "", 0, ""), "0.")
	for _, t := range b.src.Tensors {
		skip := func(h string) bool { return strings.Contains(t.Name, h) }
		if b.used[t.Name] || !strings.HasPrefix(t.Name, prefix) || slices.ContainsFunc(harmless, skip) {
			continue
		}
		b.errs = append(b.errs, b.at(t.Name, "read by nothing in a %s of %d layers, expected only tensors that the configuration needs", b.c.Family, b.c.Layers))
		if len(b.errs) == maxErrors {
			return
		}
	}
}
