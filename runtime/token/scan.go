package token

import (
	"errors"
	"unicode"
	"unicode/utf8"
)

// The regular expressions of the published pre-tokenisers that most models share, spelled as llama.cpp
// (no (?i:), no final |\s+) and as tokenizer.json files spell them.
const (
	patGPT2    = `'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)`
	patGPT2HF  = patGPT2 + `|\s+`
	apostrophe = `(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])`
	apostroHF  = `(?i:'s|'t|'re|'ve|'m|'ll|'d)`
	tailLlama  = `| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	bodyLlama  = `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}` + tailLlama
	bodyQwen2  = `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + tailLlama
	bodyQwen35 = `|[^\r\n\p{L}\p{N}]?[\p{L}\p{M}]+|\p{N}| ?[^\s\p{L}\p{M}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patLlama3  = apostrophe + bodyLlama
	patQwen2   = apostrophe + bodyQwen2
	patQwen35  = apostrophe + bodyQwen35
	patDigit   = `\p{N}`
	patLines   = `[^\n]+|[\n]+`
)

// scanners has the cutter written by hand for a regular expression; every other one goes through regexp2.
var scanners = map[string]cutter{
	patGPT2:                wordScanner(scanGPT2),
	patGPT2HF:              wordScanner(scanGPT2),
	patLlama3:              wordScanner(llamaStyle{digits: 3}.scan),
	apostroHF + bodyLlama:  wordScanner(llamaStyle{digits: 3}.scan),
	patQwen2:               wordScanner(llamaStyle{digits: 1}.scan),
	apostroHF + bodyQwen2:  wordScanner(llamaStyle{digits: 1}.scan),
	patQwen35:              wordScanner(llamaStyle{digits: 1, marks: true}.scan),
	apostroHF + bodyQwen35: wordScanner(llamaStyle{digits: 1, marks: true}.scan),
	patLines:               wordScanner(scanLines),
	patDigit:               cutDigits,
	patThousands:           digitRuns(false, thousands),
	patTinyAya:             digitRuns(true, tinyAya),
	patSuperBPE:            digitRuns(true, superBPE),
}

// wordScanner makes a cutter of a function that gives the end of the word that starts at i < len(text).
func wordScanner(scan func(text string, i int) int) cutter {
	return func(_ *scratch, _ int, text string, y yield) error {
		for i := 0; i < len(text); {
			i = scan(text, i)
			if err := y(i, true); err != nil {
				return err
			}
		}
		return nil
	}
}

// class is what the regular expressions tell characters apart by.
type class uint8

const (
	end class = iota // no character
	letter
	number
	space
	mark
	other
)

// look gives the class of the character at text[i], and its length.
func look(text string, i int) (class, int) {
	if i >= len(text) {
		return end, 0
	}
	if b := text[i]; b < utf8.RuneSelf {
		return asciiClass[b], 1
	}
	r, n := utf8.DecodeRuneInString(text[i:])
	switch {
	case unicode.IsLetter(r):
		return letter, n
	case unicode.IsNumber(r):
		return number, n
	case unicode.IsSpace(r):
		return space, n
	case unicode.IsMark(r):
		return mark, n
	}
	return other, n
}

var asciiClass = func() (c [utf8.RuneSelf]class) {
	for r := range rune(utf8.RuneSelf) {
		switch {
		case unicode.IsLetter(r):
			c[r] = letter
		case unicode.IsNumber(r):
			c[r] = number
		case unicode.IsSpace(r):
			c[r] = space
		default:
			c[r] = other
		}
	}
	return c
}()

// run gives the end of the characters from i on that are of class c.
func run(text string, i int, c class) int {
	for {
		k, n := look(text, i)
		if k != c {
			return i
		}
		i += n
	}
}

// runOther is run for whatever is neither letter, number nor space.
func runOther(text string, i int, marks bool) int {
	for {
		k, n := look(text, i)
		if k != other && (k != mark || marks) {
			return i
		}
		i += n
	}
}

// contraction gives the end of 's, 't, 're, 've, 'm, 'll or 'd at i, or i.
func contraction(text string, i int, fold bool) int {
	if text[i] != '\'' || i+1 >= len(text) {
		return i
	}
	lower := func(j int) byte {
		if j >= len(text) {
			return 0
		}
		if b := text[j]; fold && 'A' <= b && b <= 'Z' {
			return b + 'a' - 'A'
		}
		return text[j]
	}
	switch a, b := lower(i+1), lower(i+2); {
	case a == 's' || a == 't' || a == 'm' || a == 'd':
		return i + 2
	case a == 'r' && b == 'e' || a == 'v' && b == 'e' || a == 'l' && b == 'l':
		return i + 3
	}
	return i
}

// spaces gives the end of the white space at i by \s+(?!\S)|\s+: the last space belongs to what follows.
func spaces(text string, i int) int {
	last, j := i, i
	for {
		k, n := look(text, j)
		if k != space {
			break
		}
		last, j = j, j+n
	}
	if j < len(text) && last > i {
		return last
	}
	return j
}

func scanGPT2(text string, i int) int {
	if j := contraction(text, i, false); j > i {
		return j
	}
	k, n := look(text, i)
	first := i
	if text[i] == ' ' {
		first = i + n
		k, _ = look(text, first)
	}
	switch k {
	case letter, number:
		return run(text, first, k)
	case other, mark:
		return runOther(text, first, false)
	}
	return spaces(text, i)
}

// llamaStyle is the family of Llama 3's regular expression.
type llamaStyle struct {
	digits int  // of a number that make one word
	marks  bool // combining marks count as letters
}

func (st llamaStyle) scan(text string, i int) int {
	if j := contraction(text, i, true); j > i {
		return j
	}
	k, n := look(text, i)
	switch {
	case st.isLetter(k):
		return st.letters(text, i)
	case k == number:
		j := i
		for d := 0; d < st.digits && k == number; d++ {
			j += n
			k, n = look(text, j)
		}
		return j
	}
	if b := text[i]; b != '\r' && b != '\n' {
		if next, _ := look(text, i+n); st.isLetter(next) {
			return st.letters(text, i+n)
		}
	}
	first := i
	if text[i] == ' ' {
		first = i + n
		k, _ = look(text, first)
	}
	if k == other || k == mark && !st.marks {
		j := runOther(text, first, st.marks)
		for j < len(text) && (text[j] == '\r' || text[j] == '\n') {
			j++
		}
		return j
	}
	return lines(text, i)
}

func (st llamaStyle) isLetter(k class) bool { return k == letter || k == mark && st.marks }

func (st llamaStyle) letters(text string, i int) int {
	for {
		k, n := look(text, i)
		if !st.isLetter(k) {
			return i
		}
		i += n
	}
}

// lines gives the end of the white space at i by \s*[\r\n]+|\s+(?!\S)|\s+.
func lines(text string, i int) int {
	after := i
	for j := i; ; {
		k, n := look(text, j)
		if k != space {
			break
		}
		if text[j] == '\r' || text[j] == '\n' {
			after = j + n
		}
		j += n
	}
	if after > i {
		return after
	}
	return spaces(text, i)
}

func scanLines(text string, i int) int {
	feed := text[i] == '\n'
	for i < len(text) && (text[i] == '\n') == feed {
		i++
	}
	return i
}

// cutDigits is \p{N}: each number character alone, all else between them.
func cutDigits(_ *scratch, _ int, text string, y yield) error {
	for i := 0; i < len(text); {
		k, n := look(text, i)
		if k == number {
			if err := errors.Join(y(i, false), y(i+n, true)); err != nil {
				return err
			}
		}
		i += n
	}
	return y(len(text), false)
}

// digitRuns makes a cutter of a function that yields the parts of text[i:stop], a run of count decimal digits (or
// numbers of all kinds).
func digitRuns(decimal bool, parts func(text string, i, stop, count int, y yield) error) cutter {
	return func(_ *scratch, _ int, text string, y yield) error {
		for i := 0; i < len(text); {
			stop, count := digitRun(text, i, decimal)
			if count == 0 {
				_, n := look(text, i)
				i += n
				continue
			}
			if err := parts(text, i, stop, count, y); err != nil {
				return err
			}
			i = stop
		}
		return y(len(text), false)
	}
}

// digitRun gives the end of the digits at i, and how many there are.
func digitRun(text string, i int, decimal bool) (stop, count int) {
	for i < len(text) {
		r, n := utf8.DecodeRuneInString(text[i:])
		if decimal && !unicode.IsDigit(r) || !unicode.IsNumber(r) {
			break
		}
		i += n
		count++
	}
	return i, count
}

// thousands yields digits in groups of three from the right: 1|234|567.
func thousands(text string, i, _, count int, y yield) error {
	if err := y(i, false); err != nil {
		return err
	}
	for ; count > 0; count-- {
		_, n := utf8.DecodeRuneInString(text[i:])
		i += n
		if count%3 == 1 {
			if err := y(i, true); err != nil {
				return err
			}
		}
	}
	return nil
}

// tinyAya is thousands, but digits that a word character follows are left alone.
func tinyAya(text string, i, stop, count int, y yield) error {
	if r, _ := utf8.DecodeRuneInString(text[stop:]); stop < len(text) && wordRune(r) {
		return nil
	}
	return thousands(text, i, stop, count, y)
}

// wordRune is \w as Oniguruma has it.
func wordRune(r rune) bool {
	return unicode.In(r, unicode.L, unicode.M, unicode.N, unicode.Pc, unicode.Other_Alphabetic)
}

// superBPE yields a cut before each group of three digits, and none after the last.
func superBPE(text string, i, _, count int, y yield) error {
	for ; count > 0; count-- {
		if count%3 == 0 {
			if err := y(i, false); err != nil {
				return err
			}
		}
		_, n := look(text, i)
		i += n
	}
	return nil
}
