// Package token turns text into token ids and back, as the model that will read them was trained to.
//
// A tokenizer is plain [Data], stored in a compiled program and made from a model file by [FromGGUF] or
// [FromHF]; [New] checks it and builds a [Tokenizer], which is immutable and safe for concurrent use.
//
// Encoding is a pipeline, and each file of the package is one stage of it, in this order:
//
//	added.go   cut the text at added tokens (special ones only when asked: user text is data, not markup)
//	norm.go    normalise each stretch: NFC, prefixes, ' ' to U+2581
//	split.go   cut it into words; scan.go has the common regular expressions written out by hand
//	merge.go   merge each word's bytes or characters, best pair first
//	decode.go  the way back, whole or as a stream that never shows half a character
//
// pretable.go lists the pre-tokenisers by the names that GGUF files use; gguf.go and hf.go read the two
// file formats. Ids equal llama.cpp's for the published vocabularies; where llama.cpp approximates a
// published regular expression, the published one is followed.
//
// Border law: this package knows no model, no device and no file system. It imports neither ir nor a
// frontend, so a service that embeds the runtime links no compiler.
package token
