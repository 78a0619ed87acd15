package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/work"
)

// source is 16 values of row n of x from column i on: float32, or as Round stored them.
func (m linearMany) source(n, i kernel.I64) kernel.Vec {
	k, p := m.k, m.p
	if p.Dot == work.F32 {
		return kernel.LoadVec(kernel.Arg[kernel.F32](k, "x").At(n.Times(int64(p.Cols)).Add(i)))
	}
	row := codesRow(k, p, n)
	if p.Dot == work.BF16 {
		return kernel.LoadBF16s(kernel.As[kernel.BF16](row).At(i))
	}
	scale := kernel.LoadF32(kernel.As[kernel.F32](row.Plus(int64(p.Cols))).At(i.Over(32)))
	return kernel.LoadBytes(row.At(i)).Shl(24).Sar(24).F32().Mul(scale.Splat())
}

// codesRow is where Round wrote row n.
func codesRow(k *kernel.Kernel, p work.Linear, n kernel.I64) kernel.Ptr[kernel.U8] {
	bytes := work.Round{Dim: p.Cols, To: p.Dot}.RowBytes()
	return kernel.Arg[kernel.U8](k, "x").At(n.Times(bytes))
}

// x is where the inner loop finds row n as float32, or as pairs: the operand, or what widen
// made.
func (m linearMany) x(n kernel.I64) kernel.Ptr[kernel.F32] {
	k, cols := m.k, int64(m.p.Cols)
	if m.pairs {
		return kernel.As[kernel.F32](codesRow(k, m.p, n))
	}
	if m.p.Dot == work.F32 {
		return kernel.Arg[kernel.F32](k, "x").At(n.Times(cols))
	}
	return m.wideRows().At(n.Modulo(work.Block).Times(cols))
}

// rowFloats is the distance of rows of x, in words.
func (m linearMany) rowFloats() int64 {
	if m.pairs {
		return work.Round{Dim: m.p.Cols, To: m.p.Dot}.RowBytes() / 4
	}
	return int64(m.p.Cols)
}

// wideAt is where prepared rows lie in scratch, behind the sums; the word 64 bytes before
// them names the block that they hold.
func (m linearMany) wideAt() int64 {
	head := int64(work.Panel)
	if m.p.QKV != nil {
		head = headStride(m.p)
	}
	return m.heap + work.Block*head*4 + 64
}

func (m linearMany) wideRows() kernel.Ptr[kernel.F32] {
	return kernel.Scratch[kernel.F32](m.k, m.wideAt())
}

func (m linearMany) tag() kernel.Ptr[kernel.I64] {
	return kernel.As[kernel.I64](m.wideRows().Plus(-16))
}

// widen makes a block of rounded rows float32, unless they are there.
func (m linearMany) widen(block kernel.I64) {
	k, cols := m.k, int64(m.p.Cols)
	kernel.When(k, kernel.LoadI64(m.tag()).Ne(block), func() {
		kernel.StoreI64(m.tag(), block)
		first := block.Times(work.Block)
		kernel.Each(k, first, first.Plus(work.Block).Min(k.Dim("N")), 1, func(n kernel.I64) {
			kernel.Each(k, k.Int(0), k.Int(cols), 16, func(i kernel.I64) {
				kernel.StoreVec(m.x(n).At(i), m.source(n, i))
			})
		})
	})
}
