// Package quest makes a decode step read only the pages of the cache that matter to
// its query: Quest (Tang et al., ICML 2024, arXiv 2406.10774), over hierarchical
// pages as LServe has them (Yang et al., arXiv 2502.14866).
//
// Every page keeps the least and the largest of each channel of its keys, in one
// summary or several. They belong to the cache: kv.append keeps them. A step scores
// each closed page by what the product of the query and any key in it can be at
// most, picks the best pages and the last one, and attends to those:
//
//	table @full {page = 64}                  table @full {page = 64, summary = 16}
//	%a = attention %q, %c1, %seq         =>  %e = page.estimate %q, %c1, %seq
//	                                         %p = page.topk %e, %seq {budget = 64, page = 64}
//	                                         %a = attention.paged %q, %c1, %seq, %p
//
// What the papers' own code leaves loose is settled so: a row reads ceil(budget /
// page) pages, the last one among them, and all pages while that covers them, at
// any length; ties go to the lower page. The query heads of a KV group share one
// selection (or each has its own): each head's scores less that head's best, then
// the largest. Rows of a prompt read everything, in company of decode rows too, so
// no token depends on the others of its step. The first two layers read everything,
// however many layers there are. Between selections (every Reselect tokens, at places
// in the text, so that a page opens with one) a sequence reads the pages of the last;
// a prompt in between voids them; picks lie with the page of the newest token, which no
// other sequence has. Streaming heads and windows have nothing to select.
//
// testdata/before.svg and testdata/after.svg draw one layer without and with it; go
// generate makes them anew.
//
// Read select.go (the pass), layers.go (which layer an attention is in), traffic.go
// (what it saves).
//
// Border law: imports quire/ir and quire/passes.
package quest

//go:generate go run quire/tools/quire graph testdata/layer.yaml --after siblings.merge-linears -o testdata/before.svg
//go:generate go run quire/tools/quire graph testdata/layer.yaml --quest budget=512,dense-layers=0 --after quest.select-pages -o testdata/after.svg
