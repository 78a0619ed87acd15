// Package kvquant keeps keys and values as codes of 8 or 4 bits: KV8 and KV4, as QServe (Lin
// et al., arXiv 2405.04532) and DuoAttention's demonstration (arXiv 2410.10819) have them,
// asymmetric, with a scale and a zero for each head's vector of each token.
//
//	cache @kv0: kv<f16>[8, 128] on @full   =>   cache @kv0: kv<q4>[8, 128] on @full
//
// The encoding is in the type of a cache, so nothing else of the module changes: kv.append
// quantises, attention reads values back, and so do page summaries, which bound the keys as
// they are attended. Every cache of keys and values is quantised, of retrieval and of
// streaming heads, under a window or not; a cache of picks is none. The rows of a step are
// attended as stored too: a token's result does not depend on the cut of its prompt.
//
// What is kept of a vector, and where its bytes lie, is ir/types/kvpage's. Quantised caches
// are appended to by a kernel of their own, since a code needs its whole head, which a
// linear's item need not have: the linear leaves keys and values in buffers.
//
// testdata/before.svg and testdata/after.svg draw one layer without and with it; go
// generate makes them anew.
//
// Read quantise.go.
//
// Border law: imports quire/ir and quire/passes.
package kvquant

//go:generate go run quire/tools/quire graph testdata/layer.yaml --after siblings.merge-linears -o testdata/before.svg
//go:generate go run quire/tools/quire graph testdata/layer.yaml --kv int4 --after kvquant.quantise-caches -o testdata/after.svg
