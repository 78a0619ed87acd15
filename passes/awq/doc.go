// Package awq holds the rewrites of quantised linears: a matmul of a dequant
// becomes one op on the quantised weight, so that a kernel reads the codes.
//
// The scheme (group-wise integers, a scale and a zero for each group along K) is
// AWQ's: Lin et al., "AWQ: Activation-aware Weight Quantization", arXiv
// 2306.00978; the rewrite serves the block encodings of GGUF as well.
//
// Border law: imports quire/ir, quire/passes and quire/passes/rewrite.
package awq
