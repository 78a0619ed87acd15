package kernels

import (
	"slices"

	"quire/codegen/kernel"
	"quire/ir/work"
)

// attentionDecodeGPU streams one split of one row's cache for one kv head. A block's warps
// take 16 tokens of a tile of 64 each, straight from memory into the registers that the
// tensor core reads: nothing goes through shared memory, so that what is in flight is
// bounded by registers alone, and every key and value is read once for all queries of the
// group. 4 dim tokens bytes move.
//
//	scores^T  [16 tokens][8 queries] = keys [16][dim] * queries^T [dim][8]
//	out^T     [dim][8 queries] += values^T [dim][16] * weights^T [16][8]
//
// The order of dims in a product is free: a lane takes 16 bytes of a token, 8 neighbouring
// dims, for two products. Values are packed by pairs of tokens on the way.
//
// While a tile is multiplied the next one is on its way. The first is asked for before the
// launches before have ended, if they add no token to it. At the end the warps merge, then
// the items of the row's kv head: the last to arrive reads all partial results.
func attentionDecodeGPU(p work.DecodeGPU) kernel.Body {
	if p.Budget > 0 { // a launch before says which pages
		return kernel.Body{Main: func(k *kernel.Kernel) { newDecoderGPU(k, p).item() }}
	}
	var d decoderGPU
	var s spanGPU
	return kernel.Body{
		Early: func(k *kernel.Kernel) { d = newDecoderGPU(k, p); s = d.span(); s.early = d.early(s) },
		Main:  func(*kernel.Kernel) { d.attend(s) },
	}
}

const (
	decodeWarps = work.TileGPU / 16
	// What a masked token's score is below, and the maximum of nothing.
	noMax = -1e30
)

func newDecoderGPU(k *kernel.Kernel, p work.DecodeGPU) decoderGPU {
	d := decoderGPU{attnGPU: newAttnGPU(k, p.Attention), p: p}
	d.group = p.Heads / p.Lists()
	return d
}

type decoderGPU struct {
	attnGPU
	p     work.DecodeGPU
	after *afterGPU // nil: the launch is of these heads alone, or they come first
}

// splits is the number of items of a group, as the grid has them.
func (d decoderGPU) splits() kernel.I64 {
	k, most := d.k, int64(work.MaxSplits)
	if d.after != nil {
		most = min(most, d.after.most)
	}
	// Indices of items fit 32 bits, whose division is short.
	n := k.Int32(int32(d.p.Blocks)).Over(k.Dim("N").I32().Times(int32(d.p.Groups()))).I64()
	return n.Min(k.Int(most)).Max(k.Int(1))
}

// strip is a run of dims that a quad (keys) or eight rows of lanes (values) load at once:
// each lane words of two dims from dim at on, which of codes are shorter words.
type strip struct{ at, words int }

// strips cuts the dims for lanes that are so many side by side.
func (d decoderGPU) strips(lanes int) []strip {
	bits := 16
	if d.bits > 0 {
		bits = d.bits
	}
	var out []strip
	for at := 0; at < d.pad; {
		w := 64 / bits // 16 bytes
		for at+2*w*lanes > d.pad {
			w /= 2
		}
		out = append(out, strip{at, w})
		at += 2 * w * lanes
	}
	return out
}

// span is what an item works on.
type spanGPU struct {
	group, split, splits kernel.I64 // split of splits of a row's share of a kv head
	h, slot, i           kernel.I64 // kv head, slot, the row's index in its cache
	query, live          kernel.I64 // first query of all rows' heads, and how many
	tiles                tiles      // what the row sees
	used                 kernel.I64 // splits that have tokens
	first, end           kernel.I64 // tiles of this one
	early                *earlyTile // nil: the first is loaded when it is needed
}

func (d decoderGPU) item() { d.attend(d.span()) }

