package kvpage

import (
	"encoding/binary"

	"quire/ir/types/layout"
)

var little = binary.LittleEndian

// Machine says whose kernels read a page.
type Machine uint8

// The machines: their pages have the same parts of the same sizes.
const (
	CPU Machine = iota
	GPU
)

// Page is the layout of the pages of one layer's cache.
type Page struct {
	Enc          layout.Enc
	KVHeads, Dim int
	Tokens       int // of a page
	Summary      int // tokens of a page summary; 0: pages have none
	Machine      Machine
}

// Pad is the elements that a head's vector takes in an encoding. What lies beyond the
// head's own is never read into a result.
func Pad(e layout.Enc, dim int) int {
	if e == Q4 {
		return (dim + 31) &^ 31
	}
	return (dim + 15) &^ 15
}

// bits is the size of an element.
func bits(e layout.Enc) int64 {
	if b := Bits(e); b > 0 {
		return int64(b)
	}
	return 8 * int64(floats[e].bytes)
}

// VectorBytes is the size of the elements of one head's key or value of one token, padding
// included, scales apart.
func (p Page) VectorBytes() int64 { return int64(Pad(p.Enc, p.Dim)) * bits(p.Enc) / 8 }

// ScaleBytes is the size of the scale and the zero of one vector.
func ScaleBytes(e layout.Enc) int64 {
	if Bits(e) > 0 {
		return 4
	}
	return 0
}

// TokenBytes is what one token's key and value of one head hold: elements and, of a
// quantised encoding, scales and zeros. Pages add padding, summaries and the places of
// tokens to come.
func TokenBytes(e layout.Enc, dim int) int64 {
	return 2 * ((int64(dim)*bits(e)+7)/8 + ScaleBytes(e))
}

// ValuesAt, ScalesAt and SummariesAt are where the parts of a page begin; keys begin it.
func (p Page) ValuesAt() int64 { return int64(p.KVHeads) * int64(p.Tokens) * p.VectorBytes() }
func (p Page) ScalesAt() int64 { return 2 * p.ValuesAt() }
func (p Page) SummariesAt() int64 {
	return p.ScalesAt() + 2*int64(p.KVHeads)*int64(p.Tokens)*ScaleBytes(p.Enc)
}

// Stride is the bytes from one page to the next.
func (p Page) Stride() int64 {
	if p.Summary == 0 {
		return p.SummariesAt()
	}
	each := 2 * int64(Pad(p.Enc, p.Dim)) * bits(SummaryEnc(p.Enc)) / 8
	return p.SummariesAt() + int64(p.KVHeads)*int64(p.Tokens/p.Summary)*each
}

// Half is a vector's place in a token's entry.
type Half uint8

// The halves of an entry.
const (
	Key Half = iota
	Value
)

// element is the place of a channel of a vector: the byte, and of q4 the shift in it.
func (p Page) element(half Half, head, token, channel int) (at int64, shift int) {
	pad, tokens := int64(Pad(p.Enc, p.Dim)), int64(p.Tokens)
	h, t, c := int64(head), int64(token), int64(channel)
	base := int64(half) * p.ValuesAt()
	across := p.Machine == CPU && half == Key // tokens are neighbours
	if p.Enc == Q4 {
		unit := c / 2
		shift = 4 - 4*int(c%2)
		switch {
		case across:
			return base + (h*pad/2+unit)*tokens + t, shift
		case p.Machine == CPU:
			unit, shift = c/32*16+c%16, 4-4*int(c/16%2)
		}
		return base + (h*tokens+t)*pad/2 + unit, shift
	}
	size := bits(p.Enc) / 8
	if across {
		return base + ((h*pad+c)*tokens+t)*size, 0
	}
	return base + ((h*tokens+t)*pad+c)*size, 0
}

// scaleAt are the places of a vector's scale and zero.
func (p Page) scaleAt(half Half, head, token int) (scale, zero int64) {
	at := p.ScalesAt() + 4*int64(p.Tokens)*int64(2*head+int(half))
	if p.Machine == GPU {
		at += 4 * int64(token)
		return at, at + 2
	}
	at += 2 * int64(token)
	return at, at + 2*int64(p.Tokens)
}

// Encode writes one head's vector of a token into a page: len(x) is Dim. Nothing else of the
// page changes, the other nibble of a byte included; padding is not written.
func (p Page) Encode(page []byte, half Half, head, token int, x []float32) {
	if f, ok := floats[p.Enc]; ok {
		for c, v := range x {
			at, _ := p.element(half, head, token, c)
			f.put(page[at:], v)
		}
		return
	}
	codes := make([]byte, len(x))
	s := Quantise(Bits(p.Enc), x, codes)
	scale, zero := p.scaleAt(half, head, token)
	little.PutUint16(page[scale:], s.Scale)
	little.PutUint16(page[zero:], s.Zero)
	for c, code := range codes {
		at, shift := p.element(half, head, token, c)
		if p.Enc == Q4 {
			code = page[at]&^(15<<shift) | code<<shift
		}
		page[at] = code
	}
}

// Decode reads one head's vector of a token back.
func (p Page) Decode(page []byte, half Half, head, token int, x []float32) {
	f, plain := floats[p.Enc]
	var s Scale
	if !plain {
		scale, zero := p.scaleAt(half, head, token)
		s = Scale{little.Uint16(page[scale:]), little.Uint16(page[zero:])}
	}
	for c := range x {
		at, shift := p.element(half, head, token, c)
		switch {
		case plain:
			x[c] = f.get(page[at:])
		case p.Enc == Q4:
			x[c] = s.Value(page[at] >> shift & 15)
		default:
			x[c] = s.Value(page[at])
		}
	}
}

// Code is the stored code of a channel of a quantised vector, and what codes mean there.
func (p Page) Code(page []byte, half Half, head, token, channel int) (byte, Scale) {
	at, shift := p.element(half, head, token, channel)
	scale, zero := p.scaleAt(half, head, token)
	code := page[at] >> shift
	if p.Enc == Q4 {
		code &= 15
	}
	return code, Scale{little.Uint16(page[scale:]), little.Uint16(page[zero:])}
}

// summaryAt is the place of a channel of a summary: its largest, or its least.
func (p Page) summaryAt(head, number, channel int, least bool) int64 {
	pad := Pad(p.Enc, p.Dim)
	n := (head*(p.Tokens/p.Summary)+number)*2*pad + channel
	if least {
		n += pad
	}
	return p.SummariesAt() + int64(n)*bits(SummaryEnc(p.Enc))/8
}

// Summarised is the largest and the least that a page's number-th summary of a head says of
// a channel; SetSummary writes them.
func (p Page) Summarised(page []byte, head, number, channel int) (hi, lo float32) {
	f := floats[SummaryEnc(p.Enc)]
	return f.get(page[p.summaryAt(head, number, channel, false):]), f.get(page[p.summaryAt(head, number, channel, true):])
}

// SetSummary writes what Summarised reads.
func (p Page) SetSummary(page []byte, head, number, channel int, hi, lo float32) {
	f := floats[SummaryEnc(p.Enc)]
	f.put(page[p.summaryAt(head, number, channel, false):], hi)
	f.put(page[p.summaryAt(head, number, channel, true):], lo)
}
