package work

import "quire/ir/types/layout"

// GEMM is a Linear for many rows on a GPU: y^T = W x^T by tensor cores, the weight in the
// frag layout, made float16 (or bfloat16) in registers, and rows of x as Round{To: Dot}
// wrote them. Tokens is Many.
//
// An item is a block of RowWarps times WarpPairs pairs of tiles of the weight by Block rows
// of x, of which a warp takes 64. A pair is tiles that belong together (of gate and up, of
// the halves of a head that rotate together), or neighbours. Blocks of the weight are the
// faster axis.
type GEMM struct {
	Linear
	RowWarps int  // 1, 2, 4 or 8
	Block    int  // 64 or 128
	Double   bool // two pairs of tiles a warp, which reads less of x and needs more registers
	Groups   bool // products of a warpgroup (sm_90a): 4 RowWarps, and a warp takes the block's 128 rows of x, which lie by spans (Round.Span)
}

// Family implements Params.
func (p GEMM) Family() string { return "gemm" }

// Key implements Params.
func (p GEMM) Key() string {
	return key("gemm", "of", p.Linear.Key(), "rowwarps", p.RowWarps, "block", p.Block, "double", p.Double, "groups", p.Groups)
}

// Validate implements Params.
func (p GEMM) Validate() error {
	c := &check{family: "gemm"}
	c.that(p.Dot == F16 || p.Dot == BF16, "dot %q, expected f16 or bf16", p.Dot)
	c.that(p.Tokens == Many, "tokens %q, expected many", p.Tokens)
	c.that(p.RowWarps == 1 || p.RowWarps == 2 || p.RowWarps == 4 || p.RowWarps == 8, "%d row warps, expected 1, 2, 4 or 8", p.RowWarps)
	c.that(p.Block == 64 || p.Block == 128, "blocks of %d rows, expected 64 or 128", p.Block)
	c.that(!p.Groups || p.Block == 128 && p.RowWarps == 4 && !p.Double, "groups: blocks of %d rows, %d row warps, expected 128, and 4 of single pairs", p.Block, p.RowWarps)
	c.frag(p.Linear)
	if h := p.QKV; h != nil {
		c.that(h.QNorm == nil && h.KNorm == nil, "qkv: norms of heads, expected kernels of their own")
		c.that(h.Style != Half || h.RotaryDim == h.Dim && h.Dim%32 == 0, "qkv: %d of %d dims rotate by halves, expected all of a multiple of 32", h.RotaryDim, h.Dim)
	}
	if err := c.err(); err != nil {
		return err
	}
	f, _ := layout.FragOf(p.Enc, p.Cols)
	c.that(!p.Groups || f.Chunk == GroupChunk, "groups: chunks of %d columns, expected %d", f.Chunk, GroupChunk)
	c.that(!p.Groups || f.Span > 16, "groups: scales of %d columns, expected at least 32: registers", f.Span)
	if err := c.err(); err != nil {
		return err
	}
	l := p.Linear
	l.Dot = F32
	return l.Validate()
}

// GroupChunk is the columns of a chunk whose rows are swizzled in shared memory: 128 bytes.
const GroupChunk = 64

// Pairs is the number of pairs of tiles.
func (p GEMM) Pairs() int {
	if p.Epilogue == GLU {
		return layout.Tiles(p.Rows[0])
	}
	return (p.Tiles() + 1) / 2
}

// WarpPairs is the number of pairs of tiles of a warp.
func (p GEMM) WarpPairs() int { return 1 + btoi(p.Double) }

func btoi(b bool) int {
	if b {
		return 1
	}
	return 0
}

// RowBlocks is the number of items that share rows of x.
func (p GEMM) RowBlocks() int64 { return ceil(int64(p.Pairs()), int64(p.WarpPairs()*p.RowWarps)) }

// Items implements Params.
func (p GEMM) Items(d Dims) int64 { return p.RowBlocks() * ceil(d.N, int64(p.Block)) }

// Scratch implements Params.
func (p GEMM) Scratch() int64 { return 0 }

// Stages is the number of chunks of x in shared memory.
const Stages = 4

// GroupStages is Stages where products of warpgroups still read the last two.
const GroupStages = 4

// Together is the number of blocks of rows of x that are taken side by side: the weight is
// read from memory as often less.
const Together = 8

// Stride is the distance of rows of a chunk of x in shared memory: the lanes' loads meet
// no bank twice.
func (p GEMM) Stride() int64 {
	if p.Groups {
		return 2 * GroupChunk
	}
	f, err := layout.FragOf(p.Enc, p.Cols)
	if err != nil {
		return 0
	}
	n, apart := int64(2*f.Chunk), map[int]int64{64: 16, 32: 64, 16: 32}[f.Span]
	return n + (apart+128-n%128)%128
}

// Grid implements Gridded.
func (p GEMM) Grid() Grid {
	if p.Groups {
		return Grid{Warps: p.RowWarps, Shared: GroupStages * int64(p.Block) * p.Stride(), PerBlock: 1, Resident: 2}
	}
	return Grid{Warps: p.RowWarps * p.Block / 64, Shared: Stages * int64(p.Block) * p.Stride(), PerBlock: 1, Resident: max(1, 8*64/(p.WarpPairs()*p.RowWarps*p.Block))}
}
