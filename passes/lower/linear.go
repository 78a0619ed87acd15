package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/work"
)

// matchLinear recognises [norm] matmul [bias] and one of the epilogues.
func matchLinear(b *body) (Found, error) {
	mat := b.first(ir.OpMatMul)
	if b.count(ir.OpMatMul) != 1 {
		return Found{}, fmt.Errorf("%d matmuls in one body", b.count(ir.OpMatMul))
	}
	w := mat.Args[1]
	if w.Op != ir.OpWeight {
		return Found{}, fmt.Errorf("its second argument is %s, expected a weight", w.Op)
	}
	l := &linear{b: b, mat: mat, k: Found{Values: map[string]*ir.Value{"w": w}}}
	l.p = work.Linear{Enc: enc(w), Cols: constant(w.Type.Shape[1]), Tokens: work.Many, Dot: dotOf(mat)}
	if FewRows(b.t, b.f, mat) && (l.p.Dot == work.F32 || l.rounds()) {
		l.p.Tokens = work.One
	}
	if err := l.prologue(); err != nil {
		return Found{}, err
	}
	sum := l.bias()
	if err := f32s(mat, mat.Args[0]); err != nil {
		return Found{}, err
	}
	l.p.Rows = rowsOf(b.m, w)
	if err := l.epilogue(sum); err != nil {
		return Found{}, err
	}
	l.k.Kernel = l.p
	if b.gpu() {
		l.k.Kernel = tensorCores(l.p, atMost(b.f, mat.Type.Shape[0]))
	}
	return l.k, l.more()
}

type linear struct {
	b   *body
	mat *ir.Value
	p   work.Linear
	k   Found
	// join is the norm of a branch that joins x, round how the result is rounded: nil without.
	join  *work.RMSNorm
	round *work.Round
}

func dotOf(mat *ir.Value) work.Dot {
	switch mat.Attrs.(ir.MatMulAttrs).Dot {
	case ir.DotBF16:
		return work.BF16
	case ir.DotI8:
		return work.I8
	case ir.DotF16:
		return work.F16
	}
	return work.F32
}

// rounds reports whether the body rounds x for the product, as a kernel for few rows does
// itself; else x is what another launch rounded.
func (l *linear) rounds() bool {
	x := l.b.under(l.mat.Args[0])
	return l.b.in[x] && x.Op == ir.OpRound && x.Attrs.(ir.RoundAttrs).To == l.mat.Attrs.(ir.MatMulAttrs).Dot
}

// rowsOf returns the row counts of a weight's segments.
func rowsOf(m *ir.Module, ref *ir.Value) []int {
	var rows []int
	for _, s := range m.Sources(m.Weight(ir.WeightName(ref))) {
		rows = append(rows, constant(s.Type.Shape[0]))
	}
	return rows
}

// prologue takes x, or a norm of x made inside.
func (l *linear) prologue() error {
	x := l.b.under(l.mat.Args[0])
	if l.p.Tokens == work.One && l.rounds() {
		x = l.b.under(x.Args[0]) // the kernel rounds the row itself
	}
	if l.b.in[x] && x.Op == ir.OpRMSNorm && l.p.Tokens == work.One {
		n := rms(x)
		l.p.Norm = &n
		l.k.Values["g"] = x.Args[1]
		x = l.b.under(x.Args[0])
	}
	if l.b.in[x] && x.Op == ir.OpAdd && l.p.Norm != nil {
		return l.branch(x)
	}
	x, err := l.b.outer(x)
	if err != nil {
		return err
	}
	l.k.Values["x"] = x
	return nil
}

// bias takes the add of a vector weight, if it follows, and returns the sum.
func (l *linear) bias() *ir.Value {
	add := l.b.reader(l.mat)
	if add == nil || add.Op != ir.OpAdd || add.Args[0] != l.mat {
		return l.mat
	}
	v := add.Args[1]
	if v.Op != ir.OpWeight || len(v.Type.Shape) != 1 {
		return l.mat
	}
	l.p.Bias = true
	l.k.Values["b"] = v
	return add
}

