package simt

import (
	"strings"

	"github.com/llir/llvm/ir"
	"github.com/llir/llvm/ir/enum"
	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/codegen/kernel"
)

func (c *compiler) add(o op) {
	o.line = c.line
	c.b.ops = append(c.b.ops, o)
}

// scalarOf is the type of a value's elements, which are alike.
func (c *compiler) scalarOf(v value.Value) scalar {
	parts, err := flatten(v.Type())
	if err != nil || len(parts) == 0 {
		c.fail("%s: %v", v, err)
		return scalar{integer, 64, 0}
	}
	return parts[0]
}

// lanewise applies an operation to each element of its operands.
func (c *compiler) lanewise(v value.Value, table map[string]pureFn, name string, args ...value.Value) {
	from, to := c.scalarOf(args[0]), c.scalarOf(v)
	f := table[name]
	if isF32(from) && isF32(to) {
		if g, ok := table["f32."+name]; ok {
			f = g
		}
	}
	if f == nil {
		c.fail("operation %s", name)
		return
	}
	c.elements(v, op{pure: f, from: from, to: to, imm: to.mask()}, args...)
}

func (c *compiler) elements(v value.Value, o op, args ...value.Value) {
	d := c.result(v)
	var in [3][]int32
	for i, a := range args {
		if in[i] = c.value(a); len(in[i]) != len(d) {
			if len(in[i]) == 1 && i == 0 { // a scalar condition of a vector select
				for len(in[i]) < len(d) {
					in[i] = append(in[i], in[i][0])
				}
				continue
			}
			c.fail("operand %s: %d elements, expected %d", a, len(in[i]), len(d))
			return
		}
	}
	for i := range d {
		e := o
		e.d, e.a, e.b, e.c = d[i], in[0][i], in[0][i], in[0][i]
		if len(args) > 1 {
			e.b = in[1][i]
		}
		if len(args) > 2 {
			e.c = in[2][i]
		}
		c.add(e)
	}
}

func (c *compiler) binary(v value.Value, table map[string]pureFn, x, y value.Value) {
	name := strings.ToLower(strings.TrimPrefix(typeName(v), "Inst"))
	if strings.HasSuffix(name, "div") || strings.HasSuffix(name, "rem") {
		if table["udiv"] != nil {
			c.add(op{effect: checkDivisor, a: c.value(y)[0], more: c.value(y)})
		}
	}
	c.lanewise(v, table, name, x, y)
}

func (c *compiler) instruction(inst ir.Instruction) {
	switch i := inst.(type) {
	case *ir.InstPhi:
	case *ir.InstAdd:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstSub:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstMul:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstUDiv:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstSDiv:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstURem:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstSRem:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstAnd:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstOr:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstXor:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstShl:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstLShr:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstAShr:
		c.binary(i, ints, i.X, i.Y)
	case *ir.InstFAdd:
		c.binary(i, floats, i.X, i.Y)
	case *ir.InstFSub:
		c.binary(i, floats, i.X, i.Y)
	case *ir.InstFMul:
		c.binary(i, floats, i.X, i.Y)
	case *ir.InstFDiv:
		c.binary(i, floats, i.X, i.Y)
	case *ir.InstFRem:
		c.binary(i, floats, i.X, i.Y)
	case *ir.InstFNeg:
		c.lanewise(i, floats, "fneg", i.X)
	case *ir.InstICmp:
		c.compare(i, compareInts(intPreds[i.Pred.String()]), i.X, i.Y)
	case *ir.InstFCmp:
		c.compare(i, compareFloats(floatPreds[i.Pred.String()]), i.X, i.Y)
	case *ir.InstSelect:
		c.elements(i, op{pure: selectOp}, i.Cond, i.ValueTrue, i.ValueFalse)
	case *ir.InstFreeze:
		c.regs[i] = c.value(i.X)
	case *ir.InstTrunc:
		c.lanewise(i, casts, "trunc", i.From)
	case *ir.InstZExt:
		c.lanewise(i, casts, "zext", i.From)
	case *ir.InstSExt:
		c.lanewise(i, casts, "sext", i.From)
	case *ir.InstFPToSI:
		c.lanewise(i, casts, "fptosi", i.From)
	case *ir.InstFPToUI:
		c.lanewise(i, casts, "fptoui", i.From)
	case *ir.InstSIToFP:
		c.lanewise(i, casts, "sitofp", i.From)
	case *ir.InstUIToFP:
		c.lanewise(i, casts, "uitofp", i.From)
	case *ir.InstFPTrunc:
		c.lanewise(i, floats, "fptrunc", i.From)
	case *ir.InstFPExt:
		c.lanewise(i, floats, "fpext", i.From)
	case *ir.InstBitCast:
		c.bitcast(i, i.From)
	case *ir.InstPtrToInt:
		c.lanewise(i, casts, "trunc", i.From)
	case *ir.InstIntToPtr:
		c.regs[i] = c.value(i.From)
	case *ir.InstAddrSpaceCast:
		c.spaceCast(i, i.From)
	default:
		c.memoryOrAggregate(inst)
	}
}

