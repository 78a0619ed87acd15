package token

import "slices"

// Tokens that end generation in the models that have them, by name (llama.cpp, src/llama-vocab.cpp): files
// seldom say it, and often call them normal tokens.
var endNames = []string{
	"<|eot_id|>", "<|im_end|>", "<|end|>", "<|return|>", "<|call|>", "<|flush|>", "<|calls|>", "<end_of_turn>",
	"<|endoftext|>", "</s>", "<|eom_id|>", "<EOT>", "_<EOT>", "[EOT]", "[EOS]", "<|end_of_text|>",
	"<end_of_utterance>", "<eos>", "<turn|>", "<|tool_response>", "<\uff5cend\u2581of\u2581sentence\uff5c>", "[e~[",
	// fill-in-the-middle padding and file borders: nothing after them answers a prompt
	"<|fim_pad|>", "<fim-pad>", "<fim_pad>", "<PAD>", "[PAD]",
	"<|fim_repo|>", "<|repo_name|>", "<fim-repo>", "<REPO>", "<reponame>", "<|file_sep|>",
}

// Tokens that steer a model and are control tokens whatever the file says.
var controlNames = []string{
	"<|fim_prefix|>", "<fim-prefix>", "<fim_prefix>", "<\uff5cfim\u2581begin\uff5c>", "<PRE>", "\u2581<PRE>", "<|code_prefix|>", "<|prefix|>",
	"<|fim_suffix|>", "<fim-suffix>", "<fim_suffix>", "<\uff5cfim\u2581hole\uff5c>", "<SUF>", "\u2581<SUF>", "<|code_suffix|>", "<|suffix|>",
	"<|fim_middle|>", "<fim-middle>", "<fim_middle>", "<\uff5cfim\u2581end\uff5c>", "<MID>", "\u2581<MID>", "<|code_middle|>", "<|middle|>",
}

// Tokens of gpt-oss that a reader of its output must see.
var shownNames = []string{"<|channel|>", "<|message|>", "<|start|>", "<|constrain|>"}

// wellKnown completes types and EOG by name.
func wellKnown(d *Data, ids map[string]int32) {
	for _, name := range controlNames {
		if id, ok := ids[name]; ok {
			d.Types[id] = Control
		}
	}
	for _, name := range endNames {
		if id, ok := ids[name]; ok {
			d.Types[id] = Control
			d.EOG = append(d.EOG, id)
		}
	}
	for _, name := range shownNames {
		if id, ok := ids[name]; ok {
			d.Types[id] = UserDefined
		}
	}
	has := func(names ...string) bool {
		for _, n := range names {
			if _, ok := ids[n]; !ok {
				return false
			}
		}
		return true
	}
	// In these vocabularies the name means something else.
	if has("<|return|>", "<|call|>", "<|end|>") || has("<|flush|>", "<|calls|>", "<|end|>") {
		d.demote(ids["<|end|>"], UserDefined)
	}
	if has("<|tool_response>", "</s>") || has("<|plamo:eos|>", "</s>") {
		d.demote(ids["</s>"], Normal)
	}
	slices.Sort(d.EOG)
	d.EOG = slices.Compact(d.EOG)
}

// demote takes a token off the list of those that end generation.
func (d *Data) demote(id int32, to Type) {
	d.Types[id] = to
	d.EOG = slices.DeleteFunc(d.EOG, func(e int32) bool { return e == id && e != d.EOS })
}
