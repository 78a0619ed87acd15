package kernels

import (
	"fmt"

	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// rowGPU is a row that a block's threads share: on a GPU the families whose item is a row
// of the step take a block each, so that one row alone keeps many loads under way.
type rowGPU struct {
	k     *kernel.Kernel
	g     kernel.GPU
	warps int
}

func newRowGPU(k *kernel.Kernel, p work.Params) rowGPU {
	return rowGPU{k: k, g: k.GPU(), warps: work.GridOf(p).Warps}
}

func (r rowGPU) threads() int64 { return int64(32 * r.warps) }

// width is how many neighbours of n a thread may take at once, all rows being that long.
func width(n ...int) int {
	for _, w := range []int{4, 2} {
		all := true
		for _, x := range n {
			all = all && x%w == 0
		}
		if all {
			return w
		}
	}
	return 1
}

// each gives the threads elements i of a row of n, a few turns unrolled so that their
// loads go out together; step neighbours belong to a turn.
func (r rowGPU) each(n, step int, f func(i kernel.I64)) {
	k, turn := r.k, r.threads()*int64(step)
	first := r.g.Thread().Times(int64(step))
	const most = 4
	turns := (int64(n) + turn - 1) / turn
	if turns > most {
		kernel.Each(k, first, k.Int(int64(n)), turn, f)
		return
	}
	for t := range turns {
		i := first.Plus(t * turn)
		if (t+1)*turn <= int64(n) {
			f(i)
			continue
		}
		kernel.When(k, i.Lt(k.Int(int64(n))), func() { f(i) })
	}
}

// copyRow copies n floats.
func (r rowGPU) copyRow(y, x kernel.Ptr[kernel.F32], n, w int) {
	r.each(n, w, func(i kernel.I64) { kernel.StoreWords(y.At(i), kernel.LoadWords(x.At(i), w)) })
}

func gatherGPU(k *kernel.Kernel, p work.Gather) {
	from := kernel.LoadI32(kernel.Arg[kernel.I32](k, "out").At(k.Item())).I64()
	x, y := kernel.Arg[kernel.F32](k, "x").At(from.Times(int64(p.Dim))), kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Dim)))
	newRowGPU(k, p).copyRow(y, x, p.Dim, width(p.Dim))
}

func sliceGPU(k *kernel.Kernel, p work.Slice) {
	x := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Dim))).Plus(int64(p.First))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(p.Count)))
	newRowGPU(k, p).copyRow(y, x, p.Count, width(p.Dim, p.First, p.Count))
}

func takeHeadsGPU(k *kernel.Kernel, p work.TakeHeads) {
	dim, n := int64(p.Dim), len(p.List)
	x := kernel.Arg[kernel.F32](k, "x").At(k.Item().Times(int64(p.Total) * dim))
	y := kernel.Arg[kernel.F32](k, "y").At(k.Item().Times(int64(n) * dim))
	w := width(p.Dim)
	newRowGPU(k, p).each(n*p.Dim, w, func(i kernel.I64) {
		from := listed(k, i.Over(dim)).Times(dim).Add(i.Modulo(dim))
		kernel.StoreWords(y.At(i), kernel.LoadWords(x.At(from), w))
	})
}

func mergeHeadsGPU(k *kernel.Kernel, p work.MergeHeads) {
	n, dim := k.Item(), int64(p.Dim)
	a := kernel.Arg[kernel.F32](k, "a").At(n.Times(int64(p.A) * dim))
	b := kernel.Arg[kernel.F32](k, "b").At(n.Times(int64(p.B) * dim))
	y := kernel.Arg[kernel.F32](k, "y").At(n.Times(int64(p.A+p.B) * dim))
	w := width(p.Dim)
	newRowGPU(k, p).each((p.A+p.B)*p.Dim, w, func(i kernel.I64) {
		h, e := listed(k, i.Over(dim)), i.Modulo(dim)
		from := kernel.Select(h.Lt(k.Int(int64(p.A))), a.At(h.Times(dim)), b.At(h.Plus(int64(-p.A)).Times(dim)))
		kernel.StoreWords(y.At(i), kernel.LoadWords(from.At(e), w))
	})
}

// mapGPU evaluates the expression on a thread's neighbours one by one; each input is
// loaded once.
func mapGPU(k *kernel.Kernel, p work.Map) {
	w := width(p.Dim)
	row := k.Item().Times(int64(p.Dim))
	y := kernel.Arg[kernel.F32](k, "y").At(row)
	newRowGPU(k, p).each(p.Dim, w, func(i kernel.I64) {
		in := map[int][]kernel.F32{}
		for _, s := range p.Expr {
			if s.Op != work.MapIn && s.Op != work.MapVec || in[s.Arg] != nil {
				continue
			}
			at := kernel.Arg[kernel.F32](k, fmt.Sprintf("a%d", s.Arg)).At(i)
			if s.Op == work.MapIn {
				at = at.At(row)
			}
			in[s.Arg] = kernel.LoadFloats(at, w)
		}
		out := make([]kernel.F32, w)
		for j := range out {
			out[j] = mapValue(k, p, func(s work.MapStep) kernel.Vec { return in[s.Arg][j].Splat() }).Own()
		}
		kernel.StoreFloats(y.At(i), out)
	})
}

