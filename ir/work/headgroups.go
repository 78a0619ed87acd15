package work

// HeadGroups is attention of a layer whose kv heads are of two caches: heads of Full see
// all of the first, or the pages of their lists; heads of Stream see the sink and the window
// of the second. q and o hold the heads of both in the order of the checkpoint.
//
// Operands: q f32[N, Heads, Dim], cache, (as of Attention: slot_new, pick), row_slot, slot_start,
// slot_len, pages, stream (the second cache), stream_pages, list i32[kv heads] (Const),
// part (Decode: Temp), o f32[N, Heads, Dim]; N, P and, for Decode, C.
//
// Items: those of Full, then those of Stream. In Decode a row's kv head of Stream is as many
// items as one of Full, since all groups of Last are alike: the first does all, the others
// nothing.
type HeadGroups struct {
	Full, Stream Attention // of the same phase, dim, scale, encoding and page
	List         []int     // the kv heads of Full, then of Stream, as numbered in q and o
}

// Family implements Params.
func (p HeadGroups) Family() string { return "groups" }

// Key implements Params.
func (p HeadGroups) Key() string {
	return key("groups", "full", p.Full.Key(), "stream", p.Stream.Key())
}

// KVHeads is the number of kv heads of both.
func (p HeadGroups) KVHeads() int { return p.Full.KVHeads + p.Stream.KVHeads }

// Heads is the number of query heads of both.
func (p HeadGroups) Heads() int { return p.Full.Heads + p.Stream.Heads }

// Validate implements Params.
func (p HeadGroups) Validate() error {
	c := &check{family: "groups"}
	for _, a := range []Attention{p.Full, p.Stream} {
		if err := a.Validate(); err != nil {
			return err
		}
	}
	f, s := p.Full, p.Stream
	c.that(f.Phase == s.Phase && f.Dim == s.Dim && f.Page == s.Page && f.CacheEnc == s.CacheEnc,
		"%s and %s, expected the same phase, dim, page and encoding", f.Key(), s.Key())
	c.that(f.Heads*s.KVHeads == s.Heads*f.KVHeads, "%d heads of %d kv heads beside %d of %d", f.Heads, f.KVHeads, s.Heads, s.KVHeads)
	c.that(f.Window == 0 && s.Window > 0 && s.Budget == 0 && s.Summary == 0, "windows of %d and %d, expected one in the second alone", f.Window, s.Window)
	c.that(len(p.List) == p.KVHeads(), "a list of %d kv heads, expected %d", len(p.List), p.KVHeads())
	c.list(p.List, p.KVHeads())
	return c.err()
}

// Operands implements Params.
func (p HeadGroups) Operands() []Operand {
	in := join(read(Float, "q"), read(Cache, "cache"), p.Full.pick(), rowmap(), read(Cache, "stream"), read(Int, "stream_pages"), read(Const, "list"))
	if p.Full.Phase == Decode {
		return join(in, one("part", Float, Temp), one("o", Float, Write), dims("N", "P", "C"))
	}
	return join(in, one("o", Float, Write), dims("N", "P"))
}

// Items implements Params.
func (p HeadGroups) Items(d Dims) int64 {
	if p.Full.Phase == Decode {
		return p.Full.Items(d) + d.N*int64(p.Stream.KVHeads)*p.Full.splits(d)
	}
	return p.Full.Items(d) + p.Stream.Items(d)
}

// Group implements Params.
func (p HeadGroups) Group(d Dims) int64 { return p.Full.Group(d) }

// Scratch implements Params.
func (p HeadGroups) Scratch() int64 { return max(p.Full.Scratch(), p.Stream.Scratch()) }

// Temp implements Params: the parts of Full, then one of each row and kv head of Stream.
func (p HeadGroups) Temp(d Dims) int64 {
	if p.Full.Phase == Decode {
		return p.Full.Temp(d) + d.N*int64(p.Stream.KVHeads)*p.Stream.PartFloats()*4
	}
	return 0
}

// Constant implements Constants.
func (p HeadGroups) Constant(string) []int32 { return int32s(p.List) }

// CheckConstant implements Constants.
func (p HeadGroups) CheckConstant(_ string, list []int32) error {
	return checkList(list, p.KVHeads(), p.KVHeads())
}

// Read implements Reader.
func (p HeadGroups) Read(before, rows int64) (bytes, flops int64) {
	bytes, flops = p.Full.Read(before, rows)
	b, f := p.Stream.Read(before, rows)
	return bytes + b, flops + f
}