func (l *linear) epilogue(sum *ir.Value) error {
	b := l.b
	if b.has(ir.OpAppend) {
		l.p.Epilogue = work.QKV
		return l.qkv(sum)
	}
	if d, ok := b.dst(sum); ok {
		return l.store(d)
	}
	if len(b.part.Yield) == 3 && len(l.p.Rows) == 3 {
		l.p.Epilogue = work.QKV
		return l.apart(sum)
	}
	next := b.reader(sum)
	switch {
	case next == nil:
		return l.glu(sum)
	case next.Op == ir.OpRound:
		return l.end(sum)
	case next.Op == ir.OpAdd:
		return l.residual(sum, next)
	case next.Op == ir.OpSoftcap:
		l.p.Softcap = float32(next.Attrs.(ir.SoftcapAttrs).Cap)
		return l.end(next)
	case actOf(next) != work.NoAct:
		l.p.Act = actOf(next)
		return l.end(next)
	}
	return fmt.Errorf("no epilogue computes %s", next.Op)
}

// end requires v, perhaps rounded, to be all that is yielded, by a store.
func (l *linear) end(v *ir.Value) (err error) {
	if v, l.round, err = l.b.rounding(v); err != nil {
		return err
	}
	d, err := l.b.result(v)
	if err != nil {
		return err
	}
	return l.store(d)
}

func (l *linear) store(d *ir.Value) error {
	if len(l.b.part.Yield) != 1 {
		return fmt.Errorf("yields %d values, expected the sum only", len(l.b.part.Yield))
	}
	l.p.Epilogue = work.Store
	l.k.Values["y"] = d
	return nil
}

// residual takes add(res, sum) or add(sum, res).
func (l *linear) residual(sum, add *ir.Value) error {
	res := add.Args[0]
	if res == sum {
		res = add.Args[1]
	}
	r, err := l.b.outer(res)
	if err != nil {
		return err
	}
	if r.Type.Shape.Size() != add.Type.Shape.Size() {
		return fmt.Errorf("residual of type %s", r.Type)
	}
	d, err := l.b.result(add)
	if err != nil {
		return err
	}
	l.p.Epilogue = work.Add
	l.k.Values["res"], l.k.Values["y"] = r, d
	return nil
}

func actOf(v *ir.Value) work.Act {
	switch v.Op {
	case ir.OpSiLU:
		return work.SiLU
	case ir.OpGELU:
		if v.Attrs.(ir.GELUAttrs).Tanh {
			return work.GELUTanh
		}
		return work.GELU
	}
	return work.NoAct
}

// glu takes act(slice 0) * slice 1 of two equal segments.
func (l *linear) glu(sum *ir.Value) error {
	b := l.b
	mul := b.first(ir.OpMul)
	if mul == nil || b.count(ir.OpSlice) != 2 || len(l.p.Rows) != 2 || l.p.Rows[0] != l.p.Rows[1] {
		return fmt.Errorf("no epilogue computes these readers of the sum")
	}
	act, up := mul.Args[0], mul.Args[1]
	if actOf(act) == work.NoAct {
		act, up = up, act
	}
	if actOf(act) == work.NoAct || !sliceAt(act.Args[0], sum, 0, l.p.Rows[0]) || !sliceAt(up, sum, l.p.Rows[0], l.p.Rows[1]) {
		return fmt.Errorf("not act(gate) * up of segments %v", l.p.Rows)
	}
	y, round, err := b.rounding(mul)
	if err != nil {
		return err
	}
	d, err := b.result(y)
	if err != nil {
		return err
	}
	l.round = round
	l.p.Epilogue, l.p.Act = work.GLU, actOf(act)
	l.k.Values["y"] = d
	return nil
}

func sliceAt(v, of *ir.Value, first, count int) bool {
	return v.Op == ir.OpSlice && v.Args[0] == of && v.Attrs.(ir.SliceAttrs) == ir.SliceAttrs{First: first, Count: count}
}

// qkv takes three slices: q to its buffer, k and v into the cache, or heads of them into two,
// q and k perhaps normed and rotated.
func (l *linear) qkv(sum *ir.Value) error {
	b := l.b
	if n := b.count(ir.OpAppend); len(l.p.Rows) != 3 || n > 2 || len(b.part.Yield) != 1+n {
		return fmt.Errorf("%d segments and %d results, expected q, k, v and the rotated q and a cache or two", len(l.p.Rows), len(b.part.Yield))
	}
	h, k, v, err := l.caches()
	if err != nil {
		return err
	}
	var q, qd *ir.Value
	for i, y := range b.part.Yield {
		if y.Op != ir.OpAppend {
			q, qd = y, b.part.Dst[i]
		}
	}
	if q == nil {
		return fmt.Errorf("expected to yield q and the cache")
	}
	l.k.Values["q"] = qd
	return l.heads(h, q, k, v, sum)
}

