package conformance

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"slices"
	"testing"

	"quire/codegen/kernel"
	"quire/codegen/kernels"
	"quire/codegen/simt"
	"quire/ir"
	"quire/ir/target"
	"quire/ir/types"
	"quire/ir/work"
	"quire/passes/duo"
	"quire/passes/quest"
	"quire/runtime/device"
	"quire/runtime/program"
	"quire/runtime/weights"
)

// gpuVariants are models that a GPU runs, of sizes that tensor cores take: the error is
// that of rounding activations and caches to two bytes.
func gpuVariants() []variant {
	const f16, bf16 = 5e-3, 2e-2
	small := func(more ...string) []string {
		return append([]string{"hidden: 64", "heads: 4", "kv_heads: 2", "head_dim: 32", "ffn: 128"}, more...)
	}
	return []variant{
		{"llama f16", spec("llama", small("kv: f16", "quantisation: f16")...), 0, f16, nil, nil},
		{"llama bf16", spec("llama", small("kv: bf16", "quantisation: bf16")...), 0, bf16, nil, nil},
		{"llama q4_0", spec("llama", small("kv: f16", "quantisation: q4_0")...), 0, f16, nil, nil},
		{"llama q4g64", spec("llama", small("kv: f16", "quantisation: q4g64")...), 0, f16, nil, nil},
		{"llama q4 cache", spec("llama", small("kv: int4", "quantisation: q4g64")...), 0, 2e-1, nil, nil},
		{"gemma2 q8 cache", spec("gemma2", small("kv: int8", "window: 8", "quantisation: f16")...), 0, 2e-2, nil, nil},
		{"qwen3 q8 cache head norms", spec("qwen3", small("kv: int8", "quantisation: f16")...), 0, 2e-2, nil, nil},
		{"qwen2 biases tied", spec("qwen2", small("kv: f16", "tied_embeddings: true", "quantisation: q8_0")...), 0, f16, nil, nil},
		{"qwen3 head norms", spec("qwen3", small("kv: f16", "quantisation: f16")...), 0, f16, nil, nil},
		{"mistral window", spec("mistral", small("kv: f16", "window: 9", "quantisation: f16")...), 0, f16, nil, nil},
		{"gemma3 head norms local rope", spec("gemma3", small("kv: f16", "window: 8", "rope: {base: 1000000, local_base: 10000}", "window_layers: {full_every: 2}", "quantisation: q4_0")...), 0, f16, nil, nil},
		{"phi3", spec("phi3", small("kv: f16", "quantisation: q4_0")...), 0, f16, nil, nil},
		{"gemma2 softcaps", spec("gemma2", small("kv: f16", "window: 8", "quantisation: f16")...), 0, f16, nil, nil},
	}
}

