package work

import (
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
)

// Tokens says how many rows a Linear is made for.
type Tokens string

// One is a matrix-vector product, for launches with N = 1 only; Many takes any N.
const (
	One  Tokens = "one"
	Many Tokens = "many"
)

// Dot is the arithmetic of the inner product.
type Dot string

// F32 keeps activations exact. BF16 and I8 round them (I8: to 8 bits with one scale
// for 32 values); with Tokens Many the operand x is then the output of Round.
const (
	F32  Dot = "f32"
	BF16 Dot = "bf16"
	I8   Dot = "i8"
	F16  Dot = "f16" // on a GPU, as BF16
)

// Epilogue is what happens to a row's sums.
type Epilogue string

// Store: y[n,r]. Add: y = res + sum. GLU: Rows are gate and up of equal length F,
// y[n,f] = act(gate) * up. QKV: Rows are q, k, v; rotated, k and v appended.
const (
	Store Epilogue = "store"
	Add   Epilogue = "add"
	GLU   Epilogue = "glu"
	QKV   Epilogue = "qkv"
)

// Act is an activation function.
type Act string

// The activations; GELU is the exact (erf) one.
const (
	NoAct    Act = ""
	SiLU     Act = "silu"
	GELUTanh Act = "gelu_tanh"
	GELU     Act = "gelu"
)

// Style is which elements of a head rotate together.
type Style string

// Half pairs i with i + RotaryDim/2; Adjacent pairs 2i with 2i + 1.
const (
	NoRope   Style = ""
	Half     Style = "half"
	Adjacent Style = "adjacent"
)

// RMSNorm is y = x / sqrt(mean(x^2) + Eps) * (gain + Offset).
type RMSNorm struct {
	Eps    float32
	Offset float32 // 1 where the file stores gain - 1 (Gemma from Hugging Face), else 0
}

// Heads is the QKV epilogue: an item is a head of q, k or v.
type Heads struct {
	Heads, KVHeads, Dim int
	RotaryDim           int // leading elements of a head that rotate; 0 with Style none
	Style               Style
	QNorm, KNorm        *RMSNorm   // per head, before rotation; gains are [Dim]
	Apart               bool       // keys and values go to buffers, for a KVStore, and to no cache
	CacheEnc            layout.Enc // f32, f16 or bf16
	Page                int        // tokens of a page
	Stream              int        // KV heads, of KVHeads, that a second cache holds; it has no summaries
	Place               []int      // with Stream: the place of each KV head, those of the second cache behind those of the first
	Summary             int        // tokens of a page summary; 0: pages have none
}

// Linear is y[n,r] = sum over k of x[n,k] * w[r,k], then bias, then the epilogue.
//
// Operands: x f32[N,K] (or codes); g (Norm) [K]; w: the segments of Rows one after
// the other; b (Bias): [sum of Rows], unpadded; then by Epilogue
//
//	Store  y f32[N, sum of Rows]
//	Add    res f32[N, R], y f32[N, R] (may be res itself)
//	GLU    y f32[N, F]
//	QKV    cs f32[N, RotaryDim/2, 2] (with a Style), qn (QNorm), kn (KNorm),
//	       q f32[N, Heads, Dim], and with Apart k and v f32[N, KVHeads, Dim], else cache,
//	       row_slot, slot_start, slot_len, pages, and with Stream stream (the second
//	       cache), stream_pages, place i32[KVHeads] (Const)
//
// and the dims N and, for QKV with a cache, P.
type Linear struct {
	Enc      layout.Enc
	Rows     []int
	Cols     int
	Tokens   Tokens
	Dot      Dot
	Norm     *RMSNorm // of x, before the product; Tokens One only
	Bias     bool
	Epilogue Epilogue
	Act      Act     // GLU: of the gate; Store: of the sum
	Softcap  float32 // Store: y = cap * tanh(y / cap); 0: none
	QKV      *Heads
}

// Family implements Params.
func (p Linear) Family() string { return "linear" }

