// Package interp is the oracle: it evaluates any Func of a Module, at Graph or
// Kernel level, in plain loops. It is slow and obvious and will never be a
// production interpreter; every pass and every kernel is held against it.
//
// Border law: this package imports quire/ir, quire/ir/types/... and the standard
// library. Nothing that ships tokens depends on it.
//
// Reading order: tensor.go and rows.go (what a step is fed with), state.go (the
// logical caches), interp.go ([Machine.Run]), ops.go with linear.go and
// attention.go (a row an op), then random.go and compare.go, which make seeded
// cases and hold one Func against another.
//
// Arithmetic inside an op is float64. A typed run (the default) rounds each
// Value to its element type; a wide run does not, so that the error of a kernel
// against wide may be held against the error of typed against wide. What an op
// means by itself (the f32 angle of rope.table, the dot modes of matmul, a
// quantised cache) is done in both.
//
// Caches are logical: for each cache and slot a list of (index, k, v), as
// kv.append left it. Pages and layouts do not exist here.
//
//	mach := interp.New(m, weights, interp.Options{})
//	state := interp.NewState()
//	bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids, Logits: 1})
//	out, err := mach.Run(m.Func("step"), bind, in, state)
//	logits := interp.Named(m.Func("step"), out)["logits"]
package interp
