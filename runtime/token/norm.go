package token

import (
	"fmt"
	"strings"
	"unicode"

	"golang.org/x/text/unicode/norm"
)

// NormKind names one step of normalisation.
type NormKind string

// The steps of normalisation.
const (
	NFC        NormKind = "nfc"
	NFD        NormKind = "nfd"
	NFKC       NormKind = "nfkc"
	NFKD       NormKind = "nfkd"
	Lowercase  NormKind = "lowercase"
	StripLeft  NormKind = "strip-left"
	StripRight NormKind = "strip-right"
	Prepend    NormKind = "prepend" // To in front of a stretch
	Replace    NormKind = "replace" // every From by To
)

// Norm is one step; steps apply in order to each stretch between added tokens.
type Norm struct {
	Kind      NormKind
	From, To  string
	FirstOnly bool // Prepend: only where the stretch starts the whole text
	IfMissing bool // Prepend: not where the stretch starts with To
	Late      bool // after the search for normalised added tokens, which keeps them as they are
}

type normaliser func(text string, first bool) string

func (n Norm) compile() (normaliser, error) {
	switch n.Kind {
	case NFC, NFD, NFKC, NFKD:
		form := map[NormKind]norm.Form{NFC: norm.NFC, NFD: norm.NFD, NFKC: norm.NFKC, NFKD: norm.NFKD}[n.Kind]
		return func(s string, _ bool) string { return form.String(s) }, nil
	case Lowercase:
		return func(s string, _ bool) string { return strings.ToLower(s) }, nil
	case StripLeft:
		return func(s string, _ bool) string { return strings.TrimLeftFunc(s, unicode.IsSpace) }, nil
	case StripRight:
		return func(s string, _ bool) string { return strings.TrimRightFunc(s, unicode.IsSpace) }, nil
	case Replace:
		if n.From == "" {
			return nil, fmt.Errorf("%q of an empty string", Replace)
		}
		return func(s string, _ bool) string { return strings.ReplaceAll(s, n.From, n.To) }, nil
	case Prepend:
		return func(s string, first bool) string {
			if s == "" || n.FirstOnly && !first || n.IfMissing && strings.HasPrefix(s, n.To) {
				return s
			}
			return n.To + s
		}, nil
	}
	return nil, fmt.Errorf("kind %q is unknown", n.Kind)
}
