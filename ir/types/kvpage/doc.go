// Package kvpage says how the keys and values of one layer lie in the pages of its cache:
// what an entry is rounded to, where each of its bytes goes, and what pages take.
//
// Border: a leaf. It knows encodings and bytes, no op, no kernel and no device.
// codegen/kernels writes and reads pages as [Page] says, ir/work counts them by it, and the
// oracle rounds entries with [Round].
//
// Floats (f32, f16, bf16) are kept as they are. In the quantised encodings q8 and q4 a
// vector, that is one head's key or value of one token, has codes of 8 or 4 bits and a scale
// and a zero of its own, both float16 (asymmetric, as DuoAttention's KV4 and QServe have it):
//
//	scale = f16((max - min) / (2^bits - 1) + 1e-8), zero = f16(min)
//	code  = clamp(round((x - zero) / scale)), x = zero + code * scale
//
// with ties to the even code, and code 0 where scale is 0. What is attended, also by the rows
// of the step that brought it, is the value that is read back.
//
// A page has, for all kv heads, its keys; its values; of a quantised cache its scales; and
// summaries of its keys, if its table keeps any, as float16 where keys are quantised:
//
//	              on a CPU                            on a GPU
//	keys          [head][dim][token]                  [head][token][dim]
//	keys of q4    [head][dim / 2][token]              [head][token][dim / 2]
//	values        [head][token][dim]                  [head][token][dim]
//	scales        [head][key, value][scale, zero]     [head][key, value][token]
//	              [token]                             [scale, zero]
//	summaries     [head][page / summary][max, min][dim]
//
// Dims are padded to whole vectors of 16, of q4 to pairs of them. A byte of q4 has an even
// channel in its high nibble and the odd one after it in the low one, as DuoAttention's has;
// but for values on a CPU, where each 16 bytes are 32 channels, channel c in the high nibble
// of byte c and channel 16+c in the low one: one shift and one mask of 16 bytes are then two
// vectors of neighbouring channels.
package kvpage
