// Package simt runs GPU kernels on the CPU, for tests: it interprets the LLVM IR that
// quire/codegen/kernel builds, with the grid, blocks, warps of 32 lanes, barriers and
// memories of a GPU, and judges every access.
//
//	m, err := simt.Compile(module)                   // a *kernel.Module for PTX
//	err = m.Launch(simt.Launch{Kernel: "norm", Blocks: 3, Warps: 4, Args: args})
//
// A warp's lanes run in lockstep under a mask. Lanes that part at a branch join again
// where their ways meet: the block of code that comes first in reverse post-order runs
// first. What an intrinsic does stands in its row of the kernel language's table; simt
// knows LLVM's own operations only.
//
// An error says kernel, block, warp, lane and the author's line, and is one of the Kinds:
// accesses outside an operand or at a wrong alignment, of memory nobody wrote, or to what
// another thread writes without anything that orders the two (races, found by vector
// clocks over barriers, warp barriers and atomics, whatever order the warps happened to
// run in); barriers that some threads never reach; deadlocks.
//
// Costs counts the sectors and bank conflicts of each line's accesses: what depends on
// addresses alone needs no GPU to be seen.
//
// Rounding of half and float is exact: a sum, product or fma is rounded once. What PTX
// leaves open is not modelled: contraction of mul and add, approximations' last bits.
//
// Border law: reads llir modules, knows no kernel and no operation of models. For tests
// and tools; it is never fast.
//
// Reading order: launch.go, compile.go, emit.go, constant.go, ops.go, floats.go, warp.go,
// block.go, machine.go, mbarrier.go, products.go, memory.go, races.go, costs.go, error.go.
package simt
