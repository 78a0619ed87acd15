package kernel

import (
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"
)

// Lanes is where the lanes of a Vec stand in a row: Width neighbours from I on a CPU,
// or one element of each lane of a warp.
type Lanes struct {
	I    I64 // element of lane 0 (CPU) or of this lane (GPU)
	live value.Value
}

// Row runs body over the n elements of a row. Lanes beyond the row load zeros and store
// nothing.
func Row(k *Kernel, n int, init []Vec, body func(l Lanes, carried []Vec) []Vec) []Vec {
	if k.width == 1 {
		return For(k, k.GPU().Lane(), k.Int(int64(n)), 32, init, func(i I64, c []Vec) []Vec {
			return body(Lanes{I: i}, c)
		})
	}
	whole := n / k.width * k.width
	out := Range(k, 0, int64(whole), int64(k.width), init, func(i I64, c []Vec) []Vec {
		return body(Lanes{I: i}, c)
	})
	if rest := n - whole; rest > 0 {
		ids := make([]string, k.width)
		for i := range ids {
			ids[i] = "false"
			if i < rest {
				ids[i] = "true"
			}
		}
		out = body(Lanes{I: k.Int(int64(whole)), live: vecLit(types.I1, ids)}, out)
	}
	return out
}

// Load loads the lanes' elements of the row at p.
func (l Lanes) Load(p Ptr[F32]) Vec {
	at := p.At(l.I)
	if l.live == nil {
		return LoadVec(at)
	}
	k := p.k
	t := k.lanes(types.Float)
	c := k.b.NewBitCast(at.v, ptrTo(t, p.space))
	return Vec{k, k.callAs("masked.load", t, []types.Type{t, c.Type()}, c, intLit(types.I32, 4), l.live, k.Vec(0).v)}
}

// Store stores the lanes' elements of the row at p.
func (l Lanes) Store(p Ptr[F32], x Vec) {
	at := p.At(l.I)
	if l.live == nil {
		StoreVec(at, x)
		return
	}
	k := p.k
	c := k.b.NewBitCast(at.v, ptrTo(x.v.Type(), p.space))
	k.callAs("masked.store", types.Void, []types.Type{x.v.Type(), c.Type()}, x.v, c, intLit(types.I32, 4), l.live)
}

// Or is x where the lane is inside the row, else y.
func (l Lanes) Or(x, y Vec) Vec {
	if l.live == nil {
		return x
	}
	return Vec{x.k, x.k.b.NewSelect(l.live, x.v, y.v)}
}

// ReduceAdd is the sum of all lanes of a Row's values, in a fixed order.
func (a Vec) ReduceAdd() F32 {
	k := a.k
	if k.width == 1 {
		return F32{k, k.GPU().butterfly(a, 16, Vec.Add).v}
	}
	for n := k.width / 2; n >= 1; n /= 2 {
		a = a.Add(a.rotate(n))
	}
	return a.Lane(0)
}

// ReduceAdd is the sum of all lanes, a CPU's verb.
func (a VecI) ReduceAdd() I32 {
	k := a.k
	if k.width == 1 {
		k.Errorf("sum of integer lanes: a CPU's verb")
		return k.Int32(0)
	}
	for n := k.width / 2; n >= 1; n /= 2 {
		f := Vec{k, k.b.NewBitCast(a.v, k.lanes(types.Float))}.rotate(n)
		a = a.Add(f.Bits())
	}
	return a.Lane(0)
}

// ReduceMax is the greatest of all lanes of a Row's values.
func (a Vec) ReduceMax() F32 {
	k := a.k
	if k.width == 1 {
		return F32{k, k.GPU().butterfly(a, 16, Vec.Max).v}
	}
	for n := k.width / 2; n >= 1; n /= 2 {
		a = a.Max(a.rotate(n))
	}
	return a.Lane(0)
}

func (a Vec) rotate(n int) Vec {
	lanes := make([]int, a.k.width)
	for i := range lanes {
		lanes[i] = (i + n) % a.k.width
	}
	return a.Shuffle(a, lanes...)
}

// Tile is how 16 rows of a weight lie over lanes: on a CPU lane = row and Part 0 of 1;
// on a GPU the two halves of a warp take alternate columns of the same 16 rows.
type Tile struct {
	Row   I64 // add to an address of 16 neighbours
	Part  I64
	Parts int64
}

// Tile asks how a tile lies here.
func (k *Kernel) Tile() Tile {
	if k.width == 1 {
		l := k.GPU().Lane()
		return Tile{Row: l.Modulo(16), Part: l.Shr(4), Parts: 2}
	}
	return Tile{Row: k.Int(0), Part: k.Int(0), Parts: 1}
}

// Merge adds the parts' sums.
func (t Tile) Merge(v Vec) Vec {
	if t.Parts == 1 {
		return v
	}
	g := v.k.GPU()
	return v.Add(g.xor(v, 16))
}

// Below is the Lanes of Width neighbours from element at, of which only the first left
// lie inside (all if left >= Width, none if left <= 0). On a GPU lanes are a Tile's rows,
// and all must lie inside.
func (k *Kernel) Below(at, left I64) Lanes {
	if k.width == 1 {
		return Lanes{I: at.Add(k.Tile().Row)}
	}
	return Lanes{I: at, live: k.Iota().Lt(left.I32().Splat()).v}
}

// All is the Lanes of Width neighbours from element at, all inside.
func (k *Kernel) All(at I64) Lanes {
	if k.width == 1 {
		return Lanes{I: at.Add(k.Tile().Row)}
	}
	return Lanes{I: at}
}
