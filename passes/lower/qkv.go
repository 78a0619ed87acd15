package lower

import (
	"fmt"
	"slices"

	"quire/ir"
	"quire/ir/work"
)

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