func (c *compiler) compare(v value.Value, f pureFn, x, y value.Value) {
	c.elements(v, op{pure: f, from: c.scalarOf(x)}, x, y)
}

func (c *compiler) memoryOrAggregate(inst ir.Instruction) {
	switch i := inst.(type) {
	case *ir.InstGetElementPtr:
		c.address(i)
	case *ir.InstLoad:
		a := c.access(i, i.ElemType, i.Src, int(i.Align))
		a.atomic, a.order = i.Atomic, order(i.Ordering)
		c.add(op{effect: loadOp, d: c.first(c.result(i)), a: c.one(i.Src), more: a})
	case *ir.InstStore:
		a := c.access(nil, i.Src.Type(), i.Dst, int(i.Align))
		a.atomic, a.order, a.regs = i.Atomic, order(i.Ordering), c.value(i.Src)
		c.add(op{effect: storeOp, a: c.one(i.Dst), more: a})
	case *ir.InstAtomicRMW:
		c.atomic(i)
	case *ir.InstCmpXchg:
		c.compareExchange(i)
	case *ir.InstFence:
		c.add(op{effect: fenceOp})
	case *ir.InstCall:
		c.call(i)
	case *ir.InstExtractElement:
		c.extractElement(i)
	case *ir.InstInsertElement:
		c.insertElement(i)
	case *ir.InstShuffleVector:
		c.shuffle(i)
	case *ir.InstExtractValue:
		at, n := c.field(i.X.Type(), i.Indices)
		c.regs[i] = c.value(i.X)[at : at+n]
	case *ir.InstInsertValue:
		at, n := c.field(i.X.Type(), i.Indices)
		regs := append([]int32(nil), c.value(i.X)...)
		copy(regs[at:at+n], c.value(i.Elem))
		c.regs[i] = regs
	default:
		c.fail("instruction %s", typeName(inst))
	}
}

func (c *compiler) first(regs []int32) int32 {
	if len(regs) == 0 {
		return 0
	}
	return regs[0]
}

// field is the position of a struct's or array's field among its scalars.
func (c *compiler) field(t types.Type, indices []uint64) (at, n int) {
	for _, x := range indices {
		var fields []types.Type
		switch t := t.(type) {
		case *types.StructType:
			fields = t.Fields
		case *types.ArrayType:
			for range t.Len {
				fields = append(fields, t.ElemType)
			}
		}
		for i, f := range fields {
			parts, _ := flatten(f)
			if n = len(parts); uint64(i) == x {
				t = f
				break
			}
			at += n
		}
	}
	return at, n
}