// Key implements Params.
func (p Linear) Key() string {
	return key("linear", "enc", p.Enc, "rows", p.Rows, "cols", p.Cols, "tokens", p.Tokens, "dot", p.Dot,
		"norm", p.Norm.key(), "bias", p.Bias, "epilogue", p.Epilogue, "act", p.Act, "softcap", p.Softcap, "qkv", p.QKV.key())
}

func (n *RMSNorm) key() string {
	if n == nil {
		return ""
	}
	return key("rms", "eps", n.Eps, "offset", n.Offset)
}

func (h *Heads) key() string {
	if h == nil {
		return ""
	}
	return key("heads", "q", h.Heads, "kv", h.KVHeads, "dim", h.Dim, "rotary", h.RotaryDim, "style", h.Style,
		"qnorm", h.QNorm.key(), "knorm", h.KNorm.key(), "apart", h.Apart, "stream", h.Stream, "cache", h.CacheEnc, "page", h.Page, "summary", h.Summary)
}

// R is the number of rows of all segments.
func (p Linear) R() int {
	n := 0
	for _, r := range p.Rows {
		n += r
	}
	return n
}

// Tiles is the number of 16-row tiles of all segments, each padded by itself.
func (p Linear) Tiles() int {
	n := 0
	for _, r := range p.Rows {
		n += layout.Tiles(r)
	}
	return n
}

// Validate implements Params.
func (p Linear) Validate() error {
	c := &check{family: "linear"}
	c.positive("cols", p.Cols)
	c.enc("linear", p.Enc, p.Cols)
	c.that(p.Tokens == One || p.Tokens == Many, "tokens %q, expected one or many", p.Tokens)
	c.that(p.Dot == F32 || p.Dot == BF16 || p.Dot == I8, "dot %q, expected f32, bf16 or i8", p.Dot)
	c.that(p.Dot != I8 || p.Cols%32 == 0, "dot i8: %d columns, expected a multiple of 32", p.Cols)
	c.that(p.Dot != BF16 || p.Cols%2 == 0, "dot bf16: %d columns, expected an even number", p.Cols)
	c.that(p.Norm == nil || p.Tokens == One, "norm: expected tokens one")
	c.that(p.Softcap >= 0, "softcap is %v, expected at least 0", p.Softcap)
	for i, r := range p.Rows {
		c.that(r > 0, "segment %d has %d rows, expected more than 0", i, r)
	}
	switch p.Epilogue {
	case Store:
		c.that(len(p.Rows) >= 1, "store: no segments, expected at least 1")
	case Add:
		c.that(len(p.Rows) == 1, "add: %d segments, expected 1", len(p.Rows))
	case GLU:
		c.that(len(p.Rows) == 2 && p.Rows[0] == p.Rows[1], "glu: rows %v, expected two equal segments", p.Rows)
		c.that(p.Act != NoAct, "glu: no act, expected silu, gelu_tanh or gelu")
	case QKV:
		c.heads(p)
	default:
		c.that(false, "epilogue %q, expected store, add, glu or qkv", p.Epilogue)
	}
	c.that((p.QKV != nil) == (p.Epilogue == QKV), "QKV is for epilogue qkv and only for it")
	return c.err()
}

func (c *check) heads(p Linear) {
	h := p.QKV
	if h == nil {
		return
	}
	c.positive("heads", h.Heads)
	c.positive("kv heads", h.KVHeads)
	c.positive("head dim", h.Dim)
	c.that(h.Dim%16 == 0, "head dim %d, expected a multiple of 16", h.Dim)
	want := []int{h.Heads * h.Dim, h.KVHeads * h.Dim, h.KVHeads * h.Dim}
	ok := len(p.Rows) == 3
	for i := 0; ok && i < 3; i++ {
		ok = p.Rows[i] == want[i]
	}
	c.that(ok, "qkv: rows %v, expected %v", p.Rows, want)
	c.rotary(h.Style, h.RotaryDim, h.Dim)
	c.second(h.KVHeads, h.Stream, h.Place)
	if h.Apart {
		c.that(h.CacheEnc == "" && h.Page == 0 && h.Summary == 0 && h.Stream == 0, "a cache %q of pages of %d beside keys and values that go to buffers", h.CacheEnc, h.Page)
		return
	}
	c.that(kvpage.Bits(h.CacheEnc) == 0, "cache %q, expected floats: a head's codes need the whole head", h.CacheEnc)
	c.cache(h.CacheEnc, h.Page)
	c.summary(h.Page, h.Summary)
}

