package calibrate

import (
	"context"
	"encoding/binary"
	"math"

	"quire/codegen"
	"quire/ir"
	"quire/ir/types"
	"quire/ir/types/layout"
	"quire/passes/pipeline"
	"quire/runtime/cpu"
	"quire/runtime/device"
	"quire/runtime/program"
)

// product is a compiled matmul of sampled inputs, which are looked up as an embedding, with a matrix of differences;
// both are written into the program's memory between runs.
type product struct {
	tokens, rows, cols int
	model              *cpu.Model
	x, d               []byte // where the program has them
	batch              *device.Batch
}

// newProduct compiles one for inputs of tokens x cols and matrices of rows x cols.
func newProduct(ctx context.Context, c codegen.Options, threads, tokens, rows, cols int) (*product, error) {
	m, err := productModule(tokens, rows, cols)
	if err != nil {
		return nil, err
	}
	if _, err := pipeline.Standard(pipeline.Options{Target: c.Target}).Run(m); err != nil {
		return nil, err
	}
	c.Segments = func(name string) (program.Segment, error) {
		n := map[string]int{"x": tokens, "d": rows}[name]
		return program.Segment{Tensor: name, Rows: n, Elem: "f32", Source: -1}, nil
	}
	p, err := codegen.Build(ctx, m, c)
	if err != nil {
		return nil, err
	}
	p.Vocab, p.Context = max(p.Vocab, tokens), tokens
	dev, err := cpu.Load(ctx, p, cpu.Options{Threads: threads})
	if err != nil {
		return nil, err
	}
	out := &product{tokens: tokens, rows: rows, cols: cols, model: dev, batch: &device.Batch{
		SlotStart: []int32{0}, SlotNew: []int32{int32(tokens)}, SlotLen: []int32{0}, RowSlot: make([]int32, tokens), Want: device.Logits}}
	for i := range int32(tokens) {
		out.batch.Tok, out.batch.Pos, out.batch.Out = append(out.batch.Tok, i), append(out.batch.Pos, i), append(out.batch.Out, i)
	}
	for i, w := range p.Weights {
		if w.Name == "x" {
			out.x = dev.Weight(i)
		} else {
			out.d = dev.Weight(i)
		}
	}
	return out, nil
}

func productModule(tokens, rows, cols int) (*ir.Module, error) {
	b := ir.NewBuilder("product")
	n, s, m := b.Dim("N", ir.Launch, 0, int64(tokens)), b.Dim("S", ir.Launch, 1, 1), b.Dim("M", ir.Launch, 0, int64(tokens))
	f32, i32 := types.Plain(types.F32), types.Plain(types.I32)
	x, d := b.Weight("x", f32, int64(tokens), int64(cols)), b.Weight("d", f32, int64(rows), int64(cols))
	f := b.Func("step")
	tok := f.Param("tok", types.TensorOf(i32, n))
	f.Param("pos", types.TensorOf(i32, n))
	f.Param("seq", types.RowsOf(n, s))
	out := f.Param("out", types.TensorOf(i32, m))
	y := f.Gather(f.Embed(tok, f.Weight(x), types.InvalidDType), out)
	f.Return(f.Named("logits", f.Linear(y, d, types.InvalidDType)))
	return b.Module()
}

// inputs sets the rows that matrices are multiplied with.
func (p *product) inputs(x []float32) error { return fillRows(p.x, p.tokens, p.cols, x) }

// squares is, for each row of d, the sum of squares of its products with all inputs.
func (p *product) squares(d []float32) ([]float64, error) {
	if err := fillRows(p.d, p.rows, p.cols, d); err != nil {
		return nil, err
	}
	out, err := p.model.Step(p.batch)
	if err != nil {
		return nil, err
	}
	sums := make([]float64, p.rows)
	each(p.rows, func(r int) {
		var s float64
		for t := r; t < len(out.Logits); t += p.rows {
			v := float64(out.Logits[t])
			s += v * v
		}
		sums[r] = s
	})
	return sums, nil
}

// loss is the mean of all squares.
func (p *product) loss(d []float32) (float64, error) {
	sums, err := p.squares(d)
	var s float64
	for _, v := range sums {
		s += v
	}
	return s / float64(p.rows*p.tokens), err
}

func (p *product) close() error { return p.model.Close() }

// fillRows writes a float32 matrix as the kernels read it.
func fillRows(dst []byte, rows, cols int, x []float32) error {
	raw := make([]byte, 4*len(x))
	each(rows, func(r int) {
		for j, v := range x[r*cols:][:cols] {
			binary.LittleEndian.PutUint32(raw[4*(r*cols+j):], math.Float32bits(v))
		}
	})
	return layout.Pack(dst, layout.F32, rows, cols, raw)
}
