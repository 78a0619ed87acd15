// Package calibrate finds AWQ's scales and clips for a model on a text, and writes the rounded model as a checkpoint
// that other software loads: what `quire quantize` does, for Go programs.
//
// The compiled model itself shows what its linears read (pass awq.tap-inputs): the mean of |x| of every channel over the
// whole text, and a sample of rows. Then, layer by layer:
//
//	search   for the linears of one input 20 scales s are tried, the W' = Q(W diag(s)) / s that comes closest to W on
//	         the sample wins, the first of equals; s = 1 is always among them. Products are formed by a compiled matmul.
//	absorb   the pass awq.absorb-scales puts s into the columns and its inverse into what makes the input; the oracle
//	         makes the weights that it derives
//	clip     for each row and group the bound of |w| is tried at 1.00, 0.95 .. 0.55 of the largest, on the scaled inputs
//	round    to the encoding that kernels read (ir/types/block): zero in each group's range, float16 scales
//
// All searches of a layer see its original weights, and every layer the original activations (Lin et al., arXiv
// 2306.00978; llm-awq's auto_scale and auto_clip). The inspected function of a search is the linears themselves.
//
// A finished layer is kept beside the checkpoint until that is whole, so that a killed run goes on where it was. The same
// model, text, options and seed give the same bytes on one kind of processor.
//
// Border law: tools alone may link the compiler and the runtime together.
//
// Reading order: calibrate.go, inputs.go (what linears read), search.go, clip.go, product.go, layer.go, state.go.
package calibrate
