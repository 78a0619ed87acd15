package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// linearBytes is linearMany by byte dot products (VNNI), on the records that
// activations.go makes of a row: the weight's codes go in as they are, one tile of 16
// rows at a time against a group of tokens.
//
// It serves every number of tokens with Dot i8 (one plane: 72 products a cycle, against
// 26 by float32 multiply-adds), and few tokens with the others, which it spares the panel
// of float32 values that only many tokens pay back.
type linearBytes struct {
	linearMany
	one linearOne // its inner product
	at  int64     // the records of a block of tokens, in scratch
}

// few is the number of tokens up to which the panel does not pay.
const few = 8

// onBytes says whether a kernel's product can run by byte dot products.
func onBytes(p work.Linear, f layout.Format, t target.Target) bool {
	return t.Has(target.AVX512) && t.Has(target.VNNI) && f.Block >= 32 && p.Cols%32 == 0 && p.Cols <= work.WideTiles
}

// bytesOf makes a product by byte dot products of one by other means. The word at tag
// names the block of tokens whose records lie at at.
func (m linearMany) bytesOf(at int64, tag kernel.Ptr[kernel.I64]) linearBytes {
	k := m.k
	b := linearBytes{linearMany: m, at: at}
	b.one = linearOne{k, m.p, m.f, formOf(k, m.p, m.f)}
	b.linearMany.run = b.run
	block, _ := m.split()
	kernel.When(k, kernel.LoadI64(tag).Ne(block), func() {
		kernel.StoreI64(tag, block)
		first := block.Times(work.Block)
		kernel.Each(k, first, first.Plus(work.Block).Min(k.Dim("N")), 1, func(n kernel.I64) {
			row := b.row(n.Sub(first))
			kernel.Each(k, k.Int(0), k.Int(int64(m.p.Cols)), 32, func(i kernel.I64) {
				digits(k, b.one.form, offset(m.f), m.source(n, i), m.source(n, i.Plus(16)), row.At(i.Times(record/32)))
			})
		})
	})
	return b
}

// row is where the records of the t-th token of the block lie.
func (b linearBytes) row(t kernel.I64) kernel.Ptr[kernel.U8] {
	return kernel.Scratch[kernel.U8](b.k, b.at).At(t.Times(int64(b.p.Cols * record / 32)))
}

// run takes groups of eight tokens, then of two; the last may be one.
func (b linearBytes) run(pn panel, finish func(n kernel.I64, v []kernel.Vec)) {
	k := b.k
	first, last := pn.tokens[0], pn.tokens[1]
	middle := first.Add(last.Sub(first).Over(few).Times(few))
	kernel.Each(k, first, middle, few, func(n kernel.I64) { b.group(pn, n, few, finish) })
	kernel.Each(k, middle, last, 2, func(n kernel.I64) {
		short := b
		short.last = &last
		short.group(pn, n, 2, finish)
	})
}

// group multiplies both tiles with size tokens from n on.
func (b linearBytes) group(pn panel, n kernel.I64, size int, finish func(n kernel.I64, v []kernel.Vec)) {
	k := b.k
	rows := make([]kernel.Ptr[kernel.U8], size)
	for t := range rows {
		rows[t] = b.row(b.token(n, t).Sub(pn.tokens[0]))
	}
	sums := [2][]kernel.Vec{b.tile(pn.a, rows), b.tile(pn.b, rows)}
	for t := range size {
		v := []kernel.Vec{sums[0][t], sums[1][t]}
		at := n.Plus(int64(t))
		if b.last == nil || t == 0 {
			finish(at, v)
			continue
		}
		kernel.When(k, at.Lt(*b.last), func() { finish(at, v) })
	}
}

// tile multiplies one tile with the tokens whose records lie at rows.
func (b linearBytes) tile(number kernel.I64, rows []kernel.Ptr[kernel.U8]) []kernel.Vec {
	k, f := b.k, b.f
	w := b.one.tile(number)
	return kernel.Range(k, 0, int64(b.p.Cols/f.Block), 1, k.Zeros(len(rows)), func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
		next := append([]kernel.Vec(nil), acc...)
		at := make([]kernel.Ptr[kernel.U8], len(rows))
		for t, row := range rows {
			at[t] = row.At(i.Times(int64(f.Block / 32 * record)))
		}
		b.one.column(newColumn(k, f, w.At(i.Times(int64(f.ColumnBytes())))), at, next)
		return next
	})
}
