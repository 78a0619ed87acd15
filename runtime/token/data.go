package token

import (
	"fmt"
	"math"
)

// Error is what is wrong with a model file's tokenizer: New, FromGGUF and FromHF return no other kind.
type Error struct{ Err error }

func (e *Error) Error() string { return e.Err.Error() }
func (e *Error) Unwrap() error { return e.Err }

// Model names the algorithm that merges a word's pieces.
type Model string

const (
	// BPE merges by rank of a pair of tokens (byte-level BPE, and SentencePiece BPE as tokenizer.json has it).
	BPE Model = "bpe"
	// SPM merges by score of the resulting token (SentencePiece BPE as GGUF has it).
	SPM Model = "spm"
)

// Type says what a token is for. The values are those of tokenizer.ggml.token_type.
type Type uint8

// The types of tokens.
const (
	Undefined   Type = 0
	Normal      Type = 1
	Unknown     Type = 2
	Control     Type = 3 // steers the model; never made from text unless special tokens are asked for
	UserDefined Type = 4 // found in text before anything else
	Unused      Type = 5
	Byte        Type = 6 // spelled <0xNN>
)

// Merge joins two neighbouring tokens into the token that their texts spell together.
type Merge struct {
	Left, Right, Result int32
}

// Added is a token that is looked for in the text itself, before normalisation and splitting.
type Added struct {
	ID         int32
	Special    bool // only when EncodeOptions.Special is set
	LStrip     bool // white space on the left belongs to it
	RStrip     bool // white space on the right belongs to it
	ASCIISpace bool // white space is ASCII's alone (GGUF), not Unicode's (tokenizer.json)
	SingleWord bool // not inside a word
	Normalized bool // looked for in normalised text
}

// Data is all that a tokenizer needs, independent of the file that it came from. It survives gob and JSON.
type Data struct {
	Model  Model
	Tokens []string  // id to text, spelled as the model file spells it
	Types  []Type    // as long as Tokens
	Scores []float32 // SPM only, as long as Tokens: higher merges first
	Merges []Merge   // BPE only, best first

	ByteLevel    bool // tokens are spelled in GPT-2's alphabet of printable bytes, and bytes are the units
	ByteFallback bool // a character without a token becomes <0xNN> tokens
	IgnoreMerges bool // a word that is a token as a whole is not merged from its pieces
	NewlineRuns  bool // the same for words of line feeds alone (Gemma 4)
	MissingIsUNK bool // what still has no token becomes UNK instead of nothing
	SkipMissing  bool // what has no token is gone before merging, so that its neighbours meet (tokenizer.json)
	FuseUNK      bool // neighbouring UNKs become one
	Metaspace    bool // U+2581 in a token stands for a space
	StripSpace   bool // decoding drops one space at the very start (encoding put it there)

	Norms  []Norm
	Splits []Split
	Added  []Added

	BOS, EOS, UNK, PAD int32 // -1 when the model has none
	AddBOS, AddEOS     bool  // what encoding adds when not told otherwise
	EOG                []int32

	// Template is the model's own chat template (Jinja), "" when it has none. It is untrusted input.
	Template string
}

const (
	maxTokens     = 1 << 22
	maxTokenBytes = 1 << 16
)

// None is the id of a token that a vocabulary does not have.
const None int32 = -1

func (d *Data) validate() error {
	n := len(d.Tokens)
	switch {
	case d.Model != BPE && d.Model != SPM:
		return fmt.Errorf("tokenizer: model is %q, expected %q or %q", d.Model, BPE, SPM)
	case n == 0 || n > maxTokens:
		return fmt.Errorf("tokenizer: %d tokens, expected 1 to %d", n, maxTokens)
	case len(d.Types) != n:
		return fmt.Errorf("tokenizer: %d token types for %d tokens", len(d.Types), n)
	case d.Model == SPM && len(d.Scores) != n:
		return fmt.Errorf("tokenizer: %d scores for %d tokens", len(d.Scores), n)
	case d.Model == SPM && (len(d.Merges) != 0 || d.ByteLevel):
		return fmt.Errorf("tokenizer: merges or a byte alphabet in an %q model, expected scores alone", SPM)
	}
	for id, t := range d.Tokens {
		if len(t) > maxTokenBytes {
			return fmt.Errorf("tokenizer: token %d has %d bytes, expected at most %d", id, len(t), maxTokenBytes)
		}
	}
	for id, s := range d.Scores {
		if math.IsNaN(float64(s)) {
			return fmt.Errorf("tokenizer: score of token %d is not a number", id)
		}
	}
	return d.validateIDs()
}

func (d *Data) validateIDs() error {
	n := int32(len(d.Tokens))
	named := []struct {
		name string
		id   int32
	}{{"bos", d.BOS}, {"eos", d.EOS}, {"unk", d.UNK}, {"pad", d.PAD}}
	for _, s := range named {
		if s.id < None || s.id >= n {
			return fmt.Errorf("tokenizer: %s is token %d, vocabulary has %d", s.name, s.id, n)
		}
	}
	if d.AddBOS && d.BOS == None {
		return fmt.Errorf("tokenizer: text starts with a bos token, but the vocabulary names none")
	}
	if d.AddEOS && d.EOS == None {
		return fmt.Errorf("tokenizer: text ends with an eos token, but the vocabulary names none")
	}
	if d.MissingIsUNK && d.UNK == None {
		return fmt.Errorf("tokenizer: missing characters become unk, but the vocabulary names none")
	}
	for _, id := range d.EOG {
		if id < 0 || id >= n {
			return fmt.Errorf("tokenizer: end of generation is token %d, vocabulary has %d", id, n)
		}
	}
	for _, a := range d.Added {
		if a.ID < 0 || a.ID >= n {
			return fmt.Errorf("tokenizer: added token has id %d, vocabulary has %d", a.ID, n)
		}
	}
	for i, m := range d.Merges {
		if min(m.Left, m.Right, m.Result) < 0 || max(m.Left, m.Right, m.Result) >= n {
			return fmt.Errorf("tokenizer: merge %d of tokens %d and %d makes %d, vocabulary has %d", i, m.Left, m.Right, m.Result, n)
		}
		l, r, both := d.Tokens[m.Left], d.Tokens[m.Right], d.Tokens[m.Result]
		if len(both) != len(l)+len(r) || both[:len(l)] != l || both[len(l):] != r {
			return fmt.Errorf("tokenizer: merge %d of %q and %q makes %q", i, l, r, both)
		}
	}
	return nil
}