// bitcast renames where the scalars keep their size, else repacks them.
func (c *compiler) bitcast(v, from value.Value) {
	in, a, b := c.value(from), c.scalarOf(from), c.scalarOf(v)
	switch {
	case a.bits == b.bits:
		c.regs[v] = in
	case a.bits > b.bits:
		d := c.result(v)
		n := int(a.bits / b.bits)
		for i := range d {
			c.add(op{pure: slicePart, d: d[i], a: in[i/n], b: in[i/n], c: in[i/n], pred: uint8(i%n) * b.bits, imm: b.mask()})
		}
	default:
		d := c.result(v)
		n := int(b.bits / a.bits)
		for i := range d {
			last := in[n*i]
			for j := 1; j < n; j++ {
				to := d[i]
				if j < n-1 {
					to = c.fresh(1)[0]
				}
				c.add(op{pure: joinPart, d: to, a: last, b: in[n*i+j], c: last, pred: uint8(j) * a.bits})
				last = to
			}
		}
	}
}

func (c *compiler) spaceCast(v, from value.Value) {
	a, b := c.scalarOf(from), c.scalarOf(v)
	in := c.one(from)
	shared := uint8(kernel.Shared)
	offset := uint64(0)
	switch {
	case a.space == shared && b.space != shared:
		offset = sharedTag
	case a.space != shared && b.space == shared:
		offset = ^uint64(sharedTag) + 1
	default:
		c.regs[v] = []int32{in}
		return
	}
	d := c.result(v)
	c.add(op{pure: ints["add"], d: d[0], a: in, b: c.constant(offset), c: in, imm: scalar{pointer, 64, 0}.mask()})
}

// address is a getelementptr of elements of one size; indices into structs are refused.
func (c *compiler) address(i *ir.InstGetElementPtr) {
	at, t := c.one(i.Src), i.ElemType
	for n, index := range i.Indices {
		if n > 0 {
			switch x := t.(type) {
			case *types.ArrayType:
				t = x.ElemType
			case *types.VectorType:
				t = x.ElemType
			default:
				c.fail("getelementptr into %s", t)
				return
			}
		}
		size := 0
		parts, err := flatten(t)
		if err != nil {
			c.fail("%v", err)
			return
		}
		for _, p := range parts {
			size += p.size()
		}
		to := c.fresh(1)[0]
		c.add(op{pure: addressOp, d: to, a: at, b: c.one(index), c: at, from: c.scalarOf(index), imm: uint64(size)})
		at = to
	}
	c.regs[i] = []int32{at}
}

func index(v value.Value) (uint64, bool) {
	if _, ok := v.(value.Named); ok {
		return 0, false
	}
	w, err := constantBits(v)
	if err != nil || len(w) != 1 {
		return 0, false
	}
	return w[0], true
}

func (c *compiler) extractElement(i *ir.InstExtractElement) {
	in := c.value(i.X)
	if n, ok := index(i.Index); ok && n < uint64(len(in)) {
		c.regs[i] = in[n : n+1]
		return
	}
	d, at := c.result(i), c.one(i.Index)
	c.add(op{effect: pickOp, d: d[0], a: at, more: in})
}

func (c *compiler) insertElement(i *ir.InstInsertElement) {
	n, ok := index(i.Index)
	in := append([]int32(nil), c.value(i.X)...)
	if !ok || n >= uint64(len(in)) {
		c.fail("insertelement at a position that is no constant inside the vector")
		return
	}
	in[n] = c.one(i.Elem)
	c.regs[i] = in
}

func (c *compiler) shuffle(i *ir.InstShuffleVector) {
	in := append(append([]int32(nil), c.value(i.X)...), c.value(i.Y)...)
	mask, err := constantBits(i.Mask)
	if err != nil {
		c.fail("%v", err)
		return
	}
	out := make([]int32, len(mask))
	for j, m := range mask {
		if m >= uint64(len(in)) {
			c.fail("shufflevector takes element %d of %d", m, len(in))
			return
		}
		out[j] = in[m]
	}
	c.regs[i] = out
}

