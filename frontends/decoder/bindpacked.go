package decoder

import (
	"bytes"
	"encoding/binary"
	"errors"
	"fmt"
	"strings"

	"quire/frontends/weights"
	"quire/ir/types/packed"
)

// Packed is a linear whose rows stand in several tensors.
type Packed struct {
	packed.Matrix
	Tensors [packed.Roles]*weights.Tensor // nil: the weight has no such array
}

// rows decodes rows of the linear into its grouped encoding.
func (p *Packed) rows(first, rows int) ([]byte, error) {
	from, count := p.Around(first, rows)
	var src [packed.Roles][]byte
	for r, t := range p.Tensors {
		if t == nil {
			continue
		}
		all := make([]byte, t.Bytes)
		if _, err := t.ReadAt(all, 0); err != nil {
			return nil, err
		}
		src[r] = p.Window(packed.Role(r), from, count).Cut(all)
	}
	size, err := p.Encoding().RowBytes(int64(p.Cols))
	if err != nil {
		return nil, err
	}
	out := make([]byte, int64(count)*size)
	if err := p.Decode(out, from, count, src); err != nil {
		return nil, p.named(err)
	}
	return out[int64(first-from)*size:][:int64(rows)*size], nil
}

// named puts the tensor's name before an error about an array.
func (p *Packed) named(err error) error {
	t := p.Tensors[packed.Codes]
	var at *packed.Error
	if errors.As(err, &at) && p.Tensors[at.Part] != nil {
		t = p.Tensors[at.Part]
		return &weights.Error{File: t.Path(), Tensor: t.Name, Msg: at.Msg}
	}
	return &weights.Error{File: t.Path(), Tensor: t.Name, Msg: err.Error()}
}

// suffixes are the names of a packed linear's tensors, other spellings after the first.
type suffixes [packed.Roles][]string

var (
	autoSuffixes       = suffixes{{".qweight"}, {".scales"}, {".qzeros", ".scaled_zeros"}, {".g_idx"}}
	marlinSuffixes     = suffixes{{".qweight", ".B"}, {".scales", ".s"}, {}, {".g_idx"}}
	compressedSuffixes = suffixes{{".weight_packed"}, {".weight_scale"}, {".weight_zero_point"}, {".weight_g_idx"}}
)

func (p *packing) suffixes() suffixes {
	switch p.format {
	case packed.Marlin:
		return marlinSuffixes
	case packed.CompressedTensors:
		return compressedSuffixes
	}
	return autoSuffixes
}

// find returns a module's tensor of a role, nil when there is none.
func (b *binder) find(module string, r packed.Role) *weights.Tensor {
	for _, s := range b.packing.suffixes()[r] {
		if t := b.src.Tensor(module + s); t != nil {
			return t
		}
	}
	return nil
}

// packs reports whether n is a linear whose module has packed codes.
func (b *binder) packs(n Need, module string) bool {
	linear := n.Kind == KindAttn || n.Kind == KindMLP || n.Kind == KindHead
	return linear && b.packing != nil && b.find(module, packed.Codes) != nil
}

