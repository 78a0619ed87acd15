package checkpoint

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"

	"quire/frontends"
	"quire/frontends/decoder"
	"quire/frontends/weights"
	"quire/ir/types/block"
	"quire/ir/types/packed"
)

// Options say how linears are packed.
type Options struct {
	Format     packed.Format // AWQGemm or CompressedTensors
	Bits       int           // 4, or 3 with CompressedTensors
	Group      int           // columns that share a scale and a zero
	ShardBytes int64         // a file grows no larger than this unless one tensor is; 0: 5 GB
	Progress   func(done, total int64)
}

// Check says what a format does not have, and why not this model.
func (o Options) Check(c *decoder.Config) error {
	switch o.Format {
	case packed.AWQGemm, packed.CompressedTensors:
	default:
		return fmt.Errorf("checkpoint: format %.64q, expected awq or compressed-tensors", o.Format)
	}
	for _, n := range c.Needs() {
		if !n.Linear() {
			continue
		}
		m := &packed.Matrix{Format: o.Format, Rows: n.Rows, Cols: n.Cols, Bits: o.Bits, Group: o.Group}
		if err := m.Shapes(false); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", n.Name, err)
		}
	}
	return nil
}

// Values gives a weight: the rows of a linear in block's grouped encoding of Bits and Group, or else its values.
type Values func(n decoder.Need) (rows []byte, values []float32, err error)

// Write writes the directory, which exists. A file is whole or absent; config.json is the last.
func Write(ctx context.Context, dir string, m *frontends.Model, o Options, values Values) error {
	if err := o.Check(&m.Config); err != nil {
		return err
	}
	s := &shards{dir: dir, limit: o.ShardBytes}
	if s.limit == 0 {
		s.limit = 5e9
	}
	w := &writer{o: o, m: m, values: values, shards: s}
	needs := m.Config.Needs()
	for i, n := range needs {
		if err := ctx.Err(); err != nil {
			return err
		}
		if err := w.weight(n); err != nil {
			return fmt.Errorf("checkpoint: %s: %w", n.Name, err)
		}
		if o.Progress != nil {
			o.Progress(int64(i+1), int64(len(needs)))
		}
	}
	if err := w.flush(); err != nil {
		return err
	}
	if err := s.finish(); err != nil {
		return err
	}
	return w.files(dir)
}

type writer struct {
	o      Options
	m      *frontends.Model
	values Values
	shards *shards

	// the rows of a fused module that have come so far
	module string
	rows   []byte
	count  int
	cols   int
}

// weight writes one weight, or keeps its rows for the module that it is a part of.
func (w *writer) weight(n decoder.Need) error {
	rows, x, err := w.values(n)
	if err != nil {
		return err
	}
	c := &w.m.Config
	module, suffix, fused := c.HFName(w.m.Source, n)
	if module != w.module {
		if err := w.flush(); err != nil {
			return err
		}
	}
	if !n.Linear() {
		if fused {
			return fmt.Errorf("a bias of a fused module, expected none")
		}
		return w.floats(n, module+suffix, x)
	}
	e, _ := block.Lookup(block.Grouped(w.o.Bits, w.o.Group))
	size, err := e.RowBytes(int64(n.Cols))
	if err != nil {
		return err
	}
	if int64(len(rows)) != int64(n.Rows)*size {
		return fmt.Errorf("%d bytes of rows, expected %d of %s", len(rows), int64(n.Rows)*size, e.Name)
	}
	w.module, w.cols = module, n.Cols
	w.count += n.Rows
	if order := c.HFRows(n); order != nil {
		for _, r := range order {
			w.rows = append(w.rows, rows[int64(r)*size:][:size]...)
		}
	} else {
		w.rows = append(w.rows, rows...)
	}
	return nil
}

// suffixes are the names of a packed module's tensors.
var suffixes = map[packed.Format][packed.Roles]string{
	packed.AWQGemm:           {".qweight", ".scales", ".qzeros", ""},
	packed.CompressedTensors: {".weight_packed", ".weight_scale", ".weight_zero_point", ""},
}

// flush packs the module whose rows are there.
func (w *writer) flush() error {
	if w.count == 0 {
		return nil
	}
	m := &packed.Matrix{Format: w.o.Format, Rows: w.count, Cols: w.cols, Bits: w.o.Bits, Group: w.o.Group}
	if err := m.Shapes(false); err != nil {
		return fmt.Errorf("%s: %w", w.module, err)
	}
	parts, err := m.Encode(w.rows)
	if err != nil {
		return fmt.Errorf("%s: %w", w.module, err)
	}
	for r, data := range parts {
		if data == nil {
			continue
		}
		t := weights.TensorData{Name: w.module + suffixes[w.o.Format][r], Enc: m.Parts[r].Elem, Shape: m.Parts[r].Shape, Data: data}
		if err := w.shards.add(t); err != nil {
			return err
		}
	}
	if w.o.Format == packed.CompressedTensors {
		shape := binary.LittleEndian.AppendUint64(nil, uint64(m.Rows))
		shape = binary.LittleEndian.AppendUint64(shape, uint64(m.Cols))
		if err := w.shards.add(weights.TensorData{Name: w.module + ".weight_shape", Enc: "i64", Shape: []int64{2}, Data: shape}); err != nil {
			return err
		}
	}
	w.module, w.rows, w.count = "", nil, 0
	return nil
}

// floats writes a weight as float16.
func (w *writer) floats(n decoder.Need, name string, x []float32) error {
	k := n.Cols
	if len(x) != n.Rows*k {
		return fmt.Errorf("%d values, expected %d", len(x), n.Rows*k)
	}
	c := &w.m.Config
	order, offset := c.HFRows(n), c.HFNormOffset(n)
	out := make([]byte, 2*len(x))
	for r := range n.Rows {
		from := r
		if order != nil {
			from = order[r]
		}
		for j, v := range x[from*k:][:k] {
			v = float32(float64(v) - offset)
			h := block.F32ToF16(v)
			if y := block.F16ToF32(h); math.IsInf(float64(y), 0) || y != y {
				return fmt.Errorf("element %d is %v, expected a number that float16 can hold", from*k+j, v)
			}
			binary.LittleEndian.PutUint16(out[2*(r*k+j):], h)
		}
	}
	shape := []int64{int64(n.Rows), int64(k)}
	if n.Vector() {
		shape = shape[:1]
	}
	return w.shards.add(weights.TensorData{Name: name, Enc: "f16", Shape: shape, Data: out})
}
