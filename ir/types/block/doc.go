// Package block holds the block-quantised encodings as data: one table row per encoding, with how many bytes
// hold how many elements, and the exact meaning of those bytes.
//
// Decode is the definition of every encoding: it computes each value in float32 in the order of operations of
// ggml's dequantize_row_* reference (no fused multiply-add), so that a kernel can be checked bit for bit. Encode is
// ggml's quantize_row_*_ref for f16, bf16, q4_0, q4_1, q5_0, q5_1, q8_0 and iq4_nl; for q4_k, q5_k and q6_k it is a
// plain min/max quantiser that writes valid blocks (ggml searches for better ones, so its bytes differ).
//
// Two kinds of encoding share the table:
//
//   - block encodings (f32 f16 bf16 q4_0 ... iq4_nl): a row of K elements is K/Block blocks of Bytes bytes, one
//     after the other, as ggml lays them out;
//   - grouped integers (q4g128, q3g64, q8g32, ...: any bits of 3, 4, 8 and any group that is a multiple of 8): AWQ's
//     arithmetic w = (q - z) * s with one f16 scale and one integer zero for each group of N elements along K. A row
//     holds its codes (a dense little-endian bit stream: element i at bit i*bits), then its K/N f16 scales, then its
//     K/N u8 zeros. Encoding.Group says N, Encoding.Parts says where each part begins.
//
// Border law: a leaf. It imports the standard library only, so that ir, the frontends, the runtime and the kernels'
// tests can all share one definition. No unsafe, no allocation per call, no state.
//
// Reading order: Encoding, Lookup, Decode, Encode, DecodeRows; then one file a family of formats.
package block
