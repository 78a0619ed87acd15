package weights

import (
	"fmt"
	"strings"

	"quire/ir/types/block"
)

// layout is how many bytes hold how many elements of an encoding that may stand in a file.
type layout struct {
	enc          string
	block, bytes int64
	align        int64 // of the scalars inside
}

// plain lists the element types beyond package block's. F8 names follow the OCP formats.
var plain = []layout{
	{"f64", 1, 8, 8}, {"i64", 1, 8, 8}, {"i32", 1, 4, 4}, {"i16", 1, 2, 2}, {"i8", 1, 1, 1},
	{"u64", 1, 8, 8}, {"u32", 1, 4, 4}, {"u16", 1, 2, 2}, {"u8", 1, 1, 1}, {"bool", 1, 1, 1},
	{"f8_e4m3", 1, 1, 1}, {"f8_e5m2", 1, 1, 1}, {"f8_e4m3fnuz", 1, 1, 1}, {"f8_e5m2fnuz", 1, 1, 1}, {"f8_e8m0", 1, 1, 1},
}

// ggmlTypes gives ggml's type numbers (enum ggml_type) an encoding. Those with sizes here are listed but not decoded;
// the numbers missing were removed from the format by ggml.
var ggmlTypes = map[uint32]layout{
	0: {enc: "f32"}, 1: {enc: "f16"}, 2: {enc: "q4_0"}, 3: {enc: "q4_1"}, 6: {enc: "q5_0"}, 7: {enc: "q5_1"}, 8: {enc: "q8_0"},
	9:  {"q8_1", 32, 36, 2},
	10: {"q2_k", 256, 84, 2}, 11: {"q3_k", 256, 110, 2},
	12: {enc: "q4_k"}, 13: {enc: "q5_k"}, 14: {enc: "q6_k"},
	15: {"q8_k", 256, 292, 4},
	16: {"iq2_xxs", 256, 66, 2}, 17: {"iq2_xs", 256, 74, 2}, 18: {"iq3_xxs", 256, 98, 2}, 19: {"iq1_s", 256, 50, 2},
	20: {enc: "iq4_nl"},
	21: {"iq3_s", 256, 110, 2}, 22: {"iq2_s", 256, 82, 2}, 23: {"iq4_xs", 256, 136, 2},
	24: {enc: "i8"}, 25: {enc: "i16"}, 26: {enc: "i32"}, 27: {enc: "i64"}, 28: {enc: "f64"},
	29: {"iq1_m", 256, 56, 2},
	30: {enc: "bf16"},
	34: {"tq1_0", 256, 54, 2}, 35: {"tq2_0", 256, 66, 2},
	39: {"mxfp4", 32, 17, 1}, 40: {"nvfp4", 64, 36, 1}, 41: {"q1_0", 128, 18, 2}, 42: {"q2_0", 64, 18, 2},
}

// safetensorsTypes gives the dtypes of safetensors an encoding.
var safetensorsTypes = map[string]string{
	"F64": "f64", "F32": "f32", "F16": "f16", "BF16": "bf16",
	"I64": "i64", "I32": "i32", "I16": "i16", "I8": "i8", "U64": "u64", "U32": "u32", "U16": "u16", "U8": "u8", "BOOL": "bool",
	"F8_E4M3": "f8_e4m3", "F8_E5M2": "f8_e5m2", "F8_E4M3FNUZ": "f8_e4m3fnuz", "F8_E5M2FNUZ": "f8_e5m2fnuz", "F8_E8M0": "f8_e8m0",
}

// sized fills in the sizes of an encoding that package block, plain or ggmlTypes knows.
func sized(l layout) layout {
	if l.bytes > 0 {
		return l
	}
	l, ok := layoutOf(l.enc)
	if !ok {
		panic("BUG: no size for encoding " + l.enc)
	}
	return l
}

// layoutOf finds the sizes of an encoding by its name.
func layoutOf(enc string) (layout, bool) {
	if e, ok := block.Lookup(enc); ok && e.Group == 0 { // grouped integers stand in no file of others
		align := int64(2) // every quantised block holds f16 scales
		if e.Block == 1 {
			align = int64(e.Bytes)
		}
		return layout{enc, int64(e.Block), int64(e.Bytes), align}, true
	}
	for _, p := range plain {
		if p.enc == enc {
			return p, true
		}
	}
	for _, l := range ggmlTypes {
		if l.enc == enc && l.bytes > 0 {
			return l, true
		}
	}
	return layout{enc: enc}, false
}

// ggmlType finds the number of an encoding, for writing.
func ggmlType(enc string) (uint32, bool) {
	for n, l := range ggmlTypes {
		if l.enc == enc {
			return n, true
		}
	}
	return 0, false
}

// safetensorsType finds the dtype of an encoding, for writing.
func safetensorsType(enc string) (string, bool) {
	name := strings.ToUpper(enc)
	_, ok := safetensorsTypes[name]
	return name, ok
}

// extent is the size in bytes of a tensor, or what is wrong with its shape.
func (l layout) extent(shape []int64) (int64, string) {
	row := shape[len(shape)-1]
	if row%l.block != 0 {
		return 0, fmt.Sprintf("rows of %d elements, expected a multiple of %s's block of %d", row, l.enc, l.block)
	}
	elems := uint64(1)
	for _, d := range shape {
		if d < 0 {
			return 0, fmt.Sprintf("shape %v, expected dimensions of 0 or more", shape)
		}
		if d > 0 && elems > (1<<63-1)/uint64(d) { // also holds for shapes with a 0 that comes later
			return 0, fmt.Sprintf("shape %v, expected fewer than 2^63 elements", shape)
		}
		elems *= uint64(max(d, 0))
	}
	if elems/uint64(l.block) > (1<<63-1)/uint64(l.bytes) {
		return 0, fmt.Sprintf("shape %v of %s, expected fewer than 2^63 bytes", shape, l.enc)
	}
	return int64(elems / uint64(l.block) * uint64(l.bytes)), ""
}
