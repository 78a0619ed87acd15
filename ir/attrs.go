package ir

import (
	"fmt"

	"quire/ir/types"
)

// Attrs is the sealed interface of typed op attributes. Text is derived from
// the fields by codec.go: the tag is the name, a zero field is left out.
type Attrs interface{ attrs() }

// Dot says how the products of a matmul are formed.
type Dot uint8

// The kinds of dot product: exact f32 products; operands rounded to bf16;
// activations rounded to 8-bit integers in blocks of 32 along K (scale
// max|x|/127, round half to even); activations rounded to f16, as tensor cores
// read them (weights of up to 11 significant bits are then exact).
const (
	DotF32 Dot = iota
	DotBF16
	DotI8
	DotF16
)

var dotNames = []string{"f32", "bf16", "i8", "f16"}

// MarshalText returns the word used in text.
func (d Dot) MarshalText() ([]byte, error) { return []byte(dotNames[d]), nil }

// UnmarshalText reads the word used in text.
func (d *Dot) UnmarshalText(b []byte) error { return enumText(d, dotNames, b) }

// RopeStyle says which elements of a head form the rotated pairs.
type RopeStyle uint8

// The styles: (i, i+d/2) as Hugging Face checkpoints store heads, or
// (2i, 2i+1) as GGUF files of the llama architecture do.
const (
	RopeHalf RopeStyle = iota
	RopeAdjacent
)

var ropeStyles = []string{"half", "adjacent"}

// MarshalText returns the word used in text.
func (s RopeStyle) MarshalText() ([]byte, error) { return []byte(ropeStyles[s]), nil }

// UnmarshalText reads the word used in text.
func (s *RopeStyle) UnmarshalText(b []byte) error { return enumText(s, ropeStyles, b) }

// RopeScaling says how frequencies are changed for long contexts.
type RopeScaling uint8

// The scalings: none; linear (all frequencies divided by the factor); llama3
// (low frequencies divided, high kept, smooth between; Llama 3.1).
const (
	ScaleNone RopeScaling = iota
	ScaleLinear
	ScaleLlama3
)

var scalingNames = []string{"none", "linear", "llama3"}

// MarshalText returns the word used in text.
func (s RopeScaling) MarshalText() ([]byte, error) { return []byte(scalingNames[s]), nil }

// UnmarshalText reads the word used in text.
func (s *RopeScaling) UnmarshalText(b []byte) error { return enumText(s, scalingNames, b) }

func enumText[T ~uint8](dst *T, names []string, b []byte) error {
	for i, n := range names {
		if n == string(b) {
			*dst = T(i)
			return nil
		}
	}
	return fmt.Errorf("%q is none of %v", b, names)
}

// WeightAttrs names the module weight that a reference reads.
type WeightAttrs struct {
	Name string `ir:"name"`
}

// ToAttrs gives the element type of a result; absent: f32 (embed, dequant), or
// the type of the first argument (matmul).
type ToAttrs struct {
	To types.DType `ir:"to"`
}

// MatMulAttrs: see ToAttrs for To.
type MatMulAttrs struct {
	To  types.DType `ir:"to"`
	Dot Dot         `ir:"dot"`
}

// RoundAttrs: the kind of rounding.
type RoundAttrs struct {
	To Dot `ir:"to"`
}

// NormAttrs: y = x / sqrt(mean(x^2) + eps) * (offset + g). Offset is 1 for
// checkpoints that store g - 1 (Gemma in Hugging Face form), else 0.
type NormAttrs struct {
	Eps    float64 `ir:"eps"`
	Offset float64 `ir:"offset"`
}

// GELUAttrs: the tanh approximation, or the exact erf form.
type GELUAttrs struct {
	Tanh bool `ir:"tanh"`
}

// ScaleAttrs: y = x * by.
type ScaleAttrs struct {
	By float64 `ir:"by"`
}

// SoftcapAttrs: y = cap * tanh(x / cap) (Gemma 2).
type SoftcapAttrs struct {
	Cap float64 `ir:"cap"`
}

// SliceAttrs: elements first .. first+count-1 of the last axis.
type SliceAttrs struct {
	First int `ir:"first"`
	Count int `ir:"count"`
}

// UnflattenAttrs: the last axis [.., H*dim] becomes [.., H, dim].
type UnflattenAttrs struct {
	Dim int `ir:"dim"`
}

// ConcatAttrs: the axis along which the arguments are joined.
type ConcatAttrs struct {
	Axis int `ir:"axis"`
}

// RopeTableAttrs describe the rotation angles: pos * base^(-2i/dim), scaled.
// Factors, when given, divide the frequencies one by one (GGUF rope_freqs).
type RopeTableAttrs struct {
	Dim      int         `ir:"dim"`
	Base     float64     `ir:"base"`
	Scaling  RopeScaling `ir:"scaling"`
	Factor   float64     `ir:"factor"`
	LowFreq  float64     `ir:"low"`
	HighFreq float64     `ir:"high"`
	Original int         `ir:"original"`
	Factors  []float32   `ir:"factors"`
}

// RopeAttrs choose the pairs.
type RopeAttrs struct {
	Style RopeStyle `ir:"style"`
}

// AttentionAttrs: softmax(cap(scale * q.k)) v over the keys that are kept.
// A query at cache index i sees index j <= i when j < Sink or i - j <= Recent
// (Recent absent: all). Cap 0 means none.
type AttentionAttrs struct {
	Scale  float64 `ir:"scale"`
	Sink   int     `ir:"sink"`
	Recent *int    `ir:"recent"`
	Cap    float64 `ir:"cap"`
}

// BufferAttrs: the memory slot that plan gave the buffer.
type BufferAttrs struct {
	Slot *int `ir:"slot"`
}

func (WeightAttrs) attrs()    {}
func (ToAttrs) attrs()        {}
func (MatMulAttrs) attrs()    {}
func (RoundAttrs) attrs()     {}
func (NormAttrs) attrs()      {}
func (GELUAttrs) attrs()      {}
func (ScaleAttrs) attrs()     {}
func (SoftcapAttrs) attrs()   {}
func (SliceAttrs) attrs()     {}
func (UnflattenAttrs) attrs() {}
func (ConcatAttrs) attrs()    {}
func (RopeTableAttrs) attrs() {}
func (RopeAttrs) attrs()      {}
func (AttentionAttrs) attrs() {}
func (BufferAttrs) attrs()    {}