// span is what the item works on.
func (d decoderGPU) span() spanGPU {
	k, p := d.k, d.p
	splits, nth := d.splits(), k.Item()
	if d.after != nil {
		nth = nth.Sub(d.after.items)
	}
	group := nth.I32().Over(splits.I32()).I64()
	split := nth.Sub(group.Mul(splits))
	row, of := group.Over(p.Groups()), group.Modulo(p.Groups())
	list, share := of.Over(int64(p.Shares())), of.Modulo(int64(p.Shares()))
	s := spanGPU{h: list.Over(int64(p.Lists() / p.KVHeads)), splits: splits, group: group, split: split}
	s.slot, s.i = cacheIndex(k, row)
	s.tiles = d.tiles(s.i, s.i)
	if p.Budget > 0 {
		s.tiles = d.picked(pickList(k, p.Attention, row, s.slot, s.i, list), s.i)
	}
	least := int64(p.Split / work.TileGPU)
	s.used = splits.Min(s.tiles.count.Plus(least - 1).Over(least))
	skip := share.Times(int64(p.Queries()))
	s.query = d.first(row, list).Add(skip)
	s.live = k.Int(int64(d.group)).Sub(skip).Min(k.Int(int64(p.Queries())))
	at := func(split kernel.I64) kernel.I64 {
		return split.Mul(s.tiles.count).I32().Over(s.used.I32()).I64()
	}
	s.first, s.end = at(split), at(split.Plus(1))
	return s
}

// attend finishes the item, if its split has tokens.
func (d decoderGPU) attend(s spanGPU) {
	kernel.When(d.k, s.split.Lt(s.used), func() { d.finish(s, d.stream(s)) })
}

// earlyTile is a warp's part of a tile that was loaded early, if it is there.
type earlyTile struct {
	there kernel.Bool
	words []kernel.I32
}

// early loads the first tile of a span, keys and values, unless a token of this step is in it.
// Codes come with scales of their own, and long heads leave no registers: nil.
func (d decoderGPU) early(s spanGPU) *earlyTile {
	if !d.ahead() || d.bits > 0 {
		return nil
	}
	k := d.k
	cached := kernel.LoadI32(kernel.Arg[kernel.I32](k, "slot_len").At(s.slot)).I64()
	t := earlyTile{there: s.split.Lt(s.used).And(s.tiles.token(s.first).Plus(work.TileGPU).Le(cached))}
	n := 0
	for _, st := range d.strips(4) {
		n += 2 * st.words
	}
	for _, st := range d.strips(8) {
		n += 4 * st.words
	}
	t.words = kernel.If(k, t.there, slices.Repeat([]kernel.I32{k.Int32(0)}, n), func() []kernel.I32 { return d.tile(s) }, nil)
	return &t
}

// tile loads a warp's part of the first tile of a span: keys, then values.
func (d decoderGPU) tile(s spanGPU) []kernel.I32 {
	at, last := d.place(s, d.page(s, s.first), s.first)
	return append(d.loadKeys(at, last), d.loadValues(at, last)...)
}

// first is the first query of a row's list among all rows' heads.
func (d decoderGPU) first(row, list kernel.I64) kernel.I64 {
	if d.among == nil {
		return row.Times(int64(d.p.Lists())).Add(list).Times(int64(d.group))
	}
	each := int64(d.p.Lists() / d.p.KVHeads)
	kv := listed(d.k, list.Over(each).Plus(int64(d.among.first)))
	return row.Times(int64(d.among.heads)).Add(kv.Times(each).Add(list.Modulo(each)).Times(int64(d.group)))
}

