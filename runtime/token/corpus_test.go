package token_test

import "strings"

// dice is splitmix64: the same numbers on every machine and in every version of Go.
type dice uint64

func (d *dice) roll(n int) int {
	*d += 0x9e3779b97f4a7c15
	z := uint64(*d)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

func pick[T any](d *dice, from []T) T { return from[d.roll(len(from))] }

// scripts are ranges of characters that tokenizers tell apart or stumble over.
var scripts = [][2]rune{
	{0x21, 0x7e}, {0x41, 0x5a}, {0x61, 0x7a}, {0x30, 0x39}, {0xa1, 0xff}, {0x100, 0x17f}, {0x391, 0x3c9}, {0x410, 0x44f}, {0x5d0, 0x5ea},
	{0x620, 0x64a}, {0x64b, 0x65f}, {0x660, 0x669}, {0x905, 0x939}, {0x93e, 0x94d}, {0x966, 0x96f}, {0xe01, 0xe3a}, {0xe40, 0xe4e},
	{0x10a0, 0x10c5}, {0x1100, 0x1112}, {0x13a0, 0x13f4}, {0x1e00, 0x1eff}, {0x2010, 0x2027}, {0x2070, 0x2079}, {0x20a0, 0x20b9},
	{0x2150, 0x2188}, {0x2190, 0x21ff}, {0x2460, 0x24ff}, {0x2580, 0x259f}, {0x2600, 0x26ff}, {0x3001, 0x3003}, {0x3041, 0x3096},
	{0x30a1, 0x30fa}, {0x3131, 0x318e}, {0x3400, 0x3450}, {0x4e00, 0x9fa5}, {0xac00, 0xd7a3}, {0xe000, 0xe010}, {0xf900, 0xf910},
	{0xfe30, 0xfe4f}, {0xff01, 0xff5e}, {0xff66, 0xff9d}, {0x300, 0x36f}, {0x10400, 0x1044f}, {0x1d400, 0x1d454}, {0x1d7ce, 0x1d7ff},
	{0x1f300, 0x1f5ff}, {0x1f600, 0x1f64f}, {0x1f3fb, 0x1f3ff}, {0x20000, 0x20020}, {0x00, 0x1f}, {0x7f, 0xa0}, {0x2028, 0x202f}, {0x1f0, 0x1f6},
}

var (
	blanks = strings.Split(" |  |   |    |        |\t|\t\t|\n|\n\n|\n\n\n|\r\n|\r|\u00a0|\u2003|\u3000|\u0085|\u2028|\u200b|\ufeff|\v|\f| \n|\n |\t\n ", "|")
	words  = strings.Split("the|of|and|Quire|token|compile|GPU|camelCase|snake_case|HTTPServer|naïve|café|straße|ÉCOLE|Привет|мир|ΑΒΓαβγ|"+
		"你好|世界|東京|ありがとう|カタカナ|한국어|สวัสดี|नमस्ते|العربية|שלום|Việt|ﬁﬂ|Ⅷ|①②|½|x²|日本語テキスト|🤗|👩‍👩‍👧‍👦|🇩🇪|👍🏽|e\u0301|a\u0308\u0323|İı|ſK|Dž", "|")
	contractions = strings.Split("'s|'t|'re|'ve|'m|'ll|'d|'S|'T|'RE|'Ve|'M|'LL|'D|’s|'x|''|'\u017f|don't|I'M|we'Ll|they've|'tis", "|")
	numbers      = strings.Split("0|1|12|123|1234|12345|1234567|3.14|1,000,000|0x1F|1e-9|２０２６|١٢٣|१२३|²³|1st|2nd|20:15|v1.2.3|007|9999999999", "|")
	codes        = strings.Split("if (x == 0) {\n\treturn;\n}|for i in range(10):\n    print(i)\n|a->b[i]++ && !c|<html>\n<br/>|{\"k\": [1, 2]}|//// ====|"+
		"x := y.(T)\n|#include <a.h>\n|\\n\\t\\\\|SELECT * FROM t;|λx.x|$HOME/.cache|https://a.b/c?d=e&f#g|user@example.org|```go\n|C:\\dir|---\n", "|")
	markup = strings.Split("<s>~</s>~<unk>~<pad>~<mask>~<|endoftext|>~<|im_start|>~<|im_end|>~<|begin_of_text|>~<|eot_id|>~<|start_header_id|>~<|user|>~"+
		"<|end|>~<|assistant|>~[INST]~[/INST]~<<SYS>>~<bos>~<eos>~<start_of_turn>~<turn|>~<0x0A>~<0xE2>~▁~▁▁~Ġthe~Ċ~<repo_name>~<fim_prefix>~"+
		"<BOS_TOKEN>~<|START_OF_TURN_TOKEN|>~[PAD151646]~<｜begin▁of▁sentence｜>~<|tool_call>~</think>~<unused7>~>>TITLE<<~<table>~õ~ø~ÿ", "~")
	broken = []string{"\x80", "\xff", "\xc3", "\xe4\xb8", "\xf0\x9f\x98", "\xfe\xfe"}
)

// piece is one stretch of a random text.
func piece(d *dice) string {
	switch d.roll(20) {
	case 0, 1, 2, 3:
		return pick(d, words)
	case 4, 5:
		return " " + pick(d, words)
	case 6, 7, 8:
		return pick(d, blanks)
	case 9:
		return pick(d, contractions)
	case 10, 11:
		return pick(d, numbers)
	case 12:
		return pick(d, codes)
	case 13:
		return pick(d, markup)
	case 14:
		return strings.Repeat(pick(d, []string{" ", "\n", "\t", "a", "0", "-", "=", "!", "é", "中", "😀", "\u3000", "ab", "\r\n", "."}), 1+d.roll(40))
	}
	block := pick(d, scripts)
	var b strings.Builder
	for range 1 + d.roll(6) {
		b.WriteRune(block[0] + rune(d.roll(int(block[1]-block[0]+1))))
	}
	return b.String()
}

// corpus makes n texts from a seed: words and scripts, white space, numbers, code, the spelling of special tokens,
// and in one of 50 some bytes that are not UTF-8.
func corpus(seed uint64, n int) []string {
	d := dice(seed)
	out := make([]string, n)
	for i := range out {
		var b strings.Builder
		for range 1 + d.roll(12) {
			b.WriteString(piece(&d))
			if d.roll(3) == 0 {
				b.WriteByte(' ')
			}
			if i%50 == 49 && d.roll(3) == 0 {
				b.WriteString(pick(&d, broken))
			}
		}
		out[i] = b.String()
	}
	return out
}
