package layout

import (
	"encoding/binary"
	"fmt"
	"math"
	"runtime"
	"sync"

	"quire/ir/types/block"
)

// Pack writes rows x cols values, row-major in their file's blocks (ir/types/block), to
// dst in the lanes layout, on all processors. dst is all of the packed bytes: Size(rows,
// cols) of them.
func Pack(dst []byte, e Enc, rows, cols int, src []byte) error {
	f, err := Of(e)
	if err != nil {
		return err
	}
	b, ok := block.Lookup(string(e))
	if !ok {
		return fmt.Errorf("layout: encoding %q: the block table lacks it", string(e))
	}
	if rows <= 0 || cols <= 0 || cols%f.Block != 0 {
		return fmt.Errorf("layout: %s of %d x %d values, expected columns in blocks of %d", e, rows, cols, f.Block)
	}
	raw, err := b.RowBytes(int64(cols))
	if err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	if int64(len(src)) != int64(rows)*raw || len(dst) != f.Size(rows, cols) {
		return fmt.Errorf("layout: %s of %d x %d values: %d bytes into %d, expected %d into %d",
			e, rows, cols, len(src), len(dst), int64(rows)*raw, f.Size(rows, cols))
	}
	p := packer{f: f, b: b, cols: cols, raw: int(raw), tile: cols / f.Block * f.ColumnBytes()}
	n := Tiles(rows)
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for t := w * n / workers; t < (w+1)*n/workers; t++ {
				last := min((t+1)*Lanes, rows)
				p.packTile(dst[t*p.tile:][:p.tile], src[t*Lanes*p.raw:last*p.raw], last-t*Lanes)
			}
		})
	}
	wg.Wait()
	return nil
}

type packer struct {
	f               Format
	b               block.Encoding
	cols, raw, tile int
}

// packTile packs up to 16 rows; the rest of the lanes are zeros.
func (p packer) packTile(dst, src []byte, rows int) {
	clear(dst)
	if p.f.Block == 1 {
		p.floats(dst, src, rows)
		return
	}
	size := p.f.ColumnBytes()
	for lane := range rows {
		row := src[lane*p.raw:][:p.raw]
		for c := range p.cols / p.f.Block {
			var b parts
			p.split(&b, row, c)
			p.place(dst[c*size:][:size], &b, lane)
		}
	}
}

func (p packer) floats(dst, src []byte, rows int) {
	w := p.f.Bits / 8
	for lane := range rows {
		row := src[lane*p.raw:][:p.raw]
		for k := range p.cols {
			copy(dst[(k*Lanes+lane)*w:][:w], row[k*w:])
		}
	}
}

// parts is one block taken apart: its float16 scales, its other scale bytes, its codes.
type parts struct {
	half  [2]uint16
	bytes [16]byte
	code  [256]byte
}

// place writes one block to its lane of a column.
func (p packer) place(col []byte, b *parts, lane int) {
	f := p.f
	for i := range f.Halfs {
		binary.LittleEndian.PutUint16(col[32*i+2*lane:], b.half[i])
	}
	at := 32*f.Halfs + 4*lane
	for i := 0; i < f.Bytes; i += 4 {
		copy(col[at:at+4], b.bytes[i:])
		at += 64
	}
	c := b.code[:f.Block]
	if f.Bits == 8 {
		for ; len(c) > 0; c = c[4:] {
			copy(col[at:at+4], c)
			at += 64
		}
		return
	}
	low, high := f.Planes()
	at = putPlane(col, at, c, 0, low)
	if high > 0 {
		putPlane(col, at, c, low, high)
	}
}

// putPlane writes bits from to from+width of each code, and gives the place behind them.
func putPlane(col []byte, at int, code []byte, from, width int) int {
	mask := uint32(1<<width-1) * 0x01010101
	for q := code; len(q) > 0; q = q[32/width:] {
		var w uint32
		for i := range 8 / width {
			w |= binary.LittleEndian.Uint32(q[4*i:]) >> from & mask << (width * i)
		}
		binary.LittleEndian.PutUint32(col[at:], w)
		at += 64
	}
	return at
}