func (c *check) rotary(s Style, rot, dim int) {
	c.that(s == NoRope || s == Half || s == Adjacent, "style %q, expected half or adjacent", s)
	if s == NoRope {
		c.that(rot == 0, "rotary dim %d without a style", rot)
		return
	}
	c.that(rot > 0 && rot%2 == 0 && rot <= dim, "rotary dim %d, expected an even number of at most %d", rot, dim)
}

func (c *check) cache(e layout.Enc, page int) {
	c.that(e == layout.F32 || e == layout.F16 || e == layout.BF16 || kvpage.Bits(e) > 0, "cache %q, expected f32, f16, bf16, q8 or q4", e)
	c.that(page > 0 && page%16 == 0, "page of %d tokens, expected a multiple of 16", page)
}

// Operands implements Params.
func (p Linear) Operands() []Operand {
	x := Float
	if p.Tokens == Many && p.Dot != F32 {
		x = Codes
	}
	out := read(x, "x")
	if p.Norm != nil {
		out = append(out, read(Vector, "g")...)
	}
	out = append(out, read(Weight, "w")...)
	if p.Bias {
		out = append(out, read(Vector, "b")...)
	}
	switch p.Epilogue {
	case Add:
		return join(out, read(Float, "res"), one("y", Float, Write), dims("N"))
	case QKV:
		if p.QKV.Apart {
			return join(out, p.QKV.operands(), dims("N"))
		}
		return join(out, p.QKV.operands(), dims("N", "P"))
	}
	return join(out, one("y", Float, Write), dims("N"))
}

func (h *Heads) operands() []Operand {
	var out []Operand
	if h.Style != NoRope {
		out = append(out, read(Float, "cs")...)
	}
	if h.QNorm != nil {
		out = append(out, read(Vector, "qn")...)
	}
	if h.KNorm != nil {
		out = append(out, read(Vector, "kn")...)
	}
	out = append(out, one("q", Float, Write)...)
	if h.Apart {
		return join(out, one("k", Float, Write), one("v", Float, Write))
	}
	out = join(out, one("cache", Cache, Update), rowmap())
	if h.Stream > 0 {
		out = join(out, one("stream", Cache, Update), read(Int, "stream_pages"), read(Const, "place"))
	}
	return out
}

// Constant implements Constants.
func (p Linear) Constant(string) []int32 { return int32s(p.QKV.Place) }

// CheckConstant implements Constants.
func (p Linear) CheckConstant(_ string, list []int32) error {
	return checkList(list, p.QKV.KVHeads, p.QKV.KVHeads)
}

// Panel is the number of rows of an item of a Many product.
const Panel = 2 * layout.Lanes

// Block is the number of tokens of an item of a Many product.
const Block = 256

// Wide is the number of columns that a Many product dequantises at a time.
const Wide = 4096

// WideTiles is the most columns of a Many product that runs on tile registers.
const WideTiles = 16384

// Items implements Params. One: an item is a tile (GLU: a tile of both segments; QKV:
// a head). Many: a panel of two tiles (GLU: one of each segment; QKV: a head) times a
// block of tokens; the block is the slower axis, so that a worker keeps what it made of
// the block's rows.
func (p Linear) Items(d Dims) int64 {
	n := int64(p.units())
	if p.Tokens == Many {
		n *= ceil(d.N, Block)
	}
	return n
}

