package driver

import (
	"fmt"
	"runtime"
	"slices"
)

// TensorMap tells a kernel's bulk tensor copies where boxes of an array lie. A kernel is given the
// address of a copy in device memory, at a multiple of 64.
type TensorMap [128]byte

// Tiled is an array of up to five dims, innermost first, and the boxes in which it is copied.
type Tiled struct {
	Type    ElemType
	At      Pointer
	Dims    []uint64 // elements
	Strides []uint64 // bytes between neighbours of each dim but the innermost, multiples of 16
	Box     []uint32 // elements of a box, at most 256 each
	Swizzle Swizzle
}

// ElemType is CUtensorMapDataType; Swizzle, how a box's rows of so many bytes lie in shared
// memory, CUtensorMapSwizzle.
type (
	ElemType uint32
	Swizzle  uint32
)

// The types and patterns.
const (
	ElemU8   ElemType = 0
	ElemU32  ElemType = 2
	ElemF16  ElemType = 6
	ElemF32  ElemType = 7
	ElemBF16 ElemType = 9

	Swizzle0   Swizzle = 0
	Swizzle32  Swizzle = 1
	Swizzle64  Swizzle = 2
	Swizzle128 Swizzle = 3
)

// NewTensorMap makes a map. Elements outside of the array are read as zeros.
func (d *Device) NewTensorMap(t Tiled) (TensorMap, error) {
	var out TensorMap
	rank := len(t.Dims)
	if rank < 1 || rank > 5 || len(t.Strides) != rank-1 || len(t.Box) != rank {
		return out, fmt.Errorf("cuda: tensor map of %d dims, %d strides and a box of %d, expected 1 to 5, one less and as many", rank, len(t.Strides), len(t.Box))
	}
	const interleave, promotion, fill = 0, 2, 0 // none; lines of 128 bytes; zeros
	dims, strides, box, steps := heap(slices.Clone(t.Dims)), heap(append(slices.Clone(t.Strides), 0)), heap(slices.Clone(t.Box)), heap(slices.Repeat([]uint32{1}, rank))
	room := heap(make([]byte, len(out)+63))
	off := -addr(&room[0]) & 63
	err := d.call(TensorMapEncodeTiled, fmt.Sprintf("dims %v, strides %v, box %v", t.Dims, t.Strides, t.Box), addr(&room[off]), uintptr(t.Type), uintptr(rank), uintptr(t.At),
		addr(&dims[0]), addr(&strides[0]), addr(&box[0]), addr(&steps[0]), interleave, uintptr(t.Swizzle), promotion, fill)
	copy(out[:], room[off:])
	for _, keep := range []any{dims, strides, box, steps, room} {
		runtime.KeepAlive(keep)
	}
	return out, err
}
