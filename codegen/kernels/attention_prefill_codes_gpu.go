package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/kvpage"
	"quire/ir/work"
)

// PrefillGPU of a quantised cache: tiles come as codes, which is all that is copied ahead of
// time, and become float16 in shared memory once for all queries of the block.

// Shared memory: queries, a tile of keys, one of values, then twice what a tile's codes take:
// keys, values, scales of keys, of values, each as it lies in the cache.
func (f prefillerGPU) codesAt() int64 { return f.valuesAt() + f.tileBytes() }
func (f prefillerGPU) codesBytes() int64 {
	return work.TileGPU * 2 * (f.row() + kvpage.ScaleBytes(f.at.Enc))
}

// part is where a half's codes lie in a stage, and its scales.
func (f prefillerGPU) codesPart(half kvpage.Half) (codes, scales int64) {
	h := int64(half)
	return h * work.TileGPU * f.row(), 2*work.TileGPU*f.row() + h*work.TileGPU*kvpage.ScaleBytes(f.at.Enc)
}

// copyCodes starts the copies of the t-th tile, whose parts are each one piece of memory.
// What lies after the block's last token is copied and not used.
func (f prefillerGPU) copyCodes(b blockGPU, t kernel.I64) {
	k := f.k
	token := b.tiles.token(t)
	page, in := f.physical(b.slot, token.Over(int64(f.p.Page))), token.Modulo(int64(f.p.Page))
	start := f.begin(page)
	to := kernel.Address(kernel.SharedAt[kernel.U8](k, f.codesAt())).Add(t.I32().And(1).Mul(k.Int32(int32(f.codesBytes()))))
	copy := func(at int64, from kernel.Ptr[kernel.U8], bytes int64) {
		kernel.Each(k, f.g.ThreadAgain(), k.Int(bytes/16), int64(32*f.warps), func(i kernel.I64) {
			kernel.CopyAsync(f.g, to.Add(i.Times(16).Plus(at).I32()), from.At(i.Times(16)))
		})
	}
	for _, half := range []kvpage.Half{kvpage.Key, kvpage.Value} {
		codes, scales := f.codesPart(half)
		from := start.Plus(int64(half) * f.valuesAfter()).At(b.h.Times(int64(f.p.Page)).Add(in).Times(f.row()))
		copy(codes, from, work.TileGPU*f.row())
		copy(scales, start.At(scaleAtGPU(f.at, half, in, b.h)), work.TileGPU*kvpage.ScaleBytes(f.at.Enc))
	}
}

// widenCodes makes float16 of the t-th tile's codes, zeros after the block's last token.
func (f prefillerGPU) widenCodes(b blockGPU, t kernel.I64) {
	k, g := f.k, f.g
	last := b.last().Sub(b.tiles.token(t))
	words := f.row() / 4
	from := kernel.SharedAt[kernel.U8](k, f.codesAt()).At(t.And(k.Int(1)).Times(f.codesBytes()))
	for _, half := range []kvpage.Half{kvpage.Key, kvpage.Value} {
		codes, scales := f.codesPart(half)
		to := kernel.SharedAt[kernel.U8](k, f.keysAt()+int64(half)*(f.valuesAt()-f.keysAt()))
		kernel.Each(k, g.ThreadAgain(), k.Int(work.TileGPU*words), int64(32*f.warps), func(i kernel.I64) {
			token, w := i.Over(words), i.Modulo(words)
			both := kernel.LoadWords(from.Plus(scales).At(token.Times(4)), 1)[0]
			both = kernel.Select(token.Le(last), both, k.Int32(0))
			v := f.vectorPairs(kernel.LoadWords(from.Plus(codes).At(i.Times(4)), 1)[0], g.Evens(both, both), g.Odds(both, both))
			kernel.StoreWords(to.At(token.Times(f.stride()).Add(w.Times(int64(4*len(v))))), v)
		})
	}
}

// vectorPairs turns a word of codes of one vector into pairs of neighbouring channels' values.
func (a attnGPU) vectorPairs(w, scale, zero kernel.I32) []kernel.I32 {
	k, g := a.k, a.g
	value := func(code kernel.I32) kernel.I32 { return g.FMAPair(kernel.Float16, code, scale, zero) }
	if a.bits == 8 {
		bias, magic := k.Twice(f16Int(1024)), k.Int32(0x64646464)
		return []kernel.I32{value(g.SubPair(g.Bytes(w, magic, 0x4140), bias)), value(g.SubPair(g.Bytes(w, magic, 0x4342), bias))}
	}
	low, high := k.Twice(f16Int(1024)), k.Twice(f16Bits(-64))
	out := make([]kernel.I32, 4)
	for i := range 2 { // channels 2i and 2i+4, high nibbles, and those after them
		odd := value(g.SubPair(lowCodes(k, w), low))
		even := value(g.FMAPair(kernel.Float16, highCodes(k, w), k.Twice(f16Bits(1.0/16)), high))
		out[i], out[i+2] = g.Evens(even, odd), g.Odds(even, odd)
		w = w.Shr(8)
	}
	return out
}

// lowCodes is 1024 + q of the lowest code of four bits in each half of a word, a pair of
// float16; highCodes is 1024 + 16 q of the code above it.
func lowCodes(k *kernel.Kernel, w kernel.I32) kernel.I32 {
	return w.And(0x000f000f).Or(k.Int32(0x64006400))
}
func highCodes(k *kernel.Kernel, w kernel.I32) kernel.I32 {
	return w.And(0x00f000f0).Or(k.Int32(0x64006400))
}