// ropeTableGPU is one row of angles, a pair a thread.
func ropeTableGPU(k *kernel.Kernel, p work.RopeTable) {
	cs, angle := angles(k, p)
	newRowGPU(k, p).each(len(p.Freq), 1, func(i kernel.I64) {
		cos, sin := angle(i)
		kernel.StoreFloats(cs.At(i.Times(2)), []kernel.F32{cos, sin})
	})
}

// ropeGPU rotates all heads of a row, a pair a thread.
func ropeGPU(k *kernel.Kernel, p work.Rope) {
	row := k.Item().Times(int64(p.Heads * p.Dim))
	x, y := kernel.Arg[kernel.F32](k, "x").At(row), kernel.Arg[kernel.F32](k, "y").At(row)
	cs := kernel.Arg[kernel.F32](k, "cs").At(k.Item().Times(int64(p.RotaryDim)))
	r, pairs, rest := newRowGPU(k, p), p.RotaryDim/2, p.Dim-p.RotaryDim
	r.each(p.Heads*pairs, 1, func(i kernel.I64) {
		at, n := i.Over(int64(pairs)).Times(int64(p.Dim)), i.Modulo(int64(pairs))
		ia, ib := pair(p.Style, p.RotaryDim, n)
		c := kernel.LoadFloats(cs.At(n.Times(2)), 2)
		a, b := kernel.LoadF32(x.At(at.Add(ia))), kernel.LoadF32(x.At(at.Add(ib)))
		kernel.StoreF32(y.At(at.Add(ia)), a.Mul(c[0]).Sub(b.Mul(c[1])))
		kernel.StoreF32(y.At(at.Add(ib)), b.Mul(c[0]).Add(a.Mul(c[1])))
	})
	if rest > 0 {
		r.each(p.Heads*rest, 1, func(i kernel.I64) {
			at := i.Over(int64(rest)).Times(int64(p.Dim)).Plus(int64(p.RotaryDim)).Add(i.Modulo(int64(rest)))
			kernel.StoreF32(y.At(at), kernel.LoadF32(x.At(at)))
		})
	}
}

// kvStoreGPU appends one row's keys and values. A page on a GPU holds, for a cache of a
// layer, keys [kv head][token][pad] and then values the same way: a token's entry of a
// head is one piece, so that attention's warps load 16 bytes a lane of either. Summaries are Summarise's.
func kvStoreGPU(k *kernel.Kernel, p work.KVStore) {
	if kvpage.Bits(p.CacheEnc) > 0 {
		kvQuantiseGPU(k, p)
		return
	}
	half, ok := map[layout.Enc]kernel.Half{layout.F16: kernel.Float16, layout.BF16: kernel.BFloat16}[p.CacheEnc]
	if !ok {
		k.Errorf("kvstore: cache %q, expected f16, bf16, q8 or q4 on a GPU", p.CacheEnc)
		return
	}
	n, pad := k.Item(), work.Padded(p.Dim)
	at := appendTo{k: k, page: p.Page}.row(n)
	bytes := work.PageBytes(p.KVHeads, p.Dim, p.Page, p.CacheEnc)
	stride := work.PageStride(p.KVHeads, p.Dim, p.Page, p.Summary, p.CacheEnc)
	page := kernel.Arg[kernel.U8](k, "cache").At(at.page.Times(stride).Add(at.token.Times(int64(2 * pad))))
	r := newRowGPU(k, p)
	for i, name := range []string{"k", "v"} {
		x := kernel.Arg[kernel.F32](k, name).At(n.Times(int64(p.KVHeads * p.Dim)))
		to := page.Plus(int64(i) * bytes / 2)
		r.each(p.KVHeads*pad, 2, func(i kernel.I64) {
			h, e := i.Over(int64(pad)), i.Modulo(int64(pad))
			var v [2]kernel.F32
			for j := range v {
				v[j] = inRow(k, x.At(h.Times(int64(p.Dim))), e.Plus(int64(j)), p.Dim, pad)
			}
			entry := to.At(h.Times(int64(2 * pad * p.Page)).Add(e.Times(2)))
			kernel.StoreWords(entry, []kernel.I32{r.g.Pack(half, v[0], v[1])})
		})
	}
}

// inRow is element i of a row of n, zero from there to pad.
func inRow(k *kernel.Kernel, x kernel.Ptr[kernel.F32], i kernel.I64, n, pad int) kernel.F32 {
	if n == pad {
		return kernel.LoadF32(x.At(i))
	}
	last := k.Int(int64(n - 1))
	return kernel.Select(i.Le(last), kernel.LoadF32(x.At(i.Min(last))), k.Float(0))
}
