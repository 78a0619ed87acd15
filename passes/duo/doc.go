// Package duo splits the KV heads of each layer into retrieval heads, which keep
// every token, and streaming heads, which keep the first few and the newest few:
// DuoAttention (Xiao et al., arXiv 2410.10819). Which head is which comes from
// gates that were trained for a model and published as tables.
//
//	%c1 = kv.append %c, %k, %v, %seq        %kr = heads %k {kv = [0, 2]}, %ks = heads %k {kv = [1, 3]}, ...
//	%a  = attention %q, %c1, %seq       =>  %r1 = kv.append %r, %kr, %vr, %seq
//	                                        %s1 = kv.append %s, %ks, %vs, %seq
//	                                        %ar = attention %qr, %r1, %seq
//	                                        %as = attention %qs, %s1, %seq {sink = 64, recent = 256}
//	                                        %a  = heads.merge %ar, %as {kv = [[0, 2], [1, 3]]}
//
// What the paper's code leaves loose is settled so: a streaming head sees the sink,
// the recent tokens before its own and its own; keys keep the rotation of their
// place in the text; no weight is permuted (the head lists are data to kernels); a
// mask is chosen over all layers, ties going to the lower layer and head. A prompt
// is read as if token by token (strict), or in the published form (chunked): dense
// and causal within a chunk, on top of what the cache kept from earlier chunks.
//
// A model without trained gates has a stand-in: the mean attention mass of each KV head
// outside sink and recent, measured on a text (tap.go makes the model show what that needs).
// It keeps attention mass, not retrieval: heads that look far back only when something is
// asked for rank low on plain text (tests/bench/quality prints what that costs).
//
// On a CPU a split layer has as many launches as a dense one: the linear appends to both
// caches and one launch attends both, by lists of heads that come with the launch.
//
// Read gates.go and mask.go (from a table to a mask), split.go (the pass), cost.go
// (what it saves), tap.go.
//
// testdata/before.svg and testdata/after.svg draw one layer without and with it; go
// generate makes them anew.
//
// Border law: imports quire/ir and quire/passes.
package duo

//go:generate go run quire/tools/quire graph testdata/layer.yaml --after siblings.merge-linears -o testdata/before.svg
//go:generate go run quire/tools/quire graph testdata/layer.yaml --duo testdata/layer.tsv --after duo.split-heads -o testdata/after.svg