// queries loads a lane's part of all products' B: queries * logScale, zero beyond live.
func (d decoderGPU) queries(s spanGPU) [][2]kernel.I32 {
	k, l := d.k, d.g.Lane()
	n, quad := l.Shr(2), l.And(k.Int(3))
	q := kernel.Arg[kernel.F32](k, "q").At(s.query.Add(n.Min(s.live.Plus(-1))).Times(int64(d.attnGPU.p.Dim)))
	live := n.Lt(s.live)
	scale := k.Float(d.logScale())
	var out [][2]kernel.I32
	for _, st := range d.strips(4) {
		at := quad.Times(int64(2 * st.words)).Plus(int64(st.at))
		x := d.elements(q, at, 2*st.words, live, scale)
		var w []kernel.I32
		order := d.keyOrder()
		units := d.keyUnits()
		for first := 0; first < len(x); first += len(order) {
			for j := 0; j < len(order); j += 2 {
				unit := k.Float(units[j/2%2])
				w = append(w, d.g.Pack(d.half, x[first+order[j]].Mul(unit), x[first+order[j+1]].Mul(unit)))
			}
		}
		for j := 0; j < st.words; j += 2 {
			out = append(out, [2]kernel.I32{w[j], w[j+1]})
		}
	}
	return out
}

// elements are n neighbouring numbers of a query, scaled: zero if it is not live or where
// they lie in the padding.
func (d decoderGPU) elements(q kernel.Ptr[kernel.F32], at kernel.I64, n int, live kernel.Bool, scale kernel.F32) []kernel.F32 {
	k, dim := d.k, d.attnGPU.p.Dim
	var x []kernel.F32
	if dim == d.pad { // whole vectors of 4
		for j := 0; j < n; j += 4 {
			x = append(x, kernel.LoadFloats(q.At(at).Plus(int64(j)), 4)...)
		}
	} else {
		for j := range n {
			x = append(x, inRow(k, q, at.Plus(int64(j)), dim, d.pad))
		}
	}
	for j := range x {
		x[j] = kernel.Select(live, x[j].Mul(scale), k.Float(0))
	}
	return x
}

// place is where tile t's entries of the head lie, and the last token of it that is there.
func (d decoderGPU) place(s spanGPU, page, t kernel.I64) (kernel.Ptr[kernel.U8], kernel.I32) {
	token := s.tiles.token(t)
	at := d.head(page, s.h).At(token.Modulo(int64(d.attnGPU.p.Page)).Times(d.row()))
	return at, s.i.Sub(token).I32()
}

func (d decoderGPU) page(s spanGPU, t kernel.I64) kernel.I64 {
	return d.physical(s.slot, s.tiles.token(t.Min(s.end.Plus(-1))).Over(int64(d.attnGPU.p.Page)))
}

// load loads a warp's 16 entries of one half of a tile, for lanes that take the tokens
// given and are so many side by side. A token after the row's own is replaced by that: its
// weight is zero, but what lies there may be anything.
func (d decoderGPU) load(at kernel.Ptr[kernel.U8], last kernel.I32, lanes int, tokens []kernel.I32, lane kernel.I64) []kernel.I32 {
	var out []kernel.I32
	for _, t := range tokens {
		entry := at.At(kernel.Select(last.Lt(t), last, t).I64().Times(d.row()))
		for _, st := range d.strips(lanes) {
			out = append(out, kernel.LoadWords(entry.At(lane.Times(int64(4*st.words))).Plus(int64(2*st.at)), st.words)...)
		}
	}
	return out
}

// lane and warp are read anew for long heads, which leave no register to what follows from
// them.
func (d decoderGPU) lane() kernel.I64 {
	if d.ahead() {
		return d.g.Lane()
	}
	return d.g.ThreadAgain().And(d.k.Int(31))
}

func (d decoderGPU) warp() kernel.I64 {
	if d.ahead() {
		return d.g.Warp()
	}
	return d.g.ThreadAgain().Shr(5)
}

// ahead says whether registers hold a tile while another is multiplied.
func (d decoderGPU) ahead() bool { return d.pad <= 128 }

func (d decoderGPU) loadKeys(at kernel.Ptr[kernel.U8], last kernel.I32) []kernel.I32 {
	k, l, w := d.k, d.lane(), d.warp()
	t := w.Times(16).Add(l.Shr(2)).I32()
	return d.load(at, last, 4, []kernel.I32{t, t.Add(k.Int32(8))}, l.And(k.Int(3)))
}

