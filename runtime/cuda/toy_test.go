package cuda_test

import (
	"encoding/binary"
	"math"
	"os"
	"path/filepath"
	"testing"

	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/runtime/cuda"
	"quire/runtime/cuda/driver/fake"
	"quire/runtime/device"
	"quire/runtime/program"
)

// The toy model: a row's next token is the sum over the tokens t[0..i] that it sees of
// gain * t[j] * (j+1), modulo the vocabulary. It is computed through a cache, so that a wrong
// page, length, row map or gain shows.
const (
	vocab = 32
	page  = 64
	gain  = 3
)

// toyNext is the toy model by definition.
func toyNext(tokens []int32) int32 {
	sum := 0
	for j, t := range tokens {
		sum += gain * int(t) * (j + 1)
	}
	return int32(sum % vocab)
}

// toyKernels are the toy's kernels in Go, with operands as ir/work has them.
var toyKernels = map[string]fake.Kernel{
	"embed": {Params: 5, Run: func(l fake.Launch) {
		n := int(l.Words[3])
		tok, x := fake.Slice[int32](l, l.Words[0], n), fake.Slice[float32](l, l.Words[2], n*vocab)
		for i, t := range tok {
			x[i*vocab] = float32(t)
		}
	}},
	"norm": {Params: 5, Run: func(l fake.Launch) {
		n := int(l.Words[3])
		x, g, y := fake.Slice[float32](l, l.Words[0], n*vocab), fake.Slice[float32](l, l.Words[1], vocab), fake.Slice[float32](l, l.Words[2], n*vocab)
		for i := range n {
			y[i*vocab] = x[i*vocab] * g[0]
		}
	}},
	"kvstore": {Params: 10, Run: func(l fake.Launch) {
		n, width := int(l.Words[7]), int(l.Words[8])
		k := fake.Slice[float32](l, l.Words[0], n*vocab)
		for i := range n {
			at := place(l, l.Words[3:6], i)
			if c := cells(l, l.Words[2], l.Words[3:7], i, at/page, width); c != nil {
				c[at%page] = k[i*vocab]
			}
		}
	}},
	"attention": {Params: 10, Run: func(l fake.Launch) {
		n, width := int(l.Words[7]), int(l.Words[8])
		o := fake.Slice[float32](l, l.Words[6], n*vocab)
		for i := range n {
			sum := 0
			last := place(l, l.Words[2:5], i)
			for p := 0; p*page <= last; p++ {
				c := cells(l, l.Words[1], l.Words[2:6], i, p, width)
				for j := range c[:min(len(c), last+1-p*page)] {
					sum += int(c[j]) * (p*page + j + 1)
				}
			}
			clear(o[i*vocab:][:vocab])
			o[i*vocab+sum%vocab] = 1
		}
	}},
	"quire_advance": {Params: 7, Run: func(l fake.Launch) {
		at := func(i int) *int32 { return &fake.Slice[int32](l, l.Words[i], 1)[0] }
		token := *at(0)
		if l.Words[6] != 0 && fake.Slice[float32](l, l.Words[6], vocab)[token] != 1 { // of a row that is not finite
			token = -1
		}
		*at(1) = max(token, 0)
		*at(2)++
		*at(3)++
		fake.Slice[int32](l, l.Words[4], 64)[*at(5)%64] = token
		*at(5)++
	}},
	"gather": {Params: 5, Run: func(l fake.Launch) {
		m := int(l.Words[3])
		out, y := fake.Slice[int32](l, l.Words[1], m), fake.Slice[float32](l, l.Words[2], m*vocab)
		for i, r := range out {
			copy(y[i*vocab:][:vocab], fake.Slice[float32](l, l.Words[0]+uint64(4*vocab*int(r)), vocab))
		}
	}},
	"argmax": {Params: 4, Run: func(l fake.Launch) {
		m := int(l.Words[2])
		x, y := fake.Slice[float32](l, l.Words[0], m*vocab), fake.Slice[int32](l, l.Words[1], m)
		for i := range m {
			for j, v := range x[i*vocab:][:vocab] {
				if v == 1 {
					y[i] = int32(j)
				}
			}
		}
	}},
}

