package layout

import (
	"encoding/binary"
	"fmt"
	"math"
	"math/bits"
	"runtime"
	"sync"

	"quire/ir/types/block"
)

// PackFrag writes rows x cols values, row-major in their file's blocks (ir/types/block),
// to dst in the Frag layout, on all processors. dst is all of the packed bytes.
func PackFrag(dst []byte, e Enc, rows, cols int, src []byte) error {
	f, err := FragOf(e, cols)
	if err != nil {
		return err
	}
	b, ok := block.Lookup(string(e))
	if !ok {
		return fmt.Errorf("layout: encoding %q: the block table lacks it", string(e))
	}
	raw, err := b.RowBytes(int64(cols))
	if err != nil {
		return fmt.Errorf("layout: %w", err)
	}
	if rows <= 0 || int64(len(src)) != int64(rows)*raw || len(dst) != f.Size(rows, cols) {
		return fmt.Errorf("layout: frag: %s of %d x %d values: %d bytes into %d, expected %d into %d",
			e, rows, cols, len(src), len(dst), int64(rows)*raw, f.Size(rows, cols))
	}
	orig, _ := Of(e)
	p := fragPacker{Frag: f, packer: packer{f: orig, b: b, cols: cols, raw: int(raw)}}
	tile := cols / f.Unit * f.UnitBytes()
	n := Tiles(rows)
	workers := min(runtime.GOMAXPROCS(0), n)
	var wg sync.WaitGroup
	for w := range workers {
		wg.Go(func() {
			for t := w * n / workers; t < (w+1)*n/workers; t++ {
				last := min((t+1)*Lanes, rows)
				p.tile(dst[t*tile:][:tile], src[t*Lanes*int(raw):last*int(raw)], last-t*Lanes)
			}
		})
	}
	wg.Wait()
	return nil
}

type fragPacker struct {
	Frag
	packer packer
}

// tile packs up to 16 rows; the rest are zeros.
func (p fragPacker) tile(dst, src []byte, rows int) {
	clear(dst)
	spots := p.spots()
	for r := range rows {
		row := src[r*p.packer.raw:][:p.packer.raw]
		for u := range p.packer.cols / p.Unit {
			unit := dst[u*p.UnitBytes():][:p.UnitBytes()]
			if p.Block == 1 {
				for i, s := range spots {
					p.numbers(unit, s, r, row, u*p.Unit+4*i)
				}
				continue
			}
			for b := range p.Unit / p.Block {
				var parts parts
				p.packer.split(&parts, row, u*p.Unit/p.Block+b)
				if p.Enc == IQ4_NL {
					for i, c := range parts.code[:p.Block] {
						parts.code[i] = byte(int(IQ4Values[c&15]) + 128)
					}
				}
				for i, s := range spots[b*p.Block/4:][:p.Block/4] {
					p.codes(unit, s, r, binary.LittleEndian.Uint32(parts.code[4*i:]))
				}
				p.scales(unit[p.CodeBytes():], r, b, &parts)
			}
		}
	}
}

// fragSpot is where four neighbours of row 0 lie: bytes of the plane of codes and of the
// one of high bits, and the shift of bits in a word of the latter and of two-bit codes.
type fragSpot struct {
	codes, high int
	ones, twos  int
}

// spots are the places of a unit's columns, four by four. Row r of a tile lies r%8 times a
// lane's four further, in other registers where r > 7.
func (p fragPacker) spots() []fragSpot {
	codes, high := p.PlaneBytes()
	out := make([]fragSpot, p.Unit/4)
	for i := range out {
		k := 4 * i
		chunk, span, in := k/p.Chunk, k%p.Chunk/p.Span, k%p.Span
		q, j := in/(p.Span/4), span*p.Span/16+in%(p.Span/4)/4
		s := fragSpot{ones: 4 * j, twos: 8 * (j % 2)}
		word := q * p.laneHigh()
		if p.Stored == 6 {
			word += j / 2
		}
		s.high = p.Unit/p.Chunk*codes + chunk*high + 4*word
		switch p.Stored {
		case 3:
			s.high = p.Unit/p.Chunk*codes + chunk*high + 4*q
			s.codes = chunk*codes + 4*(q*((p.Products()+1)/2)+j/2)
		case 8:
			s.codes = chunk*codes + (j/2*32+q)*8*min(p.Products(), 2) + 8*(j%2)
		case 16:
			s.codes = chunk*codes + (j*32+q)*16
		default:
			s.codes = chunk*codes + 4*(q*p.Products()+j)
		}
		out[i] = s
	}
	return out
}

