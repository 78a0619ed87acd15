// Package kernels holds the kernels, one file a family, written in codegen/kernel's
// language over the parameter structs of ir/work.
//
// Text makes the LLVM IR of one kernel for one target; DriverText that of the step loop.
// build.go lists what a CPU runs, build_gpu.go what a GPU does: a family that is not in a
// list has no kernel there. Bodies for both share what they compute by portable verbs
// (mapValue, sincos and the activations).
//
// Weights are read in the lanes layout of ir/types/layout: one lane is one row, so that
// a dot product needs no sum across lanes. decode.go turns each encoding's column into
// codes, a scale and a min; linear_one.go, linear_many.go and embed.go use it.
//
// A Linear runs in one of five ways, by the target's features and the number of tokens:
// byte dot products on the digits of one row (linear_one.go, activations.go) or of up to
// eight (linear_bytes.go), tile registers on digits (linear_tiles.go), float32
// multiply-adds on a panel of dequantised rows (linear_many.go), and with Dot bf16 products
// of pairs of bfloat16, in tile registers or vectors (linear_pairs.go).
//
// On a GPU products run on tensor cores over the frag layout of ir/types/layout (frag.go
// makes registers of codes): one row of x and few by gemv.go, whose warps' rings in shared
// memory run ahead over items and over the launches before; many by gemm.go, on sm_90a with
// products of warpgroups (gemm_group.go), for which Round writes rows by spans. Both share
// out, the epilogue of single values. What needs more than one block's sums is done where they
// are next at hand: heads of q and k are normed by the block that brings a head's last sums
// (gemv_heads.go); a branch that is normed joins the residual in the product of few rows
// that reads it (gemv_join.go), or in the next norm (norm_gpu.go); rows are rounded by what makes them (rounded_gpu.go). Sums are float32; x, and in gemm.go and with x in
// global memory the weights too, are rounded to 16 bits.
//
// Attention on a GPU is tensor cores over pages whose keys lie as values do (rows_gpu.go:
// kvStoreGPU): attention_decode_gpu.go splits one row's cache over blocks, whose last to
// finish merges them (attention_merge_gpu.go), and may read picked pages alone;
// attention_prefill_gpu.go takes blocks of rows, and a slot's only row by its lists;
// headgroups_gpu.go is decode over both caches of a layer whose heads are split. Families
// whose item is a row give it a block (rows_gpu.go, norm_gpu.go, reduce_gpu.go).
//
// On a CPU, arithmetic is float32 with fused multiply-add, or integers as exact. A row's sum runs in
// an order that depends on the parameters and the way alone: never on the number of workers
// or on the other rows. The ways differ in the last bits.
//
// Pages of a cache that are picked (Quest) take two launches on a CPU: pageselect.go scores
// pages by the summaries that summary.go keeps and lists the best, attention_decode.go
// reads those. On a GPU summary_gpu.go makes summaries behind prompts; in steps of single
// rows pageselect_gpu.go makes those of a page when it finds it closed, scores pages on
// tensor cores (pageselect_score_gpu.go), and has its last block list the best
// (pageselect_pick_gpu.go), of the best tiles of pages where few are wanted.
//
// Border: imports codegen/kernel, ir/work, ir/target, ir/types/...; no llir, no passes.
package kernels
