package work

import "quire/ir/types/layout"

// GEMV is a Linear for few rows on a GPU: y^T = W x^T by tensor cores (mma.m16n8k16), the
// weight in the frag layout as the 16-row operand, the rows of x (rounded to Dot, f16 or
// bf16) as its columns, sums in float32. Launches have any N up to Columns.
//
// With Tokens One x are floats, a Norm may come first, and each block keeps them all in
// shared memory, if they fit there. Else (without a Norm), and with Tokens Many, where x is
// what Round wrote, the warps read them from global memory: up to 16 rows of Round's come
// through the rings, beside what they are multiplied with.
//
// An item is one tile of 16 rows, or two where they belong together (of gate and up, or of
// the halves of a head that rotate together), and with Tokens Many Multi times as many. A
// block's warps share an item's columns. Heads that are finished whole (WholeHeads) are
// by the block that brings the last tile of one.
type GEMV struct {
	Linear
	Columns int // most rows of x: 1, 2, 4 or 8; with Tokens Many 8, 16, 32 or 64
	// Join, before the Norm: x is a branch whose norm joins what came before, after = before
	// + norm(x). That is then normed and multiplied, and kept.
	Join *RMSNorm
	// Round, of epilogues Store and GLU: y is what Round makes of the result.
	Round *Round

	// Shared is 0, or the bytes of a multiprocessor's shared memory on which blocks of
	// launches that follow each other meet, as they do on sm_90a. A block of single tiles
	// then takes at least half: no two of a launch share a multiprocessor while another has
	// none. One of pairs, of one row, leaves that half to the next.
	Shared int64
}

// Family implements Params.
func (p GEMV) Family() string { return "gemv" }

// Key implements Params.
func (p GEMV) Key() string {
	return key("gemv", "of", p.Linear.Key(), "columns", p.Columns, "join", p.Join.key(), "round", p.Round.key(), "shared", p.Shared)
}

// Validate implements Params.
func (p GEMV) Validate() error {
	c := &check{family: "gemv"}
	c.that(p.Dot == F16 || p.Dot == BF16, "dot %q, expected f16 or bf16", p.Dot)
	few := p.Columns == 1 || p.Columns == 2 || p.Columns == 4
	more := p.Columns == 16 || p.Columns == 32 || p.Columns == 64
	c.that(p.Columns == 8 || few && p.Tokens == One || more && p.Tokens == Many, "%d columns, expected 1, 2, 4 or 8 with tokens one, 8, 16, 32 or 64 with many", p.Columns)
	c.that(p.Columns < 64 || p.Pairs() == 1, "64 columns of two tiles that belong together, expected fewer: registers")
	c.frag(p.Linear)
	if err := c.err(); err != nil {
		return err
	}
	c.counters(p)
	if p.Round != nil {
		c.that(p.Epilogue == GLU || p.Epilogue == Store && len(p.Rows) == 1, "epilogue %q of %d segments rounds, expected glu, or store of one", p.Epilogue, len(p.Rows))
		c.that(p.Round.Span == 0, "rounds in spans of %d, expected none", p.Round.Span)
		c.rounds(p.Round, p.Rows[0])
	}
	c.that(p.Join == nil || p.Norm != nil, "join without a norm, expected one")
	c.that(!p.Crowded(), "%d columns over %d warps, expected a power of two of them: registers", p.Columns, p.Plan().Warps)
	g := p.Grid()
	c.that(g.Shared <= p.maxShared(), "%d bytes of shared memory, expected at most %d", g.Shared, p.maxShared())
	if err := c.err(); err != nil {
		return err
	}
	l := p.Linear
	l.Dot = F32
	return l.Validate()
}

// Crowded says that more than 16 columns would spill registers: where the warps that share a
// row are no power of two, their places cost what the sums need. A GEMM takes such products.
func (p GEMV) Crowded() bool {
	w := p.Plan().Warps
	return p.Columns > 16 && w&(w-1) != 0
}