// call is an intrinsic with a meaning, or one of LLVM's own operations.
func (c *compiler) call(i *ir.InstCall) {
	name, means := kernel.Means(i.Callee)
	if means == nil {
		c.native(i, name)
		return
	}
	x := &callOp{name: name, means: means}
	for _, a := range i.Args {
		x.in = append(x.in, c.value(a)...)
	}
	x.out = c.result(i)
	c.f.outs = max(c.f.outs, len(x.out))
	c.add(op{effect: callEffect, more: x})
}

func (c *compiler) native(i *ir.InstCall, row string) {
	f, ok := i.Callee.(*ir.Func)
	if !ok {
		if row == "" {
			row = i.Callee.Ident()
		}
		c.fail("intrinsic %s has no meaning in the table", row)
		return
	}
	name := strings.TrimPrefix(f.Name(), "llvm.")
	name, _, _ = strings.Cut(name, ".")
	table := ints
	if len(i.Args) > 0 && c.scalarOf(i.Args[0]).class != integer {
		table = floats
	}
	if _, ok := table[name]; !ok || len(i.Args) == 0 || strings.HasPrefix(f.Name(), "llvm.nvvm") || strings.HasPrefix(f.Name(), "llvm.x86") {
		c.fail("%s has no meaning in the table and is none of LLVM's plain operations", f.Name())
		return
	}
	args := i.Args
	if name == "abs" || name == "ctlz" || name == "cttz" {
		args = args[:1] // the flag says that some results are poison
	}
	c.lanewise(i, table, name, args...)
}

func (c *compiler) access(v value.Value, t types.Type, at value.Value, align int) *accessOp {
	parts, err := flatten(t)
	if err != nil {
		c.fail("%v", err)
	}
	if _, ok := t.(*types.StructType); ok {
		c.fail("a struct in memory")
	}
	a := &accessOp{parts: parts, align: max(1, align), space: kernel.Space(c.scalarOf(at).space)}
	for _, p := range parts {
		a.size += p.size()
	}
	if align == 0 {
		a.align = a.size
	}
	return a
}

func order(o enum.AtomicOrdering) kernel.Order {
	switch o {
	case enum.AtomicOrderingAcquire:
		return kernel.Acquire
	case enum.AtomicOrderingRelease:
		return kernel.Release
	case enum.AtomicOrderingAcquireRelease, enum.AtomicOrderingSequentiallyConsistent:
		return kernel.AcqRel
	}
	return kernel.Relaxed
}

func (c *compiler) atomic(i *ir.InstAtomicRMW) {
	a := c.access(i, i.X.Type(), i.Dst, 0)
	a.atomic, a.order, a.regs = true, order(i.Ordering), c.value(i.X)
	s := a.parts[0]
	name := i.Op.String()
	table := ints
	switch {
	case name == "xchg":
		a.next = func(_, x uint64) uint64 { return x }
	case s.class != integer:
		table = floats
	case name == "max" || name == "min":
		name = "s" + name
	}
	if f := table[name]; f != nil {
		o := op{from: s, to: s, imm: s.mask()}
		a.next = func(old, x uint64) uint64 {
			var d, p, q kernel.Reg
			p[0], q[0] = old, x
			f(&d, &p, &q, &q, &o)
			return d[0]
		}
	}
	if a.next == nil {
		c.fail("atomicrmw %s", i.Op)
		return
	}
	c.add(op{effect: atomicOp, d: c.result(i)[0], a: c.one(i.Dst), more: a})
}

func (c *compiler) compareExchange(i *ir.InstCmpXchg) {
	a := c.access(i, i.New.Type(), i.Ptr, 0)
	a.atomic, a.order, a.regs = true, order(i.SuccessOrdering), append(c.value(i.New), c.value(i.Cmp)...)
	d := c.result(i)
	c.add(op{effect: exchangeOp, d: d[0], a: c.one(i.Ptr), more: a})
}