// place is where row i stands in its cache; maps are row_slot, slot_start, slot_len.
func place(l fake.Launch, maps []uint64, i int) int {
	s := int(fake.Slice[int32](l, maps[0], i+1)[i])
	return int(fake.Slice[int32](l, maps[2], s+1)[s]) + i - int(fake.Slice[int32](l, maps[1], s+1)[s])
}

// cells are the tokens of logical page p of row i's cache, nil after a fault.
func cells(l fake.Launch, cache uint64, maps []uint64, i, p, width int) []float32 {
	s := int(fake.Slice[int32](l, maps[0], i+1)[i])
	at := fake.Slice[int32](l, maps[3], (s+1)*width)[s*width+p]
	return fake.Slice[float32](l, cache+uint64(int64(at)*pageBytes), page)
}

var pageBytes = work.PageBytes(1, vocab, page, layout.F16)

// toy makes the Program; its gains are in a file.
func toy(t testing.TB) *program.Program {
	t.Helper()
	var raw []byte
	for range vocab {
		raw = binary.LittleEndian.AppendUint32(raw, math.Float32bits(gain))
	}
	path := filepath.Join(t.TempDir(), "gains")
	if err := os.WriteFile(path, raw, 0o600); err != nil {
		t.Fatal(err)
	}
	lanes, err := layout.Bytes(program.LayoutLanes, layout.F32, vocab, vocab)
	if err != nil {
		t.Fatal(err)
	}
	p := &program.Program{
		Model: "toy", Target: "sm_80", Vocab: vocab, Context: 1 << 14, Object: []byte("// the toy"),
		Slots:   []string{"128*N", "128*N", "128*M", "4*M"},
		Tables:  []program.Table{{Name: "full", Page: page}},
		Caches:  []program.Cache{{Name: "kv0", Elem: "f16", Heads: 1, Dim: vocab, PageBytes: pageBytes}},
		Sources: []program.Source{{Path: path, Bytes: int64(len(raw))}},
		Weights: []program.Weight{
			{Name: "emb", Layout: program.LayoutLanes, Elem: "f32", Cols: vocab, Bytes: lanes, Segments: []program.Segment{{Tensor: "emb", Rows: vocab, Elem: "f32", Source: -1, Std: 1}}},
			{Name: "gain", Layout: program.LayoutPlain, Elem: "f32", Cols: vocab, Bytes: int64(len(raw)), Segments: []program.Segment{{Tensor: "gain", Rows: 1, Elem: "f32", Bytes: int64(len(raw))}}},
		},
	}
	for _, k := range []struct {
		name string
		p    work.Params
	}{
		{"embed", work.Embed{Enc: layout.F32, Vocab: vocab, Dim: vocab}},
		{"norm", work.Norm{Dim: vocab}},
		{"kvstore", work.KVStore{KVHeads: 1, Dim: vocab, CacheEnc: layout.F16, Page: page}},
		{"attention", work.Attention{Phase: work.Prefill, Heads: 1, KVHeads: 1, Dim: vocab, Scale: 1, CacheEnc: layout.F16, Page: page}},
		{"gather", work.Gather{Dim: vocab}},
		{"argmax", work.Reduce{Op: work.ArgMax, Vocab: vocab}},
	} {
		p.Kernels = append(p.Kernels, program.Kernel{Symbol: k.name, Params: k.p})
	}
	slot := func(i int) program.Arg { return program.Arg{Kind: program.ArgSlot, Index: i} }
	weight := func(i int) program.Arg { return program.Arg{Kind: program.ArgWeight, Index: i} }
	in := func(n string) program.Arg { return program.Arg{Kind: program.ArgInput, Name: n} }
	dim := func(n string) program.Arg { return program.Arg{Kind: program.ArgDim, Name: n} }
	cache, pages := program.Arg{Kind: program.ArgCache}, program.Arg{Kind: program.ArgPages}
	launches := []program.Launch{
		{Name: "embed", Kernel: 0, Args: []program.Arg{in("tok"), weight(0), slot(0), dim("N")}, Bytes: "132*N"},
		{Name: "norm", Kernel: 1, Args: []program.Arg{slot(0), weight(1), slot(1), dim("N")}, Flops: "32*N"},
		{Name: "store", Kernel: 2, Args: []program.Arg{slot(1), slot(1), cache, in("row_slot"), in("slot_start"), in("slot_len"), pages, dim("N"), dim("P")}},
		{Name: "attention", Kernel: 3, Args: []program.Arg{slot(1), cache, in("row_slot"), in("slot_start"), in("slot_len"), pages, slot(0), dim("N"), dim("P")}},
		{Name: "rows", Kernel: 4, Args: []program.Arg{slot(0), in("out"), slot(2), dim("M")}},
		{Name: "argmax", Kernel: 5, Args: []program.Arg{slot(2), slot(3), dim("M")}, Rows: "M", For: []int{1}},
	}
	results := []program.Result{{Name: "logits", Slot: 2, Elem: "f32", Rows: "M", Cols: vocab}, {Name: "argmax", Slot: 3, Elem: "i32", Rows: "M"}}
	p.Steps = []program.Step{
		{Name: "decode", When: []program.Guard{{Lhs: "N", Rhs: "S"}, {Lhs: "M", Rhs: "S"}}, Launch: launches, Results: results},
		{Name: "many", Launch: launches, Results: results},
	}
	return p
}

