package token

// GPT-2's byte alphabet: a printable character for each byte. Bytes that print as Latin-1 stand for
// themselves, the others take U+0100 and up in order (openai/gpt-2, encoder.py, bytes_to_unicode).
var byteRunes, runeBytes = byteAlphabet()

func byteAlphabet() (to [256]rune, from map[rune]byte) {
	from = make(map[rune]byte, 256)
	next := rune(256)
	for b := range 256 {
		r := rune(b)
		if r < 0x21 || r > 0x7e && r < 0xa1 || r == 0xad {
			r = next
			next++
		}
		to[b] = r
		from[r] = byte(b)
	}
	return to, from
}

// unspell gives the bytes that a token stands for in the byte alphabet; ok is false when a character of it
// is not of the alphabet.
func unspell(text string) (raw string, ok bool) {
	buf := make([]byte, 0, len(text))
	for _, r := range text {
		b, ok := runeBytes[r]
		if !ok {
			return "", false
		}
		buf = append(buf, b)
	}
	return string(buf), true
}

// fallbackByte reads the spelling <0xNN> of a byte token.
func fallbackByte(text string) (b byte, ok bool) {
	if len(text) != 6 || text[:3] != "<0x" || text[5] != '>' {
		return 0, false
	}
	hi, ok1 := hexDigit(text[3])
	lo, ok2 := hexDigit(text[4])
	return hi<<4 | lo, ok1 && ok2
}

func hexDigit(c byte) (byte, bool) {
	switch {
	case '0' <= c && c <= '9':
		return c - '0', true
	case 'A' <= c && c <= 'F':
		return c - 'A' + 10, true
	case 'a' <= c && c <= 'f':
		return c - 'a' + 10, true
	}
	return 0, false
}