func (d decoderGPU) loadValues(at kernel.Ptr[kernel.U8], last kernel.I32) []kernel.I32 {
	k, l, w := d.k, d.lane(), d.warp()
	t := w.Times(16).Add(l.And(k.Int(3)).Times(2)).I32()
	return d.load(at.Plus(d.valuesAfter()), last, 8, []kernel.I32{t, t.Add(k.Int32(1)), t.Add(k.Int32(8)), t.Add(k.Int32(9))}, l.Shr(2))
}

// softmax is a lane's running maxima and its part of the sums, for queries 2(lane mod 4)
// and the next.
type softmaxGPU struct{ max, sum [2]kernel.F32 }

// result is what a warp makes of its tokens: for the j-th pair of dims of a strip, the
// piece of out^T of a lane.
type resultGPU struct {
	softmaxGPU
	zero []kernel.F32 // of codes: a lane's part of what zeros add to all dims of the two queries
	out  [][4]kernel.F32
}

func (r resultGPU) values() []kernel.Value {
	v := append(append(values(r.max[:]...), values(r.sum[:]...)...), values(r.zero...)...)
	for _, o := range r.out {
		v = append(v, values(o[:]...)...)
	}
	return v
}

func (d decoderGPU) unwrap(v *[]kernel.Value) resultGPU {
	var r resultGPU
	copy(r.max[:], unwrap[kernel.F32](v, 2))
	copy(r.sum[:], unwrap[kernel.F32](v, 2))
	if d.bits > 0 {
		r.zero = unwrap[kernel.F32](v, 2)
	}
	for range d.pad / 16 {
		r.out = append(r.out, [4]kernel.F32(unwrap[kernel.F32](v, 4)))
	}
	return r
}

// stream takes tiles first to end-1. Up to 128 dims the next tile's keys and values are
// under way while one is multiplied; longer heads would not leave registers for it.
func (d decoderGPU) stream(s spanGPU) resultGPU {
	if d.bits > 0 {
		return d.streamCodes(s)
	}
	k := d.k
	r := d.nothing()
	ahead := d.ahead()
	words := 0
	var init []kernel.Value
	if ahead {
		tile := d.firstTile(s)
		words = len(tile) / 2
		init = values(tile...)
	}
	init = append(append(init, values(d.page(s, kernel.Select(k.Bool(ahead), s.first.Plus(1), s.first)))...), r.values()...)
	queries := d.queries(s)
	v := kernel.For(k, s.first, s.end, 1, init, func(t kernel.I64, c []kernel.Value) []kernel.Value {
		keys, vals := unwrap[kernel.I32](&c, words), unwrap[kernel.I32](&c, words)
		page := unwrap[kernel.I64](&c, 1)[0]
		r := d.unwrap(&c)
		next := d.page(s, t.Plus(1))
		token := s.tiles.token(t).I32()
		if !ahead {
			at, last := d.place(s, page, t)
			w := d.weights(s, token, d.scores(d.loadKeys(at, last), queries), &r)
			d.accumulate(d.loadValues(at, last), w, &r)
			return append(values(next), r.values()...)
		}
		after := d.page(s, t.Plus(2))
		more := t.Plus(1).Lt(s.end)
		at, last := d.place(s, page, t.Plus(1))
		score := d.scores(keys, queries)
		keys = kernel.If(k, more, keys, func() []kernel.I32 { return d.loadKeys(at, last) }, nil)
		w := d.weights(s, token, score, &r)
		d.accumulate(vals, w, &r)
		vals = kernel.If(k, more, vals, func() []kernel.I32 { return d.loadValues(at, last) }, nil)
		return append(append(append(values(keys...), values(vals...)...), values(after)...), r.values()...)
	})
	v = v[len(v)-len(r.values()):]
	return d.unwrap(&v)
}

