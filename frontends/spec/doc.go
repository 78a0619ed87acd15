// Package spec reads models written down in YAML: sizes, rotary embedding, windows, encodings of the weights, and the
// model options that the command line spells the same way (awq, duo, quest, kv).
//
// Border law: this package imports frontends/decoder, ir (for its enumerations), ir/types/... and a YAML parser. It
// opens no file but what Parse is given, and runs no pass: options are parsed and checked here, and applied elsewhere.
//
// Reading order: spec.go (what a spec means), keys.go (the table of keys: what is not a row of it does not exist),
// options.go (model options and their command-line form), parse.go, tree.go (YAML to a small tree with positions),
// error.go. keys.md is printed from the table; examples/ holds specs of well-known models.
//
//	family: llama
//	layers: 32
//	hidden: 4096
//	heads: 32
//	kv_heads: 8
//	ffn: 14336
//	vocab: 128256
//	context: 8192
//	norm_eps: 1e-5
//	rope: {base: 500000}
//	quantisation: q4_0
//
// Errors come all at once, each with line, column and a caret:
//
//	llama.yaml:5:11: kv_heads: 5, expected a divisor of the 32 query heads
//	  kv_heads: 5
//	            ^
package spec