// sequence is a session of the toy: its tokens and its pages, from the last page of the
// pool down.
type sequence struct {
	tokens []int32
	pages  []int32
}

// pool hands out pages.
type pool struct{ next int32 }

const poolPages = 512

// step feeds each sequence new tokens and checks the results of the last ones.
func (p *pool) step(t testing.TB, m *cuda.Model, seqs []*sequence, feed [][]int32) error {
	t.Helper()
	b := p.batch(seqs, feed)
	out, err := m.Step(b)
	if err != nil {
		return err
	}
	for i, s := range seqs {
		want := toyNext(s.tokens)
		if out.ArgMax[i] != want || out.Logits[i*vocab+int(want)] != 1 {
			t.Fatalf("sequence %d of %d tokens: next token %d, want %d", i, len(s.tokens), out.ArgMax[i], want)
		}
	}
	return nil
}

func (p *pool) batch(seqs []*sequence, feed [][]int32) *device.Batch {
	b := &device.Batch{Want: device.Logits | device.ArgMax, Pages: make([]device.Pages, 1)}
	tab := &b.Pages[0]
	for i, s := range seqs {
		b.SlotStart, b.SlotNew, b.SlotLen = append(b.SlotStart, int32(len(b.Tok))), append(b.SlotNew, int32(len(feed[i]))), append(b.SlotLen, int32(len(s.tokens)))
		for _, tok := range feed[i] {
			b.Tok, b.Pos, b.RowSlot = append(b.Tok, tok), append(b.Pos, int32(len(s.tokens))), append(b.RowSlot, int32(i))
			s.tokens = append(s.tokens, tok)
		}
		for len(s.pages)*page < len(s.tokens) {
			p.next++
			s.pages = append(s.pages, poolPages-p.next)
		}
		tab.Width = max(tab.Width, len(s.pages))
		b.Out = append(b.Out, int32(len(b.Tok)-1))
	}
	for _, s := range seqs {
		tab.Entries = append(tab.Entries, s.pages...)
		for range tab.Width - len(s.pages) {
			tab.Entries = append(tab.Entries, -1)
		}
	}
	return b
}
