// Package awq holds the rewrites of quantised linears: a matmul of a dequant becomes one op on the quantised weight, so
// that a kernel reads the codes (awq.fuse-dequant-gemm); what calibration needs, the inputs of linears as results
// (awq.tap-inputs); and the scales that it finds, put into the weights (awq.absorb-scales).
//
// The scheme (group-wise integers, a scale and a zero for each group along K; channels scaled by what the activations
// are like before they are rounded) is AWQ's: Lin et al., "AWQ: Activation-aware Weight Quantization", arXiv
// 2306.00978. The fusion serves the block encodings of GGUF as well.
//
// Which linears share a scale, and what takes its inverse, is read from the graph (Sites), not from names:
//
//	input of the linears      takes the inverse         in the families
//	rmsnorm                   the gain; 1 + g in Gemma  q, k, v; gate, up; a router that shares the norm is scaled too
//	act(gate) * up            rows and bias of up       down
//	attention                 rows and bias of v        o, where there are as many KV heads as query heads
//	anything else             nothing                   o of grouped queries (llm-awq PR 67), the head
//
// testdata/before.svg and after.svg draw the mlp of a layer without and with the fusion and the scales:
//
//	cd testdata
//	quire graph layer.ir -o before.svg
//	quire opt --passes canon.simplify,awq.fuse-dequant-gemm,canon.simplify,awq.absorb-scales layer.ir > after.ir && quire graph after.ir -o after.svg
//
// What calibration (tools/calibrate, `quire quantize`) gains on a real model is in tests/bench/README.md.
//
// Border law: imports quire/ir, quire/passes and quire/passes/rewrite.
package awq