// rewrittenGPU are models whose caches a GPU reads in part. Those that pick pages have caches
// of float16: to bfloat16 two pages may be as good as each other.
func rewrittenGPU() []variant {
	const f16, bf16 = 5e-3, 2e-2
	of := func(family string, more ...string) string {
		return spec(family, append([]string{"hidden: 64", "heads: 4", "kv_heads: 2", "head_dim: 32", "ffn: 128"}, more...)...)
	}
	small := func(more ...string) string { return of("llama", more...) }
	pages := func(budget, page, dense, reselect int, per ir.Per) *quest.Options {
		return &quest.Options{Budget: budget, Page: page, PhysicalPage: 64, DenseLayers: dense, Per: per, Reselect: reselect}
	}
	return []variant{
		{"quest", small("kv: f16", "quantisation: f16"), 0, f16, nil, pages(128, 16, 0, 1, ir.PerGroup)},
		{"duo quest q8 cache", small("kv: int8", "quantisation: f16"), 0, 2e-2, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 3, Recent: 70}, pages(128, 16, 0, 1, ir.PerGroup)},
		{"duo chunked q4 cache", small("kv: int4", "quantisation: f16"), 0, 2e-1, &duo.Options{Mask: duo.Mask{{true, false}, {false, false}}, Sink: 3, Recent: 80, Prefill: duo.Chunked, Chunk: 320}, nil},
		{"quest kept q4 cache", small("kv: int4", "quantisation: q8_0"), 0, 2e-1, nil, pages(128, 16, 0, 8, ir.PerHead)},
		{"duo", small("kv: f16", "quantisation: f16"), 0, f16, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 3, Recent: 100}, nil},
		{"duo layers of one class", small("kv: bf16", "quantisation: bf16"), 0, bf16, &duo.Options{Mask: duo.Mask{{true, true}, {false, false}}, Sink: 64, Recent: 30}, nil},
		{"duo chunked", small("kv: f16", "quantisation: f16"), 0, f16, &duo.Options{Mask: duo.Mask{{true, false}, {false, false}}, Sink: 3, Recent: 80, Prefill: duo.Chunked, Chunk: 320}, nil},
		{"duo quest q4 cache", small("kv: int4", "quantisation: q4g64"), 0, 2e-1, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 0, Recent: 70}, pages(128, 16, 0, 4, ir.PerGroup)},
		{"duo quest", small("kv: f16", "quantisation: q4g64"), 0, f16, &duo.Options{Mask: duo.Mask{{true, false}, {false, true}}, Sink: 0, Recent: 70}, pages(128, 16, 0, 1, ir.PerGroup)},
		{"duo quest kept heads", small("kv: f16", "quantisation: q8_0"), 0, f16, &duo.Options{Mask: duo.Mask{{false, true}, {true, true}}, Sink: 70, Recent: 20}, pages(64, 32, 0, 8, ir.PerHead)},
		{"duo quest qwen2", of("qwen2", "kv: f16", "tied_embeddings: true", "quantisation: q8_0"), 0, f16, &duo.Options{Mask: duo.Mask{{false, true}, {true, false}}, Sink: 5, Recent: 90}, pages(128, 16, 0, 1, ir.PerGroup)},
		{"duo quest qwen3", of("qwen3", "kv: f16", "quantisation: f16"), 0, f16, &duo.Options{Mask: duo.Mask{{true, false}, {true, true}}, Sink: 5, Recent: 90}, pages(128, 64, 0, 4, ir.PerGroup)},
		{"quest gemma2", of("gemma2", "kv: f16", "window: 70", "quantisation: f16"), 0, f16, nil, pages(128, 32, 0, 1, ir.PerHead)},
		{"quest gemma3 q4 cache", of("gemma3", "kv: int4", "window: 70", "window_layers: {full_every: 2}", "quantisation: f16"), 0, 2e-1, nil, pages(128, 32, 0, 1, ir.PerGroup)},
		{"quest kept heads", small("kv: f16", "quantisation: f16"), 0, f16, nil, pages(192, 32, 1, 16, ir.PerHead)},
	}
}

// TestSimulatedPages runs texts of several pages.
func TestSimulatedPages(t *testing.T) {
	for i, v := range rewrittenGPU() {
		for _, name := range []string{"sm_80", "sm_90a"} {
			tgt, err := target.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			if name == "sm_80" && i%3 != 0 && *sweep == 1 {
				continue
			}
			t.Run(fmt.Sprintf("%s/%s", v.name, name), func(t *testing.T) {
				t.Parallel()
				for seed := range uint64(*sweep) {
					load(t, v, tgt, 1).long(uint64(i) + 1000*seed)
				}
			})
		}
	}
}

func TestSimulated(t *testing.T) {
	for i, v := range gpuVariants() {
		for _, name := range []string{"sm_80", "sm_90a"} {
			tgt, err := target.Parse(name)
			if err != nil {
				t.Fatal(err)
			}
			t.Run(fmt.Sprintf("%s/%s", v.name, name), func(t *testing.T) {
				t.Parallel()
				load(t, v, tgt, 1).script(uint64(i))
			})
		}
	}
}

// simulated is a Program for a GPU, bound to simulated blocks on this processor: the
// device simt. Every buffer is memory of its own, slots begin each step as NaN, and a
// kernel may only read and write what its operands say.
type simulated struct {
	p        *program.Program
	module   *simt.Module
	weights  []*simt.Buffer
	caches   []*simt.Buffer
	temp     []byte
	slots    []*simt.Buffer
	inputs   map[string]*simt.Buffer
	pages    []*simt.Buffer
	overlaps bool
}

// multiprocessors of the simulated machine: few, so that blocks take several items.
const multiprocessors = 3

func newSimulated(t *testing.T, p *program.Program, tgt target.Target, pages []int) *simulated {
	t.Helper()
	m := kernel.NewModule(tgt).Trace()
	for _, k := range p.Kernels {
		if err := kernels.Define(m, k.Symbol, k.Params); err != nil {
			t.Fatal(err)
		}
	}
	x, err := simt.Compile(m)
	if err != nil {
		t.Fatal(err)
	}
	s := &simulated{p: p, module: x, temp: make([]byte, work.CounterBytes), overlaps: tgt.SM >= "sm_90"}
	src, err := weights.Open(p)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	for _, w := range p.Weights {
		s.weights = append(s.weights, &simt.Buffer{Name: w.Name, Bytes: make([]byte, w.Bytes), Loaded: true})
	}
	if err := src.Fill(context.Background(), func(i int) []byte { return s.weights[i].Bytes }, 1, nil); err != nil {
		t.Fatal(err)
	}
	for _, c := range p.Caches {
		s.caches = append(s.caches, &simt.Buffer{Name: c.Name, Bytes: nans(c.PageBytes * int64(pages[c.Table]))})
	}
	return s
}

