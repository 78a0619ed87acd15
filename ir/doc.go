// Package ir is the typed dataflow IR of Quire: [Module], [Func], [Value], one
// op table, a [Builder], canonical text ([Print], [Parse]) and [Verify].
//
// Border law: this package imports quire/ir/types, quire/ir/work and the
// standard library, nothing else. It knows no model family, no machine, no
// pointer.
//
// Reading order: module.go (what a Module owns), value.go (Func and Value),
// ops.go (the op table: a row an op), attrs.go, infer.go, builder.go, then the
// two bodies of text, print.go and parse.go, and verify.go.
//
// A Module owns state: dims, page tables, caches and weights are declared once.
// A Func at Graph level is one ordered dataflow graph without control flow;
// effects are values: kv.append takes a cache version and returns the next,
// and a version has one consumer.
//
//	func @step(%tok: i32[N], %pos: i32[N], %seq: rows[N, S], %out: i32[M], %kv: @kv0) -> (f32[M, 96], @kv0) {
//	  %x: f32[N, 64] = embed %tok, @emb
//	  %h: f32[N, 64] = rmsnorm %x, @g {eps = 1e-05}
//	  ...
//
// A Func at Kernel level is a list of launches over buffers; each part of a
// launch carries a body of graph ops, which is its meaning for the oracle, for
// the count of bytes and for conformance:
//
//	kernels @step.decode of @step when N = 1 (...) -> (...) {
//	  buffer %m: f32[N, 1536] {slot = 2}
//	  launch linear {...} -> %m {
//	    %0: f32[N, 3072] = matmul %h, @wgu
//	    ...
//	    yield %4
//	  }
//
// Text is the IR's second body: Parse(Print(m)) is m, and Print is canonical
// (dense numbering of unnamed values, attributes in declaration order, zero
// attributes left out).
package ir
