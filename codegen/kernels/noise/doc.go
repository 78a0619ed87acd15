// Package noise is the kernel that makes random weights on a GPU (work.Noise): the bytes that
// quire/runtime/weights makes on a host, of quire/ir/types/noise's numbers, as
// quire/ir/types/block rounds them and quire/ir/types/layout packs them.
//
// A warp makes a unit of a tile. A lane makes the elements that it would hold of the unit as an
// operand of mma.m16n8k16, those of row r and then of r+8, so that its codes are words of its
// own; four lanes find the scales of a row's blocks together.
//
// Every operation is the host's: rounded once, in the same order where order matters. codegen/kernels
// holds the test that all bytes are equal.
//
// Border law: as quire/codegen/kernels, which alone imports it.
//
// Reading order: noise.go, codes.go.
package noise