// laneCodes and laneHigh are the bytes and words of a chunk that lie between neighbouring
// lanes of the plane of codes and of the one of high bits.
func (p fragPacker) laneCodes() int {
	switch p.Stored {
	case 3:
		return 4 * ((p.Products() + 1) / 2)
	case 8:
		return 8 * min(p.Products(), 2)
	case 16:
		return 16
	}
	return 4 * p.Products()
}

func (p fragPacker) laneHigh() int {
	if p.Stored == 6 {
		return (p.Products() + 1) / 2
	}
	return 1
}

// codes writes four neighbouring codes of row r, a byte each.
func (p fragPacker) codes(unit []byte, s fragSpot, r int, c uint32) {
	at, reg := s.codes+4*(r%8)*p.laneCodes(), r/8
	le := binary.LittleEndian
	or := func(at int, bits uint32) { le.PutUint32(unit[at:], le.Uint32(unit[at:])|bits) }
	// Registers reg and reg+2 hold e = 0, 1 and 2, 3: halves of bits 0 and 16.
	halves := func(c uint32, width int) uint32 {
		return c&255 | c>>8&255<<16 | (c>>16&255|c>>24<<16)<<(2*width)
	}
	high := s.high + 16*(r%8)*p.laneHigh()
	switch p.Stored {
	case 3:
		or(at, halves(c&0x03030303, 2)<<(s.twos+2*reg))
		or(high, halves(c>>2&0x01010101, 1)<<(s.ones+reg))
	case 8:
		le.PutUint16(unit[at+2*reg:], uint16(c))
		le.PutUint16(unit[at+2*reg+4:], uint16(c>>16))
	default:
		or(at, bits.RotateLeft32(halves(c&0x0f0f0f0f, 4)<<(4*reg), 2))
		switch p.Stored {
		case 5:
			or(high, halves(c>>4&0x01010101, 1)<<(s.ones+reg))
		case 6:
			or(high, halves(c>>4&0x03030303, 2)<<(s.twos+2*reg))
		}
	}
}

// numbers writes four neighbouring 16-bit numbers of row r, from column k of the row on.
func (p fragPacker) numbers(unit []byte, s fragSpot, r int, row []byte, k int) {
	at := s.codes + 4*(r%8)*p.laneCodes() + 4*(r/8)
	for e := range 4 {
		x := uint16(0)
		if p.Enc == F32 {
			x = block.F32ToF16(math.Float32frombits(binary.LittleEndian.Uint32(row[4*(k+e):])))
		} else {
			x = binary.LittleEndian.Uint16(row[2*(k+e):])
		}
		binary.LittleEndian.PutUint16(unit[at+e/2*8+e%2*2:], x)
	}
}

// Place is the place of row r (0 to 15) among a unit's scales.
func Place(r int) int { return 2*(r%8) + r/8 }

// scales writes the scales of block b of row r.
func (p fragPacker) scales(dst []byte, r, b int, parts *parts) {
	switch {
	case p.Min == Scales8:
		copy(dst[16*Place(r):][:16], parts.bytes[:])
		binary.LittleEndian.PutUint16(dst[16*Lanes+2*Place(r):], parts.half[0])
		return
	case p.Bytes > 0:
		at := dst[(4+p.Bytes)*Place(r):]
		binary.LittleEndian.PutUint16(at, parts.half[0])
		binary.LittleEndian.PutUint16(at[2:], parts.half[1])
		copy(at[4:4+p.Bytes], parts.bytes[:])
		return
	}
	for i := range p.Halfs {
		binary.LittleEndian.PutUint16(dst[2*((Place(r)*(p.Unit/p.Block)+b)*p.Halfs+i):], parts.half[i])
	}
}