// bindPacked binds rows of a packed linear that has rows in all.
func (b *binder) bindPacked(n Need, module string, rows, first int64) error {
	q := b.packing
	if t := b.src.Tensor(module + ".weight"); t != nil {
		return b.at(t.Name, "beside %s, expected one of them", b.find(module, packed.Codes).Name)
	}
	p := &Packed{Matrix: packed.Matrix{Format: q.format, Rows: int(rows), Cols: n.Cols, Bits: q.bits, Group: q.group}}
	if q.group == 0 {
		p.Group = n.Cols
	}
	for r := range packed.Roles {
		t := b.find(module, r)
		if t == nil {
			if r == packed.Order || r == packed.Zeros && q.symmetric {
				continue
			}
			return b.at(module+q.suffixes()[r][0], "absent, expected beside %s", b.find(module, packed.Codes).Name)
		}
		b.used[t.Name] = true
		shape := t.Shape
		if r == packed.Order && len(shape) == 1 {
			shape = []int64{1, shape[0]}
		}
		p.Tensors[r], p.Parts[r] = t, packed.Array{Elem: t.Enc, Shape: shape}
	}
	if err := p.inOrder(); err != nil {
		return err
	}
	if err := p.Check(); err != nil {
		return p.named(err)
	}
	columns, err := p.columns()
	if err != nil {
		return p.named(err)
	}
	if err := b.beside(p, module); err != nil {
		return err
	}
	b.out[n.Name] = Binding{Tensor: p.Tensors[packed.Codes], Packed: p, Row: first, Rows: int64(n.Rows), Cols: int64(n.Cols), Enc: p.Encoding().Name, Columns: columns}
	return nil
}

// inOrder forgets groups that say nothing: column k is in group k/group. So does every format but GPTQ's and
// compressed-tensors', which have no other.
func (p *Packed) inOrder() error {
	t := p.Tensors[packed.Order]
	if t == nil {
		return nil
	}
	x, err := integers(t)
	if err != nil {
		return err
	}
	for k, g := range x {
		if g != int64(k/p.Group) {
			return nil
		}
	}
	if len(x) == p.Cols {
		p.Tensors[packed.Order], p.Parts[packed.Order] = nil, packed.Array{}
	}
	return nil
}

// columns says which column of the file is each of the rows' columns; nil where they are in order.
func (p *Packed) columns() ([]int, error) {
	t := p.Tensors[packed.Order]
	if t == nil {
		return nil, nil
	}
	data := make([]byte, t.Bytes)
	if _, err := t.ReadAt(data, 0); err != nil {
		return nil, err
	}
	return p.Columns(data)
}

// beside checks the tensors of a packed linear that say nothing new: its shape, a bias of zeros
// that AutoGPTQ adds to every linear.
func (b *binder) beside(p *Packed, module string) error {
	if t := b.src.Tensor(module + ".weight_shape"); t != nil {
		b.used[t.Name] = true
		x, err := integers(t)
		if err != nil {
			return err
		}
		if len(x) != 2 || x[0] != int64(p.Rows) || x[1] != int64(p.Cols) {
			return b.at(t.Name, "%v, expected [%d %d]", clipped(x), p.Rows, p.Cols)
		}
	}
	if t := b.src.Tensor(module + ".bias"); t != nil && !b.used[t.Name] {
		data := make([]byte, t.Bytes)
		if _, err := t.ReadAt(data, 0); err != nil {
			return err
		}
		b.used[t.Name] = len(bytes.Trim(data, "\x00")) == 0 // another bias is read by its own need, or by nothing
	}
	return nil
}

// integers reads a small vector of i32 or i64.
func integers(t *weights.Tensor) ([]int64, error) {
	data := make([]byte, t.Bytes)
	if _, err := t.ReadAt(data, 0); err != nil {
		return nil, err
	}
	var out []int64
	switch {
	case len(t.Shape) == 1 && t.Enc == "i32":
		for ; len(data) > 0; data = data[4:] {
			out = append(out, int64(int32(binary.LittleEndian.Uint32(data))))
		}
	case len(t.Shape) == 1 && t.Enc == "i64":
		for ; len(data) > 0; data = data[8:] {
			out = append(out, int64(binary.LittleEndian.Uint64(data)))
		}
	default:
		return nil, &weights.Error{File: t.Path(), Tensor: t.Name, Msg: t.Enc + ", expected a vector of i32 or i64"}
	}
	return out, nil
}

// clipped is a list as errors show it.
func clipped(x []int64) string {
	const most = 4
	if len(x) > most {
		return strings.TrimSuffix(fmt.Sprint(x[:most]), "]") + " ...]"
	}
	return fmt.Sprint(x)
}
