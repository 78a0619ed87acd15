package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// swizzle is where a piece of 16 bytes of row r lies in the row, as products of warpgroups
// read it; others have rows apart.
func (m gemm) swizzle(r, piece kernel.I64) kernel.I64 {
	if !m.p.Groups {
		return piece
	}
	return piece.XorBits(r.And(m.k.Int(7)).Times(16))
}

// chunkGroups starts the products of chunk c of the units, number n of all: half of them are
// under way while registers of the other half are made.
func (m gemm) chunkGroups(w []*fragUnit, c int, n kernel.I64, acc []kernel.F32) {
	k, g, f := m.k, m.g, m.f
	stage := n.And(k.Int(work.GroupStages - 1)).Times(int64(m.p.Block) * m.p.Stride() / 16)
	rows := g.Swizzled(kernel.Address(kernel.SharedAt[kernel.U8](k, 0))).Add(stage)
	d := newDequantiser(w, c)
	const together = 2
	for j := 0; j < f.Products(); j += together {
		var a [][][4]kernel.I32
		for t := range w {
			var of [][4]kernel.I32
			for i := range together {
				of = append(of, m.fresh(d.product(t, j+i)))
			}
			a = append(a, of)
		}
		g.GroupFence()
		for i := range together {
			for t := range w {
				sums := acc[t*kernel.GroupSums:][:kernel.GroupSums]
				copy(sums, g.MmaGroup(m.half, a[t][i], rows.Plus(int64(2*(j+i))), sums))
			}
		}
		g.GroupCommit()
		g.GroupWait(1)
	}
}

// fresh is registers of a product that nothing else writes: what is loaded into some while
// a product reads them would make the assembler wait for each product.
func (m gemm) fresh(a [4]kernel.I32) [4]kernel.I32 {
	if m.f.Block > 1 {
		return a
	}
	for i := range a {
		a[i] = a[i].AndBits(m.ones)
	}
	return a
}

// groupResult is the sums once all products have ended.
func (m gemm) groupResult(acc []kernel.F32) []kernel.F32 {
	m.g.GroupWait(0)
	var out []kernel.F32
	for t := range m.tiles() {
		out = append(out, m.g.GroupResult(acc[t*kernel.GroupSums:][:kernel.GroupSums])...)
	}
	return out
}