// apart takes three slices, q and k perhaps normed and rotated, each to a buffer.
func (l *linear) apart(sum *ir.Value) error {
	var of [3]*ir.Value // what q, k and v become
	for i, y := range l.b.part.Yield {
		at, err := l.segment(y, sum)
		if err != nil {
			return err
		}
		if of[at] != nil {
			return fmt.Errorf("segment %d is yielded twice", at)
		}
		of[at] = y
		l.k.Values[[]string{"q", "k", "v"}[at]] = l.b.part.Dst[i]
	}
	dim := 0
	for _, y := range of[:2] { // as heads, for rotation or for what reads them
		if s := y.Type.Shape; len(s) == 3 {
			dim = constant(s[2])
		}
	}
	if dim == 0 || l.p.Rows[1]%dim != 0 {
		return fmt.Errorf("three segments of a sum, expected q or k as heads")
	}
	return l.heads(&work.Heads{Apart: true, KVHeads: l.p.Rows[1] / dim, Dim: dim}, of[0], of[1], of[2], sum)
}

// segment is which slice of the sum a value is made of.
func (l *linear) segment(v, sum *ir.Value) (int, error) {
	first := 0
	for v.Op != ir.OpSlice && l.b.in[v] && len(v.Args) > 0 {
		v = v.Args[0]
	}
	for i, n := range l.p.Rows {
		if sliceAt(v, sum, first, n) {
			return i, nil
		}
		first += n
	}
	return 0, fmt.Errorf("%s, expected to yield segments of the sum", v.Op)
}

// heads takes q and k, perhaps normed and rotated, and v.
func (l *linear) heads(h *work.Heads, q, k, v, sum *ir.Value) (err error) {
	b := l.b
	h.Heads = l.p.Rows[0] / h.Dim
	r := &rotation{}
	if h.QNorm, err = l.head(r, h.Dim, q, sum, 0, l.p.Rows[0], "qn"); err != nil {
		return fmt.Errorf("q: %w", err)
	}
	if h.KNorm, err = l.head(r, h.Dim, k, sum, l.p.Rows[0], l.p.Rows[1], "kn"); err != nil {
		return fmt.Errorf("k: %w", err)
	}
	if !sliceAt(b.under(v), sum, l.p.Rows[0]+l.p.Rows[1], l.p.Rows[2]) {
		return fmt.Errorf("v is not the third segment")
	}
	if r.heads == 1 {
		return fmt.Errorf("only one of q and k is rotated")
	}
	if r.table != nil {
		h.Style, h.RotaryDim = r.style, 2*constant(r.table.Type.Shape[1])
		l.k.Values["cs"] = r.table
	}
	l.p.QKV = h
	return nil
}

// caches are those that are appended to, one or two; k and v are what is appended, whole.
func (l *linear) caches() (h *work.Heads, k, v *ir.Value, err error) {
	b := l.b
	if b.count(ir.OpAppend) == 2 {
		return b.twoCaches(l.k.Values)
	}
	app := b.first(ir.OpAppend)
	cache, page, err := b.cacheOf(app)
	if err != nil {
		return nil, nil, nil, err
	}
	d, ok := b.dst(app)
	if !ok {
		return nil, nil, nil, fmt.Errorf("expected to yield q and the cache")
	}
	l.k.Values["cache"] = d
	return &work.Heads{KVHeads: cache.Heads, Dim: cache.Dim, Page: page, Summary: b.summary(cache), CacheEnc: cacheEnc(cache)}, app.Args[1], app.Args[2], nil
}