// firstTile is tile, as it was loaded early or now.
func (d decoderGPU) firstTile(s spanGPU) []kernel.I32 {
	if s.early == nil {
		return d.tile(s)
	}
	return kernel.If(d.k, s.early.there, s.early.words, func() []kernel.I32 { return s.early.words }, func() []kernel.I32 { return d.tile(s) })
}

// scores is the product of 16 keys and the queries, in two chains.
func (d decoderGPU) scores(keys []kernel.I32, queries [][2]kernel.I32) [4]kernel.F32 {
	zero := d.k.Float(0)
	sum := [2][4]kernel.F32{{zero, zero, zero, zero}, {zero, zero, zero, zero}}
	far, step := len(keys)/2, 0
	for i, at := 0, 0; i < len(queries); i, at = i+1, at+2 {
		sum[step] = d.g.Mma(d.half, [4]kernel.I32{keys[at], keys[far+at], keys[at+1], keys[far+at+1]}, queries[i], sum[step])
		step = 1 - step
	}
	for j := range sum[0] {
		sum[0][j] = sum[0][j].Add(sum[1][j])
	}
	return sum[0]
}

// weights turns scores into B of the second product, and moves r to the new maxima.
func (d decoderGPU) weights(s spanGPU, token kernel.I32, x [4]kernel.F32, r *resultGPU) [2]kernel.I32 {
	return d.packed(d.softmax(s, token, x, r))
}

// packed is B of the second product, of two tokens' weights of two queries.
func (d decoderGPU) packed(x [4]kernel.F32) [2]kernel.I32 {
	g := d.g
	return [2]kernel.I32{g.Transpose(g.Pack(d.half, x[0], x[1])), g.Transpose(g.Pack(d.half, x[2], x[3]))}
}

// softmax turns scores into weights, and moves r to the new maxima.
func (d decoderGPU) softmax(s spanGPU, token kernel.I32, x [4]kernel.F32, r *resultGPU) [4]kernel.F32 {
	g := d.g
	first := token.Add(g.Warp().Times(16).Add(g.Lane().Shr(2)).I32())
	for half := range 2 {
		sees := d.sees(first.Add(d.k.Int32(int32(8*half))), s.i.I32(), s.i.I32())
		for q := range 2 {
			x[2*half+q] = kernel.Select(sees, d.base(x[2*half+q]), negInf(d.k))
		}
	}
	var alpha [2]kernel.F32
	for q := range 2 {
		top := g.MaxF(x[q], x[2+q])
		for lanes := int64(4); lanes <= 16; lanes *= 2 {
			top = g.MaxF(top, g.Xor(top, lanes))
		}
		top = g.MaxF(top, r.max[q])
		alpha[q] = g.Exp2F(r.max[q].Sub(top))
		r.max[q] = top
		for half := range 2 {
			x[2*half+q] = g.Exp2F(x[2*half+q].Sub(top))
		}
		r.sum[q] = r.sum[q].FMA(alpha[q], x[q].Add(x[2+q]))
		if d.bits > 0 {
			r.zero[q] = r.zero[q].Mul(alpha[q])
		}
	}
	for j := range r.out {
		for e := range 4 {
			r.out[j][e] = r.out[j][e].Mul(alpha[e%2])
		}
	}
	return x
}

// accumulate adds weights times 16 values.
func (d decoderGPU) accumulate(vals []kernel.I32, w [2]kernel.I32, r *resultGPU) {
	each, j := len(vals)/4, 0 // words of a token
	for _, st := range d.strips(8) {
		for range st.words {
			a, b, c, e := vals[j], vals[each+j], vals[2*each+j], vals[3*each+j]
			r.out[j] = d.g.Mma(d.half, [4]kernel.I32{d.g.Evens(a, b), d.g.Odds(a, b), d.g.Evens(c, e), d.g.Odds(c, e)}, w, r.out[j])
			j++
		}
	}
}