// maxShared is what a block may have (CUDA C++ programming guide, compute capability 8.0).
const maxShared = 163 << 10

func (p GEMV) maxShared() int64 {
	if p.Shared > 0 {
		return p.Shared - reserved
	}
	return maxShared
}

// frag says what a linear by tensor cores can be.
func (c *check) frag(p Linear) {
	f, err := layout.FragOf(p.Enc, p.Cols)
	c.that(err == nil, "%v", err)
	c.that(err != nil || p.Dot == F16 || f.Enc == layout.BF16, "dot bf16 of %s weights, expected bf16 ones", p.Enc)
	c.that(err != nil || p.Dot == BF16 || f.Enc != layout.BF16, "dot f16 of bf16 weights, expected bf16")
	if h := p.QKV; h != nil {
		c.that(h.Apart || h.CacheEnc == layout.F16 || h.CacheEnc == layout.BF16, "cache %q, expected f16 or bf16", h.CacheEnc)
	}
}

// Pairs is the number of tiles that belong together.
func (p GEMV) Pairs() int {
	switch {
	case p.Epilogue == GLU, p.Epilogue == QKV && p.QKV.Style == Half && !p.WholeHeads():
		return 2
	}
	return 1
}

// Multi is how many times Pairs tiles an item has: they share what is read of x, but there
// should be items for all multiprocessors.
func (p GEMV) Multi() int {
	n, most := 1, 4
	if p.Columns > 32 {
		most = 1 // registers
	}
	for p.Tokens == Many && n*p.Pairs() < most && p.Tiles() >= 256*n*p.Pairs() {
		n *= 2
	}
	return n
}

// Singles is the number of Pairs tiles.
func (p GEMV) Singles() int { return (p.Tiles() + p.Pairs() - 1) / p.Pairs() }

// Items implements Params.
func (p GEMV) Items(Dims) int64 { return ceil(int64(p.Singles()), int64(p.Multi())) }

// Scratch implements Params.
func (p GEMV) Scratch() int64 { return 0 }

// GEMVPlan is how a block of a GEMV shares its work and its shared memory.
type GEMVPlan struct {
	Frag     layout.Frag
	Staged   bool  // x is in shared memory
	Warps    int   // of a block
	Units    int   // of a row that a warp takes; the last warps fewer, if they do not divide
	Depth    int   // units of each tile that a step takes: one wait, and one copy a tile
	Steps    int   // of an item
	Slots    int   // steps of a warp's ring, a power of two; no more than Steps in a loop
	Turns    int   // items whose sums wait for one another
	Slot     int64 // bytes of one
	Codes    int64 // those that are the weight's; rows of x follow, if Carried
	Carried  bool  // x comes through the rings
	Row      int64 // bytes of a row of x, in a slot if Carried
	Group    int   // columns that share a scale, and so a sum of x
	Sums     int64 // offsets, behind rows of x: sums of x, sums of the warps, rings, barriers
	Parts    int64
	Ring     int64
	Barriers int64
	Bytes    int64
}

// Plan derives it: as many warps as are good for the encoding, or fewer where shared memory
// would not hold their rings. Where blocks meet rings are as deep as what a block takes at
// least lets them be.
func (p GEMV) Plan() GEMVPlan {
	most := 16
	if p.Columns > 16 || p.Enc == layout.Q5_0 || p.Enc == layout.Q5_1 || p.Enc == layout.Q5_K || p.Enc == layout.Q6_K {
		most = 8 // registers, or shared memory for sums
	}
	type ring struct {
		slots int
		most  int64 // bytes of a block
	}
	rings := []ring{{2, p.maxShared()}, {1, p.maxShared()}}
	switch {
	case p.Shared == 0 || p.Columns > 1:
	case p.Pairs() == 1:
		rings = append([]ring{{4, p.Shared / 2}}, rings...)
	default:
		other := p.Shared - p.Shared/2 - 2*reserved
		rings = append([]ring{{2, other}, {1, other}}, rings...)
	}
	var g GEMVPlan
	for _, staged := range []bool{true, false} {
		if staged && p.Tokens == Many || !staged && p.Norm != nil {
			continue
		}
		for _, r := range rings {
			for w := most; w >= 4; w /= 2 {
				if g = p.plan(w, r.slots, staged); g.Bytes <= r.most {
					return g
				}
			}
		}
	}
	return g
}

