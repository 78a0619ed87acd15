package work

// WholeHeads says that q and k are finished head by head, by the block that brings a head's
// last sums: norms of heads need all of them, and so do rotations by halves that are no whole
// number of tiles. Sums wait in the operand sums; items of v need not.
func (p GEMV) WholeHeads() bool {
	h := p.QKV
	return h != nil && (h.QNorm != nil || h.KNorm != nil || h.Style == Half && (h.RotaryDim != h.Dim || h.Dim%32 != 0))
}

// Operands implements Params: with WholeHeads sums (Temp) come first, behind counters f32[N,
// Heads + KVHeads, Dim]; with Join then jg [K], before and after f32[N, K]; with Round y is
// codes.
func (p GEMV) Operands() []Operand {
	var first []Operand
	if p.WholeHeads() {
		first = one("sums", Float, Temp)
	}
	if p.Join != nil {
		first = join(first, read(Vector, "jg"), read(Float, "before"), one("after", Float, Write))
	}
	out := join(first, p.Linear.Operands())
	if p.Round != nil {
		out[len(out)-2] = p.Round.result()[0] // before N
	}
	return out
}

// HeadSums is the number of sums of a row that wait.
func (p GEMV) HeadSums() int64 { return int64((p.QKV.Heads + p.QKV.KVHeads) * p.QKV.Dim) }

// Temp implements Params.
func (p GEMV) Temp(d Dims) int64 {
	if p.WholeHeads() {
		return CounterBytes + d.N*p.HeadSums()*4
	}
	return 0
}

// counters says what the kernels' counters can count.
func (c *check) counters(p GEMV) {
	if p.WholeHeads() {
		n := p.QKV.Heads + p.QKV.KVHeads
		c.that(n <= CounterBytes/4, "%d heads of q and k, expected at most %d", n, CounterBytes/4)
	}
}
