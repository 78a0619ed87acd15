// Package packed is the layouts in which other people's checkpoints keep 3- and 4-bit linears: one file a family of
// formats, each read into, and written from, the rows of package block's grouped integers (q4g128, q3g64, ...).
//
//	format               codes of W [N, K]                  zero points
//	awq-gemm             i32 [K, N/8], order 0 2 4 6 1 3 5 7  i32 [G, N/8], the same order
//	awq-gemv             i32 [N, K/8]                         i32 [N, padded G/8]
//	awq-gemv-fast        i16 [N/4, K], tiles of 4 x 64        f16 [padded G, N], minus zero times scale
//	marlin               i32 [K/16, 2N], tiles of 16 x 64     none (vLLM's, in the same permutation)
//	gptq, gptq-v2        i32 [bK/32, N]                       i32 [G, bN/32]; gptq holds zero - 1
//	compressed-tensors   i32 [N, bK/32]                       i32 [bN/32, G]
//
// b is the width of a code, G = K/group. Every value is (code - zero) * scale with one scale and one zero for the
// elements of a row's group; a format that has no zeros for a weight means 2^(b-1). A row's codes, scales and zeros
// are carried over as they are: nothing is rounded on the way, and what cannot be carried over is an error, namely
// a scale that float16 does not hold (NaN, infinity, a bfloat16 below 2^-17) and a zero beyond the width of the codes.
//
// Where a file has its columns in the order of activations (GPTQ's desc_act: g_idx says the group of each), Decode
// gives them sorted by group, which is what block's rows can say, and Columns says where each came from: whoever
// multiplies gathers the activations the same way, once for all linears with that order. No code is rounded for it.
//
// Each format states where a code lies (plane.at); Encode writes by that statement alone, and Decode reads with loops
// of its own, so that each checks the other.
//
// Border law: a leaf. It imports ir/types/block and the standard library; file names, tensor names and configuration
// fields are frontends' business.
//
// Reading order: Matrix (what a packed weight is), Window (which bytes some of its rows need), Decode, Columns, Encode.
package packed
