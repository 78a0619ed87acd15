package work

import "fmt"

// Constants is a kernel some of whose operands are lists that come with each launch:
// data, not code, so they are no part of the Key.
type Constants interface {
	Params
	// Constant is the list of an operand of kind Const.
	Constant(name string) []int32
	// CheckConstant says why a list cannot be that of a launch.
	CheckConstant(name string, list []int32) error
}

// TakeHeads copies heads of rows: y[n, j] = x[n, list[j]].
//
// Operands: x f32[N, Total, Dim], list i32[len(List)] (Const), y f32[N, len(List), Dim];
// N. An item is a row.
type TakeHeads struct {
	perRow
	Total, Dim int
	List       []int
}

// Family implements Params.
func (p TakeHeads) Family() string { return "heads" }

// Key implements Params.
func (p TakeHeads) Key() string {
	return key("heads", "total", p.Total, "dim", p.Dim, "count", len(p.List))
}

// Validate implements Params.
func (p TakeHeads) Validate() error {
	c := &check{family: "heads"}
	c.positive("total", p.Total)
	c.positive("dim", p.Dim)
	c.positive("heads", len(p.List))
	c.list(p.List, p.Total)
	return c.err()
}

// Operands implements Params.
func (p TakeHeads) Operands() []Operand {
	return join(read(Float, "x"), read(Const, "list"), one("y", Float, Write), dims("N"))
}

// Items implements Params.
func (p TakeHeads) Items(d Dims) int64 { return d.N }

// Constant implements Constants.
func (p TakeHeads) Constant(string) []int32 { return int32s(p.List) }

// CheckConstant implements Constants.
func (p TakeHeads) CheckConstant(_ string, list []int32) error {
	return checkList(list, len(p.List), p.Total)
}

// MergeHeads puts heads of two tensors in one: y[n, h] = a[n, List[h]], or, from
// List[h] = A on, b[n, List[h] - A].
//
// Operands: a f32[N, A, Dim], b f32[N, B, Dim], list i32[A+B] (Const), y f32[N, A+B, Dim];
// N. An item is a row.
type MergeHeads struct {
	perRow
	A, B, Dim int
	List      []int
}

// Family implements Params.
func (p MergeHeads) Family() string { return "merge" }

// Key implements Params.
func (p MergeHeads) Key() string { return key("merge", "a", p.A, "b", p.B, "dim", p.Dim) }

// Validate implements Params.
func (p MergeHeads) Validate() error {
	c := &check{family: "merge"}
	c.positive("a", p.A)
	c.positive("b", p.B)
	c.positive("dim", p.Dim)
	c.that(len(p.List) == p.A+p.B, "a list of %d heads, expected %d", len(p.List), p.A+p.B)
	c.list(p.List, p.A+p.B)
	return c.err()
}

// Operands implements Params.
func (p MergeHeads) Operands() []Operand {
	return join(read(Float, "a", "b"), read(Const, "list"), one("y", Float, Write), dims("N"))
}

// Items implements Params.
func (p MergeHeads) Items(d Dims) int64 { return d.N }

// Constant implements Constants.
func (p MergeHeads) Constant(string) []int32 { return int32s(p.List) }

// CheckConstant implements Constants.
func (p MergeHeads) CheckConstant(_ string, list []int32) error {
	return checkList(list, p.A+p.B, p.A+p.B)
}

func (c *check) list(list []int, total int) {
	for _, h := range list {
		c.that(h >= 0 && h < total, "head %d of %d", h, total)
	}
}

func checkList(list []int32, n, total int) error {
	if len(list) != n {
		return fmt.Errorf("a list of %d heads, expected %d", len(list), n)
	}
	for _, h := range list {
		if h < 0 || int(h) >= total {
			return fmt.Errorf("head %d of %d", h, total)
		}
	}
	return nil
}

func int32s(list []int) []int32 {
	out := make([]int32, len(list))
	for i, h := range list {
		out[i] = int32(h)
	}
	return out
}
