// Package layout says how a weight lies in memory, and re-packs it from its file's
// row-major blocks.
//
// Border: a leaf. It knows encodings and bytes; it knows no op, no kernel and no
// device. codegen/kernels reads weights in these layouts, the loader writes them.
//
// There are three layouts. Plain is a vector of float32. Frag (see Frag) is made for a
// GPU's tensor cores. Lanes is made for one vector register of a CPU, whose lane is a row
// of the weight:
//
//	tile    16 rows; the last one is padded with zero rows
//	column  one block of Enc.Block values of each of the 16 rows, in this order:
//	        scales   16 lanes of each float16 (d, then m, dmin or the
//	        zero point), then 16
//	                 lanes of u32 per 4 bytes of the K-quants' own scale bytes
//	        4-bit    per 8 k: 16 x u32; byte b: low nibble k+b, high nibble k+4+b
//	        2-bit    per 16 k: 16 x u32; bits 8b+2f and 8b+2f+1 are those of k+4f+b
//	        1-bit    per 32 k: 16 x u32; bit 8b+f is that of k+4f+b
//	        8-bit    per 4 k: 16 x u32; byte b is the code of k+b, plus 128 where it is signed
//	        16-bit   per k: 16 x u16
//	        32-bit   per k: 16 x f32
//
// A code of 5 or 6 bits is a plane of its low four, then one of the rest; a code of 3 bits
// a plane of its low two, then one of its third.
//
// A tile's columns follow one another, then comes the next tile. Rows that are
// concatenated (q, k, v; gate, up) are packed one segment after the other, each
// padded to 16 rows by itself, so the packed bytes are concatenated too.
package layout
