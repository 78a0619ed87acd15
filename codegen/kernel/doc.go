// Package kernel is the language that kernels are written in: typed Go values that
// stand for LLVM values, with verbs as methods.
//
//	sum := kernel.For(k, k.Int(0), n, 1, k.Zeros(1), func(i kernel.I64, acc []kernel.Vec) []kernel.Vec {
//		v := kernel.LoadVec(x.At(i))
//		return []kernel.Vec{v.FMA(v, acc[0])}
//	})
//
// A Go loop unrolls, For loops: two spellings, two meanings. Values that change from
// one turn to the next go through the closure, so mutation is visible in its signature.
//
// A Vec is the register of the target: 16 lanes on a CPU (one or two machine
// registers), one element of each of a warp's lanes on a GPU. The portable verbs
// (arithmetic, Row, Tile, ReduceAdd) mean the same on both. Verbs of one family of
// machine come from X86 or GPU, which record an error on any other.
//
// A kernel is a Body over work items: Prep, Main and Last see a Kernel whose Item is
// their only position. On a GPU Start and Early come before the launches before have
// ended, and fill rings and registers with weights. Module.Define makes a CPU entry (a loop over items) or a PTX
// entry (a warp or a block an item) of the same body. Driver is the CPU's step loop.
//
// Errors accumulate with the position of the kernel author's line; Module.Text
// returns them at once.
//
// Each GPU row of the intrinsic table says in Go what it does (meaning.go), so that
// quire/codegen/simt can run the very IR that becomes PTX.
//
// Border: this package alone builds llir modules; codegen/simt reads them, nobody else
// imports llir. It knows machines, no kernel.
//
// Reading order: module.go, entry.go, kernel.go, value.go, vec.go, ptr.go, control.go, lanes.go,
// intrinsics.go, ptx.go, meaning.go, x86.go, gpu.go, gpu_block.go, gpu_memory.go,
// gpu_tensor.go, gpu_matrix.go, driver.go; meaning_*.go and gpu_meaning.go hold what rows do;
// trace.go keeps authors' lines; llir.go holds the library's quirks.
package kernel
