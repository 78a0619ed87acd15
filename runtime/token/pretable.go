package token

import "sort"

// preTokeniser is what tokenizer.ggml.pre stands for.
type preTokeniser struct {
	names    []string
	patterns []string // each isolates its matches

	ignoreMerges bool // see Data.IgnoreMerges
	addBOS       bool // unless the file says otherwise
	noBOS        bool // the default begin token of the format does not apply
	chars        bool // units are characters, not bytes
	metaspace    bool // ' ' is written as U+2581
	newlineRuns  bool // see Data.NewlineRuns
}

// Regular expressions that only this table uses. Where llama.cpp simplifies a published one (Tekken, GPT-4o,
// Youtu, Tiny Aya, Kimi: its engine has no letter cases and no class subtraction), the published one stands.
const (
	patDigits    = `\p{N}+`
	patDigits3   = `\p{N}{1,3}`
	patThousands = `\p{N}{1,3}(?=(?:\p{N}{3})*(?!\p{N}))`
	patTinyAya   = `\d{1,3}(?=(?:\d{3})*\b)`
	patSuperBPE  = `(?=(\d{3})+(?!\d))`
	patNewline   = `[\r\n]`
	patAnyNumber = `[0-9][0-9][0-9]`

	patPunctFalcon  = "[\\p{P}\\$\\+<=>\\^~\\|`]+"
	patPunctDefault = `[\p{P}\$\+<=>\^~\|]+`
	patSentence     = " ?[^(\\s|.,!?\u2026\u3002\uff0c\u3001\u0964\u06d4\u060c)]+"

	patKanaHan   = "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+"
	patDeepseek3 = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+` +
		`| ?[\p{P}\p{S}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+`
	patSpark = `[!"#$%&'()*+,\-./:;<=>?@\[\\\]^_` + "`" + `{|}~][A-Za-z]+|[^\r\n\p{L}\p{P}\p{S}]?[\p{L}\p{M}]+` +
		`| ?[\p{P}\p{S}]+|[\r\n]|\s+(?!\S)|\s+`
	// The published classes hold U+3000 (and U+2028), which llama.cpp takes for white space alone.
	patHanDeepseek   = `[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff-[\s]]+`
	patDeepseekPunct = "\\s?[!-/:-~\uff01-\uff0f\uff1a-\uff5e\u2018-\u201f\u3001-\u3002]+"
	patDeepseekWord  = "\\s?[" +
		"A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373" +
		"\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481" +
		"\u048a-\u052f\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf" +
		"\u1d00-\u1d2b\u1d6b-\u1d77\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d" +
		"\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc" +
		"\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115" +
		"\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139\u213c-\u213f\u2145-\u2149\u214e" +
		"\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d\ua680-\ua69b\ua722-\ua76f" +
		"\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a\uff41-\uff5a" +
		"\U00010400-\U0001044f\U000104b0-\U000104d3\U000104d8-\U000104fb\U00010c80-\U00010cb2\U00010cc0-\U00010cf2" +
		"\U000118a0-\U000118df\U0001e900-\U0001e943]+"

	upper = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]`
	lower = `[\p{Ll}\p{Lm}\p{Lo}\p{M}]`
	cased = `[^\r\n\p{L}\p{N}]?` + upper + `*` + lower + `+`
	caps  = `[^\r\n\p{L}\p{N}]?` + upper + `+` + lower + `*`
	slash = `| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+`

	patTekken       = cased + `|` + caps + `|\p{N}` + slash
	patGPT4o        = cased + apostrophe + `?|` + caps + apostrophe + `?|\p{N}{1,3}` + slash
	patYoutu        = cased + apostrophe + `?|` + caps + apostrophe + `?|\p{N}` + slash
	patYoutuScripts = "[\uac00-\ud7a3\u3131-\u318e]+|[\uff01\u2026\u201c\u201d\u2018\u2019\u2014\uff1a\uff1b\uff0c" +
		"\u3001-\u303f\ufe30-\ufe4f]+|[\u3105-\u312f]+|" + patKanaHan
	patGraniteMulti = `[^\r\n\p{L}\p{N}]?((?=[\p{L}\p{M}])([^a-z]))*((?=[\p{L}\p{M}])([^A-Z]))+` + apostrophe + `?` +
		`|[^\r\n\p{L}\p{N}]?((?=[\p{L}\p{M}])([^a-z]))+((?=[\p{L}\p{M}])([^A-Z]))*` + apostrophe + `?|\p{N}{1,3}` + slash

	upperKimi = `[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}-[\p{Han}]]`
	lowerKimi = `[\p{Ll}\p{Lm}\p{Lo}\p{M}-[\p{Han}]]`
	patKimi   = `\p{Han}+|[^\r\n\p{L}\p{N}]?` + upperKimi + `*` + lowerKimi + `+` + apostrophe + `?|[^\r\n\p{L}\p{N}]?` +
		upperKimi + `+` + lowerKimi + `*` + apostrophe + `?|\p{N}{1,3}` + tailLlama

	patCascade = apostrophe + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+` +
		`|\s{512}(?!\S)|\s{256}(?!\S)|\s{128}(?!\S)|\s{64}(?!\S)|\s{32}(?!\S)|\s{16}(?!\S)|\s{8}(?!\S)` +
		`|\s{4}(?!\S)|\s{1,2}(?!\S)|\s{1}`
	patBailing = `'(?:[sSdDmMtT]|[lL][lL]|[vV][eE]|[rR][eE])|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` +
		`| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+`
	patSeed      = apostrophe + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1}| ?[^\s\p{L}\p{N}\r\n]+|\s*[\r\n]+|\s+(?!\S)|\s+`
	patUfakzeka  = `[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}` + tailLlama
	patMiniCPM   = apostrophe + `|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}+` + tailLlama
	patExaoneMoE = apostrophe + `|[^\r\n\p{L}\p{N}]?(?:\p{L}\p{M}*(?: \p{L}\p{M}*)*)+|\p{N}` +
		`| ?[^\s\p{L}\p{N}]+[\r\n/]?|\s*[\r\n]|\s+(?!\S)|\s+`
	patAsian = "[\u4e00-\u9fff\u3400-\u4dbf\u8c48-\ufaff\u3040-\u309f\u30a0-\u30ff\uff65-\uff9f\u2f00-\u2fdf\u0e40-\u0e7f" +
		"\u0e80-\u0eff\u1780-\u17ff\u1000-\u109f\uaa60-\uaa7f\ua9e0-\ua9ff\uac00-\ud7af\u1100-\u11ff]+"
)

// preTokenisers is llama.cpp's table (src/llama-vocab.cpp of the version in llama-cpp-python 0.3.36), a row
// for each set of regular expressions and flags.
var preTokenisers = []preTokeniser{
	{names: []string{"default"}, patterns: []string{patPunctDefault, patGPT2, patDigits, patAnyNumber}},
	{names: []string{"llama3", "llama-v3", "llama-bpe", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2", "jina-v5-nano"},
		patterns: []string{patLlama3}, ignoreMerges: true, addBOS: true},
	{names: []string{"dbrx", "smaug-bpe"}, patterns: []string{patLlama3}},
	{names: []string{"chatglm-bpe"}, patterns: []string{patLlama3}, noBOS: true},
	{names: []string{"glm4", "glm5"}, patterns: []string{patLlama3}, noBOS: true, ignoreMerges: true},
	{names: []string{"jais-2"}, patterns: []string{patCascade}},
	{names: []string{"minicpm5"}, patterns: []string{patDigits3, patMiniCPM}, ignoreMerges: true},
	{names: []string{"deepseek-llm"}, patterns: []string{
		patNewline, patDeepseekWord, patDeepseekPunct, `\s+$`, patHanDeepseek, patDigits}},
	{names: []string{"deepseek-coder"}, patterns: []string{patNewline, `\s?\p{L}+`, `\s?\p{P}+`, patHanDeepseek, patDigit}},
	{names: []string{"deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"}, patterns: []string{patDigits3, patKanaHan, patDeepseek3}},
	{names: []string{"spark2_5"}, patterns: []string{patDigits3, patKanaHan, patSpark, patDigit}},
	{names: []string{"youtu"}, patterns: []string{patYoutuScripts, patYoutu}, ignoreMerges: true},
	{names: []string{"falcon"}, patterns: []string{patPunctFalcon, patGPT2, patAnyNumber}},
	{names: []string{"starcoder", "refact", "command-r", "smollm", "codeshell", "exaone", "minerva-7b", "mellum2"},
		patterns: []string{patDigit, patGPT2}},
	{names: []string{"gpt-2", "phi-2", "jina-es", "jina-de", "gigachat", "jina-v2-es", "jina-v2-de", "a.x-4.0", "mellum",
		"modern-bert", "jina-v1-en", "jina-v2-code", "roberta-bpe", "mpt", "olmo", "jais", "trillion", "granite-docling", "exaone4"},
		patterns: []string{patGPT2}},
	{names: []string{"qwen2", "deepseek-r1-qwen", "kormo", "f2llmv2", "megrez", "stablelm2", "hunyuan", "solar-open", "grok-2"},
		patterns: []string{patQwen2}},
	{names: []string{"qwen35"}, patterns: []string{patQwen35}},
	{names: []string{"laguna"}, patterns: []string{patLines, patQwen2}},
	{names: []string{"ufakzeka"}, patterns: []string{patUfakzeka}},
	{names: []string{"poro-chat", "bloom", "gpt3-finnish"}, patterns: []string{patSentence}},
	{names: []string{"viking"}, patterns: []string{patSentence, patDigit}},
	{names: []string{"tekken"}, patterns: []string{patTekken}, ignoreMerges: true, addBOS: true},
	{names: []string{"chameleon"}, addBOS: true, patterns: []string{
		`<sentinel:[0-9]+>`, `(IMGIMG)((A|B|C|D|E|F|G|H|I){1,4})Z`, `([\t\n]|    |  )`, patDigit,
		"[\\p{P}!-/:-@\\[-`{-~]", patGPT2}},
	{names: []string{"gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"}, patterns: []string{patGPT4o}},
	{names: []string{"granite-embed-multi-97m"}, patterns: []string{patGraniteMulti}, ignoreMerges: true},
	{names: []string{"tiny_aya", "cohere2moe"}, patterns: []string{patTinyAya, patGPT4o}},
	{names: []string{"kimi-k2"}, patterns: []string{patKimi}},
	{names: []string{"superbpe"}, patterns: []string{patDigits, patSuperBPE}},
	{names: []string{"bailingmoe", "bailingmoe2", "llada-moe"}, patterns: []string{patBailing}},
	{names: []string{"seed-coder"}, patterns: []string{patSeed}},
	{names: []string{"exaone-moe"}, patterns: []string{patExaoneMoE}},
	{names: []string{"afmoe"}, patterns: []string{patThousands, patAsian, patDeepseek3}},
	{names: []string{"gemma4", "granite-embed-multi-311m"}, patterns: []string{patLines},
		chars: true, metaspace: true, newlineRuns: true, addBOS: true},
	{names: []string{"sarvam-moe"}, patterns: []string{patLines}, chars: true, metaspace: true},
}

// findPreTokeniser looks a name up; "" is the default.
func findPreTokeniser(name string) (preTokeniser, bool) {
	if name == "" {
		name = "default"
	}
	for _, p := range preTokenisers {
		for _, n := range p.names {
			if n == name {
				return p, true
			}
		}
	}
	return preTokeniser{}, false
}

// PreTokenisers lists the names that tokenizer.ggml.pre may have, sorted.
func PreTokenisers() []string {
	var out []string
	for _, p := range preTokenisers {
		out = append(out, p.names...)
	}
	sort.Strings(out)
	return out
}
