package work

import "fmt"

// MapOp is one step of a Map's postfix expression.
type MapOp string

// The steps. In and Vec push input Arg: a tensor f32[N, Dim], or a vector [Dim] that
// every row shares. Const pushes Value. Add, Sub, Mul and Div take two; the others one. Scale
// multiplies by Value; Softcap is Value * tanh(x / Value).
const (
	MapIn       MapOp = "in"
	MapVec      MapOp = "vec"
	MapConst    MapOp = "const"
	MapAdd      MapOp = "add"
	MapSub      MapOp = "sub"
	MapMul      MapOp = "mul"
	MapDiv      MapOp = "div"
	MapSiLU     MapOp = "silu"
	MapGELUTanh MapOp = "gelu_tanh"
	MapGELU     MapOp = "gelu"
	MapTanh     MapOp = "tanh"
	MapExp      MapOp = "exp"
	MapScale    MapOp = "scale"
	MapSoftcap  MapOp = "softcap"
)

// MapStep is an op with its operand.
type MapStep struct {
	Op    MapOp
	Arg   int     // In, Vec: the input's number, from 0
	Value float32 // Const, Scale, Softcap
}

func (s MapStep) String() string {
	switch s.Op {
	case MapIn, MapVec:
		return fmt.Sprintf("%s%d", s.Op, s.Arg)
	case MapConst, MapScale, MapSoftcap:
		return fmt.Sprintf("%s:%v", s.Op, s.Value)
	}
	return string(s.Op)
}

var mapArity = map[MapOp]int{
	MapIn: 0, MapVec: 0, MapConst: 0,
	MapAdd: 2, MapSub: 2, MapMul: 2, MapDiv: 2,
	MapSiLU: 1, MapGELUTanh: 1, MapGELU: 1, MapTanh: 1, MapExp: 1, MapScale: 1, MapSoftcap: 1,
}

// Arity is the number of values that the op takes; ok is false for no op of Map.
func (o MapOp) Arity() (n int, ok bool) { n, ok = mapArity[o]; return }

// Map is an elementwise expression over rows of Dim values.
//
// Operands: the inputs in the order of their numbers, as a0, a1, ...; y f32[N, Dim]
// (may be an input); N. An item is a row.
type Map struct {
	perRow
	Dim  int
	Expr []MapStep
}

// Family implements Params.
func (p Map) Family() string { return "map" }

// Key implements Params.
func (p Map) Key() string { return key("map", "dim", p.Dim, "expr", fmt.Sprint(p.Expr)) }

// inputs gives each input's op (MapIn or MapVec), by number.
func (p Map) inputs(c *check) []MapOp {
	var in []MapOp
	for _, s := range p.Expr {
		if s.Op != MapIn && s.Op != MapVec {
			continue
		}
		if s.Arg < 0 || s.Arg > 15 {
			c.that(false, "input %d, expected 0 to 15", s.Arg)
			continue
		}
		for len(in) <= s.Arg {
			in = append(in, "")
		}
		c.that(in[s.Arg] == "" || in[s.Arg] == s.Op, "input %d is both a tensor and a vector", s.Arg)
		in[s.Arg] = s.Op
	}
	for i, o := range in {
		c.that(o != "", "input %d is never read", i)
	}
	return in
}

// Validate implements Params.
func (p Map) Validate() error {
	c := &check{family: "map"}
	c.positive("dim", p.Dim)
	p.inputs(c)
	depth := 0
	for i, s := range p.Expr {
		n, ok := s.Op.Arity()
		c.that(ok, "step %d: op %q is not known", i, s.Op)
		c.that(depth >= n, "step %d: %s takes %d values, the stack holds %d", i, s.Op, n, depth)
		depth += 1 - n
	}
	c.that(depth == 1, "the expression leaves %d values, expected 1", depth)
	return c.err()
}

// Operands implements Params.
func (p Map) Operands() []Operand {
	var out []Operand
	for i, o := range p.inputs(&check{}) {
		k := Float
		if o == MapVec {
			k = Vector
		}
		out = append(out, Operand{fmt.Sprintf("a%d", i), k, Read})
	}
	return join(out, one("y", Float, Write), dims("N"))
}

// Items implements Params.
func (p Map) Items(d Dims) int64 { return d.N }
