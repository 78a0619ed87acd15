package calibrate

import (
	"context"
	"fmt"
	"math/rand/v2"
	"slices"

	"quire/codegen"
	"quire/frontends"
	"quire/passes/awq"
	"quire/passes/pipeline"
	"quire/runtime/cpu"
	"quire/runtime/device"
)

// inputs is what the linears of one site read: statistics over all tokens, and a sample of rows.
type inputs struct {
	mean   []float32 // of |x|, by channel
	sample []float32 // tokens x channels
}

// windowsOf cuts tokens into windows of n and takes at most most of them, in an order that seed draws.
func windowsOf(ids []int32, n, most int, seed int64) [][]int32 {
	var all [][]int32
	for ; len(ids) >= n; ids = ids[n:] {
		all = append(all, ids[:n])
	}
	if len(all) == 0 && len(ids) > 0 {
		all = append(all, ids)
	}
	rand.New(rand.NewPCG(uint64(seed), 0x617771)).Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
	return all[:min(most, len(all))]
}

// observe runs the model over windows and gives the inputs of every site, by its name. Each window is a sequence of its
// own. At most sample rows are kept, which seed draws.
func observe(ctx context.Context, m *frontends.Model, c codegen.Options, threads int, windows [][]int32, sample int, seed int64, progress func(done, total int64)) (map[string]*inputs, error) {
	module := m.Module.Clone()
	if _, err := pipeline.Standard(pipeline.Options{Target: c.Target, Taps: true}).Run(module); err != nil {
		return nil, err
	}
	p, err := codegen.Build(ctx, module, c)
	if err != nil {
		return nil, err
	}
	p.Context = m.Config.MaxContext
	longest := 0
	for _, w := range windows {
		longest = max(longest, len(w))
	}
	pages := make([]int, len(p.Tables))
	for i, t := range p.Tables {
		pages[i] = (longest + t.Page - 1) / t.Page
	}
	dev, err := cpu.Load(ctx, p, cpu.Options{Threads: threads, Pages: pages})
	if err != nil {
		return nil, err
	}
	defer dev.Close()
	total := 0
	for _, w := range windows {
		total += len(w)
	}
	o := observer{sums: map[string][]float64{}, rows: map[string][]float32{}, takes: drawn(total, sample, seed)}
	for _, w := range windows {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := dev.Step(sequence(w, pages))
		if err != nil {
			return nil, err
		}
		if len(out.Taps) == 0 {
			return nil, fmt.Errorf("%s: the compiled model shows no inputs of linears", m.Path)
		}
		o.add(out.Taps, len(w))
		progress(int64(o.seen), int64(total))
	}
	return o.means(), nil
}

// sequence is a step of one fresh sequence.
func sequence(ids []int32, pages []int) *device.Batch {
	n := len(ids)
	b := &device.Batch{Tok: ids, RowSlot: make([]int32, n), SlotStart: []int32{0}, SlotNew: []int32{int32(n)}, SlotLen: []int32{0}, Want: device.Taps}
	for i := range int32(n) {
		b.Pos = append(b.Pos, i)
	}
	for _, count := range pages {
		p := device.Pages{Width: count}
		for i := range int32(count) {
			p.Entries = append(p.Entries, i)
		}
		b.Pages = append(b.Pages, p)
	}
	return b
}

// observer adds up windows.
type observer struct {
	sums  map[string][]float64
	rows  map[string][]float32
	seen  int
	takes map[int]bool // tokens of all that are in the sample
}

func (o *observer) add(taps map[string][]float32, n int) {
	for name, x := range taps {
		k := len(x) / n
		if o.sums[name] == nil {
			o.sums[name] = make([]float64, k)
		}
		sum := o.sums[name]
		for i := range n {
			row := x[i*k:][:k]
			for j, v := range row {
				sum[j] += float64(abs(v))
			}
			if o.takes[o.seen+i] {
				o.rows[name] = append(o.rows[name], row...)
			}
		}
	}
	o.seen += n
}

// drawn takes one token of each of most stretches of all tokens: of the first stretch its first, of others one that is drawn.
// Tokens of equal distance would be of the same few places of their windows; and without a window's first token, which
// is larger than others by orders of magnitude and what later ones attend to, scales and clips would ruin it unseen.
func drawn(total, most int, seed int64) map[int]bool {
	rng := rand.New(rand.NewPCG(uint64(seed), 0x726f7773))
	takes := map[int]bool{}
	for i := range min(total, most) {
		lo, hi := i*total/min(total, most), (i+1)*total/min(total, most)
		takes[lo+rng.IntN(hi-lo)] = true
		if i == 0 {
			takes = map[int]bool{0: true}
		}
	}
	return takes
}

func (o *observer) means() map[string]*inputs {
	out := map[string]*inputs{}
	for name, sum := range o.sums {
		in := &inputs{mean: make([]float32, len(sum)), sample: o.rows[name]}
		for j, s := range sum {
			in.mean[j] = float32(s / float64(o.seen))
		}
		out[awq.TapOf(name)] = in
	}
	return out
}

// scaled is the sample with every channel divided by its scale.
func (in *inputs) scaled(s []float32) []float32 {
	if s == nil {
		return in.sample
	}
	x := slices.Clone(in.sample)
	for i := range x {
		x[i] /= s[i%len(s)]
	}
	return x
}
