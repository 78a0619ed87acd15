// Package llc runs the LLVM tools: IR text in; an object, a shared object or PTX out.
//
// Find looks for opt, llc and ld.lld of version 19 and says how to install them when
// they are missing. Compilations run in parallel, one process pair a kernel, behind a
// cache keyed by text, target, flags and tool version, so that a second compilation of
// the same kernels runs no tool at all. PTX is assembled by ptxas where it is at hand.
//
// Border: knows programs and files, no IR of ours. Flags are written in one table.
//
// Reading order: tools.go, compile.go, cache.go, ptx.go.
package llc