// nans is memory that is a NaN in every encoding of floats.
func nans(n int64) []byte { return slices.Repeat([]byte{0xff}, int(n)) }

// Step implements device.Model.
func (s *simulated) Step(b *device.Batch) (device.Output, error) {
	d := work.Dims{N: int64(len(b.Tok)), M: int64(len(b.Out)), S: int64(len(b.SlotStart))}
	for i := range b.SlotLen {
		d.C = max(d.C, int64(b.SlotLen[i]+b.SlotNew[i]))
	}
	bind := types.Bindings{"N": d.N, "M": d.M, "S": d.S, "C": d.C, "P": 0}
	s.inputs = map[string]*simt.Buffer{}
	for name, in := range map[string][]int32{"tok": b.Tok, "pos": b.Pos, "out": b.Out, "row_slot": b.RowSlot, "slot_start": b.SlotStart, "slot_new": b.SlotNew, "slot_len": b.SlotLen} {
		s.inputs[name] = ints(name, in)
		s.inputs[name].Loaded = true
	}
	s.pages = nil
	for i, p := range b.Pages {
		bind["P"] = max(bind["P"], int64(p.Width))
		s.pages = append(s.pages, ints(fmt.Sprintf("pages of table %d", i), p.Entries))
		s.pages[i].Loaded = true
	}
	for _, c := range s.caches {
		c.Before = append(c.Before[:0], c.Bytes...)
	}
	step, err := s.step(bind)
	if err != nil {
		return device.Output{}, err
	}
	if err := s.makeSlots(bind); err != nil {
		return device.Output{}, err
	}
	for i := range step.Launch {
		if err := s.launch(step, &step.Launch[i], b, d); err != nil {
			return device.Output{}, fmt.Errorf("step %s: %s: %w", step.Name, step.Launch[i].Name, err)
		}
		if n := slices.IndexFunc(s.temp[:work.CounterBytes], func(b byte) bool { return b != 0 }); n >= 0 {
			return device.Output{}, fmt.Errorf("step %s: %s: leaves the counter at byte %d, expected zeros as it found them (case 6.6, vi)", step.Name, step.Launch[i].Name, n)
		}
	}
	return s.output(step, bind, b.Want)
}

// step is the first whose guards hold.
func (s *simulated) step(bind types.Bindings) (*program.Step, error) {
	for i := range s.p.Steps {
		ok := true
		for _, g := range s.p.Steps[i].When {
			l, r := eval(g.Lhs, bind), eval(g.Rhs, bind)
			ok = ok && l <= r && (g.AtMost || l == r)
		}
		if ok {
			return &s.p.Steps[i], nil
		}
	}
	return nil, fmt.Errorf("no step for %v", bind)
}

// eval is a Dim's value, -1 where it has none.
func eval(text string, bind types.Bindings) int64 {
	d, err := types.ParseDim(text)
	if err != nil {
		return -1
	}
	n, err := d.Eval(bind)
	if err != nil {
		return -1
	}
	return n
}

func (s *simulated) makeSlots(bind types.Bindings) error {
	s.slots = nil
	for i, text := range s.p.Slots {
		sizes, err := program.Sizes(text)
		if err != nil {
			return err
		}
		size := int64(0)
		for _, d := range sizes {
			n, err := d.Eval(bind)
			if err != nil {
				return err
			}
			size = max(size, n)
		}
		s.slots = append(s.slots, &simt.Buffer{Name: fmt.Sprintf("slot %d", i), Bytes: nans(size)})
	}
	return nil
}

var wanted = map[string]device.Want{"logits": device.Logits, "argmax": device.ArgMax, "logsumexp": device.LogSumExp}