func (p Linear) units() int {
	switch {
	case p.Epilogue == QKV:
		return p.QKV.Heads + 2*p.QKV.KVHeads
	case p.Epilogue == GLU:
		return layout.Tiles(p.Rows[0])
	case p.Tokens == One:
		return p.Tiles()
	}
	n := 0
	for _, r := range p.Rows {
		n += (layout.Tiles(r) + 1) / 2
	}
	return n
}

// Group implements Params. Many, of a cache with summaries: Last makes those that the rows
// have touched; One makes its own.
func (p Linear) Group(d Dims) int64 {
	if p.Tokens == Many && p.QKV != nil && p.QKV.Summary > 0 {
		return p.Items(d)
	}
	return 0
}

// Scratch implements Params. One: x as the inner loop wants it (three digits and sums
// of every block cost less than 8 bytes a value) and a head's sums. Many: the panel, the
// sums of a block of tokens and its rows as the inner loop wants them.
func (p Linear) Scratch() int64 {
	head := int64(0)
	if p.QKV != nil {
		head = int64(p.QKV.Dim) * 4
	}
	if p.Tokens == One {
		return up64(int64(p.Cols)*16+1024) + up64(head)
	}
	wide := int64(min(p.Cols, Wide))
	if p.Cols <= WideTiles {
		wide = int64(p.Cols)
	}
	rows := up64(int64(p.Cols)) * 4 * Block
	return up64(wide*Panel*4) + up64(Block*max(Panel*4, head+64)) + rows + 16384
}

// Temp implements Params.
func (p Linear) Temp(Dims) int64 { return 0 }

// Round rounds rows of activations for a Linear with Dot bf16 or i8, or f16 on a GPU.
//
// Operands: x f32[N,Dim], y codes[N, RowBytes]; N. An item is a row.
type Round struct {
	Dim int
	To  Dot

	// Span, on a GPU, is 0 or the columns, 16, 32 or 64, of a span of the weight that a GEMM
	// with Groups multiplies the rows with (layout.Frag): of each span, columns lie in the
	// order of products, and in those of their second operand's rows:
	// number 16i + p holds column q*Span/4 + 4i + e, q = p%8/2, e = p%2 + 2*(p/8).
	Span int
}

// Family implements Params.
func (p Round) Family() string { return "round" }

// Key implements Params.
func (p Round) Key() string { return key("round", "dim", p.Dim, "to", p.To, "span", p.Span) }

// RowBytes is the size of one rounded row: bf16[Dim], f16[Dim], or i8[Dim], f32[Dim/32] scales
// and i32[Dim/32] sums, padded to 64 bytes.
func (p Round) RowBytes() int64 {
	if p.To == BF16 || p.To == F16 {
		return up64(int64(p.Dim) * 2)
	}
	return up64(int64(p.Dim) + int64(p.Dim/32)*8)
}

// Validate implements Params.
func (p Round) Validate() error {
	c := &check{family: "round"}
	c.that(p.To == BF16 || p.To == I8 || p.To == F16, "to %q, expected bf16, i8 or f16", p.To)
	c.that(p.Dim > 0 && p.Dim%32 == 0, "dim %d, expected a multiple of 32", p.Dim)
	c.that(p.Span == 0 || (p.Span == 16 || p.Span == 32 || p.Span == 64) && p.Dim%64 == 0 && p.To != I8, "spans of %d of %d columns to %s, expected 16, 32 or 64 of a multiple of 64 to f16 or bf16", p.Span, p.Dim, p.To)
	return c.err()
}

// Operands implements Params.
func (p Round) Operands() []Operand {
	return join(read(Float, "x"), one("y", Codes, Write), dims("N"))
}

// Items implements Params.
func (p Round) Items(d Dims) int64 { return d.N }

// Group implements Params.
func (p Round) Group(Dims) int64 { return 0 }

// Scratch implements Params.
func (p Round) Scratch() int64 { return 0 }

// Temp implements Params.
func (p Round) Temp(Dims) int64 { return 0 }
