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
	for r := range rows {
		row := src[r*p.packer.raw:][:p.packer.raw]
		for u := range p.packer.cols / p.Unit {
			unit := dst[u*p.UnitBytes():][:p.UnitBytes()]
			if p.Block == 1 {
				for k := range p.Unit {
					p.place(unit, r, k, p.number(row, u*p.Unit+k))
				}
				continue
			}
			for b := range p.Unit / p.Block {
				var parts parts
				p.packer.split(&parts, row, u*p.Unit/p.Block+b)
				for i, c := range parts.code[:p.Block] {
					if p.Enc == IQ4_NL {
						c = byte(int(IQ4Values[c]) + 128)
					}
					p.place(unit, r, b*p.Block+i, uint16(c))
				}
				p.scales(unit[p.CodeBytes():], r, b, &parts)
			}
		}
	}
}

// number is a float of a row as 16 bits.
func (p fragPacker) number(row []byte, k int) uint16 {
	if p.Enc == F32 {
		return block.F32ToF16(math.Float32frombits(binary.LittleEndian.Uint32(row[4*k:])))
	}
	return binary.LittleEndian.Uint16(row[2*k:])
}

// place writes the code of row r, column k of a unit.
func (p fragPacker) place(unit []byte, r, k int, code uint16) {
	s := p.spot(r, k)
	codes, high := p.PlaneBytes()
	plane := unit[s.chunk*codes:]
	word := func(at int, bits uint32) {
		binary.LittleEndian.PutUint32(unit[at:], binary.LittleEndian.Uint32(unit[at:])|bits)
	}
	switch p.Stored {
	case 8:
		plane[(s.product/2*32+s.lane)*8*min(p.Products(), 2)+8*(s.product%2)+2*s.reg+s.half] = byte(code)
		return
	case 16:
		binary.LittleEndian.PutUint16(plane[(s.product*32+s.lane)*16+4*s.reg+2*s.half:], code)
		return
	}
	twos := func(at int, bits uint32) {
		word(at+4*(s.lane*((p.Products()+1)/2)+s.product/2), bits<<(16*s.half+8*(s.product%2)+2*s.reg))
	}
	ones := func(at int, bit uint32) { word(at+4*s.lane, bit<<(16*s.half+4*s.product+s.reg)) }
	first, second := s.chunk*codes, p.Unit/p.Chunk*codes+s.chunk*high
	if p.Stored == 3 {
		twos(first, uint32(code&3))
		ones(second, uint32(code>>2))
		return
	}
	word(first+4*(s.lane*p.Products()+s.product), bits.RotateLeft32(uint32(code&15)<<(16*s.half+4*s.reg), 2))
	switch p.Stored {
	case 5:
		ones(second, uint32(code>>4))
	case 6:
		twos(second, uint32(code>>4))
	}
}

// fragSpot is where a value lies in its chunk.
type fragSpot struct{ chunk, lane, product, reg, half int }

func (f Frag) spot(r, k int) fragSpot {
	span, i := k%f.Chunk/f.Span, k%f.Span
	q, rest := i/(f.Span/4), i%(f.Span/4)
	e := rest % 4
	return fragSpot{chunk: k / f.Chunk, lane: 4*(r%8) + q, product: span*f.Span/16 + rest/4, reg: r/8 + e/2*2, half: e % 2}
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
