package work

// Slice copies Count columns of rows from First on: y[n] = x[n, First : First+Count].
// Most slices need no kernel: they are read in place by fused bodies.
//
// Operands: x f32[N, Dim], y f32[N, Count]; N. An item is a row.
type Slice struct {
	perRow
	Dim, First, Count int
}

// Family implements Params.
func (p Slice) Family() string { return "slice" }

// Key implements Params.
func (p Slice) Key() string { return key("slice", "dim", p.Dim, "first", p.First, "count", p.Count) }

// Validate implements Params.
func (p Slice) Validate() error {
	c := &check{family: "slice"}
	c.positive("dim", p.Dim)
	c.positive("count", p.Count)
	c.that(p.First >= 0 && p.First+p.Count <= p.Dim, "columns %d to %d, expected columns of %d", p.First, p.First+p.Count-1, p.Dim)
	return c.err()
}

// Operands implements Params.
func (p Slice) Operands() []Operand {
	return join(read(Float, "x"), one("y", Float, Write), dims("N"))
}

// Items implements Params.
func (p Slice) Items(d Dims) int64 { return d.N }