// launch runs one launch as a GPU's driver would.
func (s *simulated) launch(step *program.Step, l *program.Launch, b *device.Batch, d work.Dims) error {
	serves := device.Want(0)
	for _, r := range l.For {
		serves |= wanted[step.Results[r].Name]
	}
	k := s.p.Kernels[l.Kernel]
	for _, a := range l.Args {
		if a.Kind == program.ArgPages {
			d.P = int64(b.Pages[a.Index].Width)
		}
	}
	if l.Rows == "M" {
		d.N = d.M
	}
	items := k.Params.Items(d)
	if serves != 0 && serves&b.Want == 0 || d.N == 0 || items == 0 {
		return nil
	}
	grid := work.GridOf(k.Params)
	x := simt.Launch{Kernel: k.Symbol, Warps: grid.Warps, Shared: int(grid.Shared), Blocks: int(grid.Blocks(items, multiprocessors)), Overlaps: s.overlaps}
	for i, o := range k.Params.Operands() {
		if o.Kind == work.Dim {
			v, _ := d.Value(l.Args[i].Name)
			x.Args = append(x.Args, simt.Arg{Value: uint64(v)})
			continue
		}
		buf := s.operand(l.Args[i], k.Params.Temp(d))
		x.Args = append(x.Args, simt.Arg{Buffer: use(buf, o.Mode, x.Args)})
	}
	x.Args = append(x.Args, simt.Arg{Value: uint64(items)})
	return s.module.Launch(x)
}

// use gives a buffer the operand's mode; memory that is read as one operand and written
// as another may be both.
func use(b *simt.Buffer, m work.Mode, before []simt.Arg) *simt.Buffer {
	mode := map[work.Mode]simt.Mode{work.Read: simt.Input, work.Write: simt.Output, work.Update: simt.Update, work.Temp: simt.Update}[m]
	for _, a := range before {
		if a.Buffer == b && b.Mode != mode {
			mode = simt.Update
		}
	}
	b.Mode = mode
	return b
}

func (s *simulated) operand(a program.Arg, temp int64) *simt.Buffer {
	switch a.Kind {
	case program.ArgSlot:
		return s.slots[a.Index]
	case program.ArgWeight:
		return s.weights[a.Index]
	case program.ArgCache:
		return s.caches[a.Index]
	case program.ArgPages:
		return s.pages[a.Index]
	case program.ArgInput:
		return s.inputs[a.Name]
	case program.ArgConst:
		list := ints("list", a.Ints)
		list.Loaded = true
		return list
	}
	if n := int(temp) - len(s.temp); n > 0 {
		s.temp = append(s.temp, nans(int64(n))...)
	}
	return &simt.Buffer{Name: "temp", Bytes: s.temp[:temp]}
}

func ints(name string, v []int32) *simt.Buffer {
	b, _ := binary.Append(nil, binary.LittleEndian, v)
	return &simt.Buffer{Name: name, Bytes: b}
}

func (s *simulated) output(step *program.Step, bind types.Bindings, want device.Want) (device.Output, error) {
	var out device.Output
	for _, r := range step.Results {
		if wanted[r.Name]&want == 0 {
			continue
		}
		n := eval(r.Rows, bind) * int64(max(1, r.Cols))
		b := s.slots[r.Slot].Bytes
		if n < 0 || 4*n > int64(len(b)) {
			return out, fmt.Errorf("result %s of %d values, its slot has %d bytes", r.Name, n, len(b))
		}
		words := make([]int32, n)
		floats := make([]float32, n)
		for i := range words {
			w := binary.LittleEndian.Uint32(b[4*i:])
			words[i], floats[i] = int32(w), math.Float32frombits(w)
		}
		switch r.Name {
		case "logits":
			out.Logits = floats
		case "argmax":
			out.ArgMax = words
		case "logsumexp":
			out.LogSumExp = floats
		}
	}
	return out, nil
}

// CopyPage implements device.Model.
func (s *simulated) CopyPage(table int, from, to int32) {
	for i, c := range s.p.Caches {
		if c.Table == table {
			b := s.caches[i].Bytes
			copy(b[int64(to)*c.PageBytes:][:c.PageBytes], b[int64(from)*c.PageBytes:][:c.PageBytes])
		}
	}
}

// Discard implements device.Model: what was given back reads as NaN.
func (s *simulated) Discard(table int, pages []int32) {
	for i, c := range s.p.Caches {
		for _, p := range pages {
			if c.Table == table {
				copy(s.caches[i].Bytes[int64(p)*c.PageBytes:][:c.PageBytes], nans(c.PageBytes))
			}
		}
	}
}

// Memory, Profile and Close implement device.Model.
func (s *simulated) Memory() device.Memory    { return device.Memory{} }
func (s *simulated) Profile() []device.Launch { return nil }
func (s *simulated) Close() error             { return nil }
