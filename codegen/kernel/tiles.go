package kernel

import (
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Tiles hands out the verbs of AMX: eight registers of 16 rows of 64 bytes, by number.
type Tiles struct{ k *Kernel }

// TileBytes is the size of a tile register.
const TileBytes = 1024

// Tiles is an error on a target without amx-int8 and amx-bf16.
func (x X86) Tiles() Tiles { return Tiles{x.k} }

// Permit asks the operating system for tile data, once or again.
func (t Tiles) Permit() {
	const archPrctl, requestPermission, tileData = 158, 0x1023, 18
	w := func(n int64) value.Value { return intLit(types.I64, n) }
	t.k.call("tile.permit", types.I64, w(archPrctl), w(requestPermission), w(tileData))
}

// Config gives every register its full shape and clears it. The 64 bytes at p are
// overwritten.
func (t Tiles) Config(p Ptr[U8]) {
	k := t.k
	words := make([]int64, 8)
	words[0] = 1 // palette
	for i := range 8 {
		words[2+i/4] |= 64 << (16 * (i % 4)) // bytes of a row
		words[6] |= 16 << (8 * i)            // rows
	}
	for i, w := range words {
		StoreI64(As[I64](p).Plus(int64(i)), k.Int(w))
	}
	k.callAs("tile.config", types.Void, nil, p.v)
}

// Shorten gives the first registers, n of them, fewer rows than 16 and clears all. p is
// where Config wrote.
func (t Tiles) Shorten(p Ptr[U8], n int, rows I64) {
	for i := range n {
		StoreU8(p.Plus(int64(48+i)), rows.I32())
	}
	t.k.callAs("tile.config", types.Void, nil, p.v)
}

// Release ends the use of the registers.
func (t Tiles) Release() { t.k.callAs("tile.release", types.Void, nil) }

func tileNo(n int) value.Value { return intLit(types.I8, int64(n)) }

// Zero clears a register.
func (t Tiles) Zero(n int) { t.k.callAs("tile.zero", types.Void, nil, tileNo(n)) }

// Load reads rows of 64 bytes that follow one another.
func (t Tiles) Load(n int, p Ptr[U8]) { t.LoadRows(n, p, 64) }

// LoadRows reads rows of 64 bytes at a stride.
func (t Tiles) LoadRows(n int, p Ptr[U8], stride int64) {
	t.k.callAs("tile.load", types.Void, nil, tileNo(n), p.v, intLit(types.I64, stride))
}

// Store writes 16 rows of 64 bytes one after the other.
func (t Tiles) Store(n int, p Ptr[U8]) {
	t.k.callAs("tile.store", types.Void, nil, tileNo(n), p.v, intLit(types.I64, 64))
}

// Dot adds to acc[i][j] the sum over k of a[i][k] * b[k/4][4j + k%4], all signed bytes.
func (t Tiles) Dot(acc, a, b int) {
	t.k.callAs("tile.dot", types.Void, nil, tileNo(acc), tileNo(a), tileNo(b))
}

// DotPairs adds to acc[i][j] the sum over k of a[i][k] * b[k/2][2j + k%2], bfloat16: a
// product is exact, sums of two and of all are rounded to nearest even; what is below
// 2^-126 counts as zero, before and after.
func (t Tiles) DotPairs(acc, a, b int) {
	t.k.callAs("tile.bf16", types.Void, nil, tileNo(acc), tileNo(a), tileNo(b))
}
