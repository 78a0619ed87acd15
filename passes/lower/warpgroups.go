package lower

import (
	"slices"

	"quire/ir"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// warpgroups gives products for many rows to warpgroups, on a target that has them (sm_90a).
// Such a product reads rows in the order of its spans, so all that read what is rounded must
// be such products, of one span, and what rounds must be able to write in that order. Others
// stay as they are.
func warpgroups(t target.Target, f *ir.Func) {
	if t.SM != "sm_90a" {
		return
	}
	for _, r := range rounded(f) {
		span := 0
		for _, w := range r.writers {
			if _, ok := work.InSpans(w.Kernel, 0); !ok {
				span = -1
			}
		}
		for _, p := range r.products {
			g, ok := grouped(p.Kernel)
			if !ok || span != 0 && span != g {
				span = -1
				break
			}
			span = g
		}
		if span <= 0 {
			continue
		}
		for _, w := range r.writers {
			w.Kernel, _ = work.InSpans(w.Kernel, span)
		}
		for _, p := range r.products {
			p.Kernel = groups(p.Kernel.(work.GEMM).Linear)
		}
	}
}

// grouped is the span of a product that warpgroups can take.
func grouped(k work.Params) (span int, ok bool) {
	g, ok := k.(work.GEMM)
	if !ok || g.Block != 128 || groups(g.Linear).Validate() != nil {
		return 0, false
	}
	f, err := layout.FragOf(g.Enc, g.Cols)
	return f.Span, err == nil
}

// groups is a product of warpgroups, of one: a multiprocessor has two blocks. Measured on an H200 with
// 2048 rows of x, as prompts come: int4 g128 of 28672 x 4096 takes 838 us, with blocks of two warpgroups
// 896; of 4096 x 14336 442 and 437; bf16 916 and 1051, 448 and 506.
func groups(p work.Linear) work.GEMM {
	return work.GEMM{Linear: p, RowWarps: 4, Block: 128, Groups: true}
}

// rows are a buffer of rounded rows: who writes and who reads it.
type rows struct{ writers, products []*ir.Part }

// rounded are the buffers that kernels write rounded and that do not leave the function, in the
// order of their first writers.
func rounded(f *ir.Func) []*rows {
	var out []*rows
	of := map[*ir.Value]*rows{}
	each := func(do func(p *ir.Part, o work.Operand, v *ir.Value)) {
		for _, l := range f.Body {
			for _, p := range l.Launch {
				for o, v := range p.Operands() {
					do(p, o, v)
				}
			}
		}
	}
	each(func(p *ir.Part, o work.Operand, v *ir.Value) {
		if work.RoundOf(p.Kernel) == nil || o.Name != "y" || v.Op != ir.OpBuffer || slices.Contains(f.Results, v) {
			return
		}
		if of[v] == nil {
			of[v] = &rows{}
			out = append(out, of[v])
		}
		of[v].writers = append(of[v].writers, p)
	})
	each(func(p *ir.Part, o work.Operand, v *ir.Value) {
		if r := of[v]; r != nil && o.Name != "y" {
			r.products = append(r.products, p)
		}
	})
	return out
}
