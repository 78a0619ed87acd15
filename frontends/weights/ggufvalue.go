package weights

import (
	"encoding/binary"
	"math"
)

// The value types of GGUF (enum gguf_type).
const (
	typeUint8 = iota
	typeInt8
	typeUint16
	typeInt16
	typeUint32
	typeInt32
	typeFloat32
	typeBool
	typeString
	typeArray
	typeUint64
	typeInt64
	typeFloat64
)

// valueType is a row of the table of value types: its size in a file, and readers of one and of a packed array.
type valueType struct {
	size uint64
	one  func(b []byte) any
	many func(b []byte) any
}

var valueTypes = map[uint32]valueType{
	typeUint8:   number(1, func(b []byte) uint8 { return b[0] }),
	typeInt8:    number(1, func(b []byte) int8 { return int8(b[0]) }),
	typeUint16:  number(2, binary.LittleEndian.Uint16),
	typeInt16:   number(2, func(b []byte) int16 { return int16(binary.LittleEndian.Uint16(b)) }),
	typeUint32:  number(4, binary.LittleEndian.Uint32),
	typeInt32:   number(4, func(b []byte) int32 { return int32(binary.LittleEndian.Uint32(b)) }),
	typeFloat32: number(4, func(b []byte) float32 { return math.Float32frombits(binary.LittleEndian.Uint32(b)) }),
	typeBool:    number(1, func(b []byte) bool { return b[0] != 0 }),
	typeUint64:  number(8, binary.LittleEndian.Uint64),
	typeInt64:   number(8, func(b []byte) int64 { return int64(binary.LittleEndian.Uint64(b)) }),
	typeFloat64: number(8, func(b []byte) float64 { return math.Float64frombits(binary.LittleEndian.Uint64(b)) }),
}

func number[T any](size int, read func([]byte) T) valueType {
	return valueType{
		size: uint64(size),
		one:  func(b []byte) any { return read(b) },
		many: func(b []byte) any {
			out := make([]T, len(b)/size)
			for i := range out {
				out[i] = read(b[i*size:])
			}
			return out
		},
	}
}

// value reads a typed value: a number, a bool, a string, or a slice of one of them.
func (r *cursor) value() any {
	typ := r.u32()
	if r.fail != nil {
		return nil
	}
	if v, ok := valueTypes[typ]; ok {
		if b := r.take(v.size); b != nil {
			return v.one(b)
		}
		return nil
	}
	switch typ {
	case typeString:
		return r.str(maxString)
	case typeArray:
		return r.array()
	}
	r.fail = at(r.path, "value type %d, expected 0 to 12", typ)
	return nil
}

func (r *cursor) array() any {
	typ := r.u32()
	if r.fail != nil {
		return nil
	}
	if v, ok := valueTypes[typ]; ok {
		n := r.count("array elements", v.size, maxArray)
		if b := r.take(n * v.size); b != nil || n == 0 && r.fail == nil {
			return v.many(b)
		}
		return nil
	}
	switch typ {
	case typeString:
		return r.strings()
	case typeArray:
		r.fail = at(r.path, "array of arrays, expected an array of numbers, bools or strings")
	default:
		r.fail = at(r.path, "array of value type %d, expected 0 to 12 without 9", typ)
	}
	return nil
}

// strings reads an array of strings. They share one copy of the bytes that they stand in.
func (r *cursor) strings() any {
	n := r.count("array strings", 8, maxStrings)
	start := r.at
	for range n {
		size := r.u64()
		if r.fail == nil && size > maxString {
			r.fail = at(r.path, "string of %d bytes, expected at most %d", size, maxString)
		}
		if r.take(size); r.fail != nil {
			return nil
		}
	}
	if r.fail != nil {
		return nil
	}
	text := string(r.b[start:r.at])
	out := make([]string, n)
	for i, at := 0, 0; i < len(out); i++ {
		size := int(binary.LittleEndian.Uint64(r.b[start+at:]))
		out[i] = text[at+8 : at+8+size]
		at += 8 + size
	}
	return out
}