// twoCaches are those of two appends of heads of the same k and v, which vals gets as cache
// and stream.
func (b *body) twoCaches(vals map[string]*ir.Value) (h *work.Heads, k, v *ir.Value, err error) {
	names := []string{"cache", "stream"}
	for _, app := range b.appends() {
		cache, page, err := b.cacheOf(app)
		if err != nil {
			return nil, nil, nil, err
		}
		d, ok := b.dst(app)
		if !ok {
			return nil, nil, nil, fmt.Errorf("expected to yield the caches")
		}
		vals[names[0]], names = d, names[1:]
		kv, err := b.takenFrom(app)
		if err != nil {
			return nil, nil, nil, err
		}
		if h == nil {
			h = &work.Heads{Dim: cache.Dim, Page: page, Summary: b.summary(cache), CacheEnc: cacheEnc(cache)}
			k, v = kv.k, kv.v
		} else {
			h.Stream = cache.Heads
		}
		if kv.k != k || kv.v != v || cache.Dim != h.Dim || page != h.Page || cacheEnc(cache) != h.CacheEnc || h.Stream > 0 && b.summary(cache) > 0 {
			return nil, nil, nil, fmt.Errorf("caches @%s and another differ in more than their heads", cache.Name)
		}
		h.KVHeads += cache.Heads
		h.Place = append(h.Place, kv.heads...)
	}
	if h != nil {
		h.Place, err = inverse(h.Place)
	}
	return h, k, v, err
}

// appends are those of the body; one whose table drops tokens comes second.
func (b *body) appends() []*ir.Value {
	var whole, stream []*ir.Value
	for _, v := range b.part.Body {
		switch {
		case v.Op != ir.OpAppend:
		case b.m.Cache(v.Type.Cache) != nil && b.m.Table(b.m.Cache(v.Type.Cache).Table).Recent != nil:
			stream = append(stream, v)
		default:
			whole = append(whole, v)
		}
	}
	return append(whole, stream...)
}

// taken is what an append takes heads of.
type taken struct {
	k, v  *ir.Value
	heads []int
}

func (b *body) takenFrom(app *ir.Value) (taken, error) {
	k, v := b.under(app.Args[1]), b.under(app.Args[2])
	if !b.in[k] || !b.in[v] || k.Op != ir.OpHeads || v.Op != ir.OpHeads {
		return taken{}, fmt.Errorf("appends %s and %s, expected heads taken inside", k.Op, v.Op)
	}
	ka, va := k.Attrs.(ir.HeadsAttrs), v.Attrs.(ir.HeadsAttrs)
	if ka.Group != 1 || va.Group != 1 || !slices.Equal(ka.KV, va.KV) {
		return taken{}, fmt.Errorf("heads %v of keys and %v of values, expected the same", ka.KV, va.KV)
	}
	return taken{b.under(k.Args[0]), b.under(v.Args[0]), ka.KV}, nil
}

// inverse is the place of each number of a list that holds each once.
func inverse(list []int) ([]int, error) {
	out := make([]int, len(list))
	for i := range out {
		out[i] = -1
	}
	for i, h := range list {
		if h < 0 || h >= len(list) || out[h] >= 0 {
			return nil, fmt.Errorf("heads %v, expected each once", list)
		}
		out[h] = i
	}
	return out, nil
}

type rotation struct {
	table *ir.Value
	style work.Style
	heads int
}

// head follows [rope] [rmsnorm of heads of dim] down to a segment of the sum.
func (l *linear) head(r *rotation, dim int, v, sum *ir.Value, first, count int, gain string) (*work.RMSNorm, error) {
	b := l.b
	v = b.under(v)
	if b.in[v] && v.Op == ir.OpRope {
		style := styleOf(v)
		if r.table != nil && (r.table != v.Args[1] || r.style != style) {
			return nil, fmt.Errorf("q and k are rotated by different tables")
		}
		r.table, r.style = v.Args[1], style
		r.heads++
		v = b.under(v.Args[0])
	}
	var n *work.RMSNorm
	if b.in[v] && v.Op == ir.OpRMSNorm {
		if d := constant(v.Type.Last()); d != dim {
			return nil, fmt.Errorf("norms of %d values, expected of heads of %d", d, dim)
		}
		x := rms(v)
		n = &x
		l.k.Values[gain] = v.Args[1]
		v = b.under(v.Args[0])
	}
	if !sliceAt(v, sum, first, count) {
		return nil, fmt.Errorf("%s, expected segment %d..%d of the sum", v.Op, first, first+count-1)
	}
	return n, nil
}

func styleOf(v *ir.Value) work.Style {
	if v.Attrs.(ir.RopeAttrs).Style == ir.RopeAdjacent {
		return work.Adjacent
	}
	return work.Half
}