// split takes block c of a row apart.
func (p packer) split(b *parts, row []byte, c int) {
	if p.b.Group > 0 {
		p.splitGroup(b, row, c)
		return
	}
	src := row[c*p.b.Bytes:][:p.b.Bytes]
	u16 := binary.LittleEndian.Uint16
	switch p.f.Enc {
	case Q4_0, IQ4_NL:
		b.half[0] = u16(src)
		nibbles32(b.code[:], src[2:])
	case Q4_1:
		b.half = [2]uint16{u16(src), u16(src[2:])}
		nibbles32(b.code[:], src[4:])
	case Q5_0:
		b.half[0] = u16(src)
		nibbles32(b.code[:], src[6:])
		fifth(b.code[:32], binary.LittleEndian.Uint32(src[2:]))
	case Q5_1:
		b.half = [2]uint16{u16(src), u16(src[2:])}
		nibbles32(b.code[:], src[8:])
		fifth(b.code[:32], binary.LittleEndian.Uint32(src[4:]))
	case Q8_0:
		b.half[0] = u16(src)
		for i, q := range src[2:34] {
			b.code[i] = q ^ 0x80
		}
	case Q4_K, Q5_K:
		splitK(b, src, p.f.Bits == 5)
	case Q6_K:
		split6K(b, src)
	}
}

// nibbles32 spreads ggml's 16 bytes: low nibbles are 0..15, high ones 16..31.
func nibbles32(dst, src []byte) {
	for j, c := range src[:16] {
		dst[j], dst[j+16] = c&15, c>>4
	}
}

func fifth(code []byte, bits uint32) {
	for i := range code {
		code[i] |= byte(bits>>i&1) << 4
	}
}

func splitK(b *parts, src []byte, five bool) {
	b.half = [2]uint16{binary.LittleEndian.Uint16(src), binary.LittleEndian.Uint16(src[2:])}
	copy(b.bytes[:12], src[4:16])
	q := src[16:]
	if five {
		q = src[48:]
	}
	for c := range 4 {
		for l, v := range q[32*c:][:32] {
			b.code[64*c+l], b.code[64*c+32+l] = v&15, v>>4
		}
	}
	if !five {
		return
	}
	for l, h := range src[16:48] {
		for j := range 8 {
			b.code[32*j+l] |= h >> j & 1 << 4
		}
	}
}

func split6K(b *parts, src []byte) {
	b.half[0] = binary.LittleEndian.Uint16(src[208:])
	copy(b.bytes[:16], src[192:208])
	for n := range 2 {
		ql, qh, y := src[64*n:][:64], src[128+32*n:][:32], b.code[128*n:][:128]
		for l, h := range qh {
			y[l] = ql[l]&15 | h<<4&48
			y[l+32] = ql[l+32]&15 | h<<2&48
			y[l+64] = ql[l]>>4 | h&48
			y[l+96] = ql[l+32]>>4 | h>>2&48
		}
	}
}

// splitGroup takes group c of a grouped integer row: the zero point becomes a float16.
func (p packer) splitGroup(b *parts, row []byte, c int) {
	scales, zeros, _ := p.b.Parts(p.cols)
	b.half = [2]uint16{binary.LittleEndian.Uint16(row[scales+2*c:]), smallHalf(row[zeros+c])}
	if p.f.Bits == 3 {
		threes(b.code[:p.f.Block], row[c*p.f.Block*3/8:])
		return
	}
	for i, v := range row[c*p.f.Block/2:][:p.f.Block/2] {
		b.code[2*i], b.code[2*i+1] = v&15, v>>4
	}
}

// threes spreads a dense stream of three bits, eight codes of three bytes at a time.
func threes(dst, src []byte) {
	for ; len(dst) > 0; dst, src = dst[8:], src[3:] {
		w := uint32(src[0]) | uint32(src[1])<<8 | uint32(src[2])<<16
		for i := range dst[:8] {
			dst[i] = byte(w>>(3*i)) & 7
		}
	}
}

// smallHalf is an integer below 2048 as a float16.
func smallHalf(n byte) uint16 {
	if n == 0 {
		return 0
	}
	w := math.Float32bits(float32(n))
	return uint16(w>>23-112)<<10 | uint16(w>>13&0x3ff)
}