func (p GEMV) plan(most, slots int, staged bool) GEMVPlan {
	f, err := layout.FragOf(p.Enc, p.Cols)
	if err != nil {
		return GEMVPlan{}
	}
	g := GEMVPlan{Frag: f, Staged: staged, Warps: most, Depth: 1, Slots: slots, Group: f.Unit}
	units := p.Cols / f.Unit
	for w := most + most/2; w > most/2; w-- { // the divisor that is nearest, if any is near
		if units%w == 0 && (units%g.Warps != 0 || abs(w-most) < abs(g.Warps-most)) {
			g.Warps = w
		}
	}
	g.Warps = min(g.Warps, units)
	g.Units = (units + g.Warps - 1) / g.Warps
	g.Steps = g.Units / g.Depth
	for g.Slots > g.Steps && g.Units*f.Unit > GEMVUnrolled {
		g.Slots /= 2
	}
	tiles := p.Pairs() * p.Multi()
	g.Codes = int64(tiles * g.Depth * f.UnitBytes())
	if f.Block > 1 {
		g.Group = f.Sub
	}
	g.Carried = p.Shared > 0 && p.Tokens == Many && p.Columns <= 16
	g.Row = int64(p.Cols) * 2
	if g.Carried {
		g.Row = int64(2 * g.Depth * f.Unit)
	}
	if p.Columns > 1 { // rows so far apart that the lanes' loads meet no bank twice
		apart := map[int]int64{64: 16, 32: 64, 16: 32}[f.Span]
		g.Row += (apart + 128 - g.Row%128) % 128
	}
	g.Slot = g.Codes
	if g.Carried {
		g.Slot += int64(p.Columns) * g.Row
	}
	if staged {
		g.Sums = up16(int64(p.Columns) * g.Row)
		g.Parts = g.Sums + up16(int64(p.Cols/g.Group)*int64(p.Columns)*4)
	}
	turn := int64(g.Warps * tiles * layout.Lanes * p.Columns * 4)
	g.Turns = int(max(1, min(8, 16384/turn)))
	g.Ring = g.Parts + max(int64(g.Turns)*turn, int64(g.Warps*p.Columns)*4)
	g.Ring = (g.Ring + 127) &^ 127
	g.Barriers = g.Ring + int64(g.Warps*g.Slots)*g.Slot
	g.Bytes = g.Barriers + up16(int64(g.Warps*g.Slots)*8)
	return g
}

// GEMVUnrolled is the most columns of an item that a warp's code has one by one; of more it
// has a loop.
const GEMVUnrolled = 256

func abs(n int) int { return max(n, -n) }

func up16(n int64) int64 { return (n + 15) &^ 15 }

// Grid implements Gridded. A block a multiprocessor keeps memory busy; where registers
// allow, a second one, of the launch that follows, fills its rings meanwhile.
func (p GEMV) Grid() Grid {
	g := p.Plan()
	out := Grid{Warps: g.Warps, Shared: g.Bytes, PerBlock: 1, Resident: 1, Room: 1}
	if p.Shared > 0 && p.Pairs() == 1 {
		out.Shared = max(g.Bytes, p.Shared/2)
	} else if p.Shared > 0 && p.Columns == 1 {
		out.Room = 2
	}
	return out
}

// reserved is what a multiprocessor takes of its shared memory for each block (CUDA C++
// programming guide, compute capability 8.x and 9.0).
const reserved = 1 << 10
