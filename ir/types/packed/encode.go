package packed

import (
	"encoding/binary"
	"fmt"

	"quire/ir/types/block"
)

// Encode packs rows of block's encoding of m (Encoding), all of them, into the arrays of Parts, which Shapes or the
// caller filled in; scales are written as float16, or in the type that Parts says where it holds them. A symmetric
// weight takes rows whose zeros are all 2^(Bits-1).
func (m *Matrix) Encode(rows []byte) ([Roles][]byte, error) {
	var out [Roles][]byte
	if err := m.Check(); err != nil {
		return out, err
	}
	if m.Parts[Order].Elem != "" {
		return out, wrong(Order, "columns in an order of their own, expected none: it is read, not written")
	}
	e := m.Encoding()
	size, err := e.RowBytes(int64(m.Cols))
	if err != nil {
		return out, err
	}
	if int64(len(rows)) != int64(m.Rows)*size {
		return out, fmt.Errorf("%d bytes of %s, expected %d for %d rows", len(rows), e.Name, int64(m.Rows)*size, m.Rows)
	}
	w := writer{m: m, f: formats[m.Format]}
	for r := range Roles {
		if a := m.Parts[r]; a.Elem != "" {
			out[r] = make([]byte, a.Shape[0]*a.Shape[1]*a.Bytes())
			w.wide[r] = int(a.Shape[1])
		}
	}
	if m.Parts[Codes].Elem == "i16" {
		w.wide[Codes] /= 2
	}
	w.out = out
	codes := make([]byte, m.Cols)
	for n := range m.Rows {
		row := rows[int64(n)*size:][:size]
		takeStream(codes, row, m.Bits)
		for k, c := range codes {
			w.put(Codes, n, k, uint32(c))
		}
		if err := w.groups(e, row, n); err != nil {
			return out, err
		}
	}
	w.finish()
	return out, nil
}

type writer struct {
	m    *Matrix
	f    *format
	wide [Roles]int
	out  [Roles][]byte
}

// put ors a field into an array.
func (w *writer) put(r Role, n, i int, v uint32) {
	p, b := &w.f.planes[r], w.m.Bits
	elem, shift := p.at(w.m, w.wide[r], n, i)
	or(w.out[r], elem, v<<shift)
	if shift+b > 32 {
		or(w.out[r], elem+p.next(w.wide[r]), v>>(32-shift))
	}
}

func or(dst []byte, i int, v uint32) {
	binary.LittleEndian.PutUint32(dst[4*i:], binary.LittleEndian.Uint32(dst[4*i:])|v)
}

// groups writes the scales and zeros of a row. Groups of the rows that make one of the file must agree.
func (w *writer) groups(e block.Encoding, row []byte, n int) error {
	m := w.m
	at, zat, _ := e.Parts(m.Cols)
	split := m.Group / e.Group
	for g := range m.countGroups() {
		s, z := binary.LittleEndian.Uint16(row[at+2*g*split:]), row[zat+g*split]
		for i := g * split; i < (g+1)*split; i++ {
			if binary.LittleEndian.Uint16(row[at+2*i:]) != s || row[zat+i] != z {
				return fmt.Errorf("row %d: scales differ inside group %d of %d columns, expected one", n, g, m.Group)
			}
		}
		if err := w.putScale(n, g, s); err != nil {
			return err
		}
		if err := w.putZero(n, g, s, z); err != nil {
			return err
		}
	}
	return nil
}

func (w *writer) putScale(n, g int, s uint16) error {
	i, _ := w.f.planes[Scales].at(w.m, w.wide[Scales], n, g)
	x := block.F16ToF32(s)
	switch w.m.Parts[Scales].Elem {
	case "f16":
		binary.LittleEndian.PutUint16(w.out[Scales][2*i:], s)
	case "f32":
		return block.Encode("f32", []float32{x}, w.out[Scales][4*i:][:4])
	default:
		b := block.F32ToBF16(x)
		if block.BF16ToF32(b) != x {
			return wrong(Scales, "row %d, group %d: %v, expected a number that bfloat16 holds exactly", n, g, x)
		}
		binary.LittleEndian.PutUint16(w.out[Scales][2*i:], b)
	}
	return nil
}

func (w *writer) putZero(n, g int, s uint16, z byte) error {
	m := w.m
	if uint32(z) > low(m.Bits) {
		return wrong(Zeros, "row %d, group %d: %d, expected at most %d", n, g, z, low(m.Bits))
	}
	switch {
	case m.Symmetric():
		if z != 1<<(m.Bits-1) {
			return wrong(Zeros, "row %d, group %d: %d in a symmetric weight, expected %d", n, g, z, 1<<(m.Bits-1))
		}
	case m.Format == AWQGemvFast:
		i, _ := w.f.planes[Zeros].at(m, w.wide[Zeros], n, g)
		v := -float32(z) * block.F16ToF32(s)
		if m.Parts[Zeros].Elem == "bf16" {
			binary.LittleEndian.PutUint16(w.out[Zeros][2*i:], block.F32ToBF16(v))
		} else {
			binary.LittleEndian.PutUint16(w.out[Zeros][2*i:], block.F32ToF16(v))
		}
	case m.Format == GPTQ && m.Bits == 3:
		w.put(Zeros, n, g, uint32(z-1)&7)
	default:
		w.put(Zeros, n, g, uint32(z))
	}
	return nil
}

// finish subtracts one from GPTQ's zeros of 4 bits, a word at a time as its writers do.
func (w *writer) finish() {
	if w.m.Format != GPTQ || w.m.Bits != 4 {
		return
	}
	z := w.out[Zeros]
	for i := range len(z) / 4 {
		binary.LittleEndian.PutUint32(z[4*i:], word(z, i)-ones)
	}
}

// takeStream reads codes of b bits that follow one another.
func takeStream(codes, src []byte, b int) {
	var acc uint32
	have, mask := 0, byte(low(b))
	for i := range codes {
		if have < b {
			acc |= uint32(src[0]) << have
			src, have = src[1:], have+8
		}
		codes[i] = byte(acc) & mask
		acc >>= b
		have -= b
	}
}
