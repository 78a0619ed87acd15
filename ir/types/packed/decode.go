package packed

import (
	"encoding/binary"
	"fmt"
	"math"

	"quire/ir/types/block"
)

// word is the i-th 32-bit word of src.
func word(src []byte, i int) uint32 { return binary.LittleEndian.Uint32(src[4*i:]) }

// stream reads codes of b bits that follow one another in words: at, at+step, at+2*step, ...
func stream(dst []byte, src []byte, at, step, b int) {
	var acc uint64
	have, mask := 0, byte(low(b))
	for i := range dst {
		if have < b {
			acc |= uint64(word(src, at)) << have
			at, have = at+step, have+32
		}
		dst[i] = byte(acc) & mask
		acc >>= b
		have -= b
	}
}

// field reads b bits of an array of words, from a place on.
func field(src []byte, elem, shift, b, next int) uint32 {
	v := word(src, elem) >> shift
	if shift+b > 32 {
		v |= word(src, elem+next) << (32 - shift)
	}
	return v & low(b)
}

// Decode writes rows of the weight in block's encoding (Encoding) to dst, one after the other. src holds the Windows
// of the rows first..first+rows, which Window allows; that of zeros is nil where the weight has none. The weight was
// checked; an error is an *Error about its values.
func (m *Matrix) Decode(dst []byte, first, rows int, src [Roles][]byte) error {
	f, e := formats[m.Format], m.Encoding()
	size, err := e.RowBytes(int64(m.Cols))
	if err != nil {
		return err
	}
	if int64(len(dst)) != int64(rows)*size {
		return fmt.Errorf("%d bytes for %d rows of %s, expected %d", len(dst), rows, e.Name, int64(rows)*size)
	}
	var wide [Roles]int
	for r := range Roles {
		w := m.Window(r, first, rows)
		if int64(len(src[r])) != w.Size() {
			return wrong(r, "%d bytes of rows %d to %d, expected %d", len(src[r]), first, first+rows-1, w.Size())
		}
		if b := m.Parts[r].Bytes(); b > 0 {
			wide[r] = int(w.Wide / b)
		}
	}
	if m.Parts[Codes].Elem == "i16" {
		wide[Codes] /= 2
	}
	codes := make([]byte, rows*m.Cols)
	f.codes(m, src[Codes], wide[Codes], rows, codes)
	if err := m.reorder(codes, src[Order]); err != nil {
		return err
	}
	groups, split := m.countGroups(), m.Group/e.Group
	at, zat, _ := e.Parts(m.Cols)
	for n := range rows {
		row := dst[int64(n)*size:][:size]
		putStream(row[:at], codes[n*m.Cols:][:m.Cols], m.Bits)
		for g := range groups {
			s, err := m.scale(f, src[Scales], wide[Scales], n, g)
			if err != nil {
				return wrong(Scales, "row %d, group %d: %v", first+n, g, err)
			}
			z, err := m.zero(f, src[Zeros], wide[Zeros], n, g, s)
			if err != nil {
				return wrong(Zeros, "row %d, group %d: %v", first+n, g, err)
			}
			for i := g * split; i < (g+1)*split; i++ {
				binary.LittleEndian.PutUint16(row[at+2*i:], s)
				row[zat+i] = z
			}
		}
	}
	return nil
}

// putStream writes codes one after the other, b bits each.
func putStream(dst, codes []byte, b int) {
	if b == 4 {
		for i := range dst {
			dst[i] = codes[2*i] | codes[2*i+1]<<4
		}
		return
	}
	var acc uint32
	have := 0
	for _, c := range codes {
		acc |= uint32(c) << have
		for have += b; have >= 8; have -= 8 {
			dst[0] = byte(acc)
			dst, acc = dst[1:], acc>>8
		}
	}
}

// scale is the float16 of a row and group.
func (m *Matrix) scale(f *format, src []byte, wide, n, g int) (uint16, error) {
	i, _ := f.planes[Scales].at(m, wide, n, g)
	return half(m.Parts[Scales].Elem, src, i)
}

// half is element i of an array of floats as a float16 that holds the same number.
func half(elem string, src []byte, i int) (uint16, error) {
	var x float32
	var h uint16
	switch elem {
	case "f16":
		h = binary.LittleEndian.Uint16(src[2*i:])
		x = block.F16ToF32(h)
	case "bf16":
		x = block.BF16ToF32(binary.LittleEndian.Uint16(src[2*i:]))
		h = block.F32ToF16(x)
	default:
		x = math.Float32frombits(word(src, i))
		h = block.F32ToF16(x)
	}
	if x-x != 0 {
		return 0, fmt.Errorf("%v, expected a finite number", x)
	}
	if block.F16ToF32(h) != x {
		return 0, fmt.Errorf("%v of %s, expected a number that float16 holds exactly", x, elem)
	}
	return h, nil
}

// zero is the zero point of a row and group whose scale is s.
func (m *Matrix) zero(f *format, src []byte, wide, n, g int, s uint16) (byte, error) {
	if m.Symmetric() {
		return 1 << (m.Bits - 1), nil
	}
	p := f.planes[Zeros]
	elem, shift := p.at(m, wide, n, g)
	switch m.Format {
	case AWQGemvFast:
		return exactZero(m.Parts[Zeros].Elem, src, elem, s)
	case GPTQ:
		if m.Bits == 4 {
			return byte((word(src, elem)+ones)>>shift) & 15, nil
		}
		return byte(field(src, elem, shift, m.Bits, p.next(wide))+1) & byte(low(m.Bits)), nil
	}
	return byte(field(src, elem, shift, m.Bits, p.next(wide))), nil
}

// exactZero finds the integer z of 4 bits for which -(z * scale), rounded to the array's type, is element i.
func exactZero(elem string, src []byte, i int, scale uint16) (byte, error) {
	s, bits := block.F16ToF32(scale), binary.LittleEndian.Uint16(src[2*i:])
	value, narrow := block.F16ToF32, block.F32ToF16
	if elem == "bf16" {
		value, narrow = block.BF16ToF32, block.F32ToBF16
	}
	v := value(bits)
	for z := range 16 {
		if value(narrow(-float32(z)*s)) == v { // -0 is 0
			return byte(z), nil
		}
	}
	return 0, fmt.Errorf("%v with a scale of %v, expected minus 0 to 15 scales", v, s)
}
