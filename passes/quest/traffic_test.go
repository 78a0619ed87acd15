package quest_test

import (
	"fmt"
	"testing"

	"quire/ir"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/passes/quest"
)

// Bytes of one KV head's token (keys and values, scales and zeros of codes with them) and
// of a summary, for heads of 64 dims.
var sizes = []struct {
	enc            layout.Enc
	token, summary float64
}{
	{layout.F32, 2 * 64 * 4, 2 * 64 * 4},
	{layout.F16, 2 * 64 * 2, 2 * 64 * 2},
	{layout.BF16, 2 * 64 * 2, 2 * 64 * 2},
	{kvpage.Q8, 2 * (64 + 4), 2 * 64 * 2},
	{kvpage.Q4, 2 * (32 + 4), 2 * 64 * 2},
}

// Case 14 for the kernels, of every cache: what a decode row's two launches read of all KV
// heads is the formula's, less what is not there of the last page, which has no summary to
// read either; of heads that a window and a sink bound (Duo), what these leave.
func TestCase14Kernels(t *testing.T) {
	const kv, stream, group, sink, recent = 3, 2, 3, 16, 240
	for _, z := range sizes {
		for _, per := range []ir.Per{ir.PerGroup, ir.PerHead} {
			for _, budget := range []int{64, 512, 4096} {
				o := quest.Options{Budget: budget, Page: 16, PhysicalPage: 64, Per: per}
				full := work.Attention{Phase: work.Decode, Heads: kv * group, KVHeads: kv, Dim: 64, Scale: 1, CacheEnc: z.enc, Page: 64, Summary: 16, Split: 256, Budget: o.Pages(), PerHead: per == ir.PerHead}
				sel := work.PageSelect{Heads: kv * group, KVHeads: kv, Dim: 64, Scale: 1, PerHead: full.PerHead, CacheEnc: z.enc, Page: 64, Summary: 16, Budget: o.Pages()}
				duo := work.HeadGroups{Full: full, Stream: full, List: []int{0, 2, 4, 1, 3}}
				duo.Stream.Heads, duo.Stream.KVHeads, duo.Stream.Window, duo.Stream.Sink = stream*group, stream, recent+1, sink
				duo.Stream.Summary, duo.Stream.Budget, duo.Stream.PerHead = 0, 0, false
				among := sel
				among.Among, among.List = (kv+stream)*group, []int{0, 2, 4}
				for _, p := range []work.Params{full, sel, duo, among} {
					if err := p.Validate(); err != nil {
						t.Fatal(err)
					}
				}
				for _, before := range []int{0, 63, 64, 255, 256, 257, 511, 512, 1000, 4095, 8000, 8191} {
					what := fmt.Sprintf("%s, budget %d, per %d, %d tokens", z.enc, budget, per, before+1)
					want := o.Traffic(before+1, group, kv*z.token, kv*z.summary) - slack(o, before, group, kv*z.token, kv*z.summary)
					if got := reads(before, full, sel); got != want {
						t.Errorf("%s: %v bytes, the formula has %v", what, got, want)
					}
					want += quest.Dense(min(before+1, sink+recent+1), stream*z.token)
					if got := reads(before, duo, among); got != want {
						t.Errorf("%s: %v bytes with heads that stream, the formula has %v", what, got, want)
					}
				}
				if a, _ := full.Read(1000, 20); float64(a) != quest.Dense(1020, kv*z.token) {
					t.Errorf("%s: a prompt reads %d bytes, expected all", z.enc, a)
				}
			}
		}
	}
}

// slack is what the formula has above the kernels: the places of the last page that no token
// has yet, in each list, and its summaries; and below them: lists of query heads that share
// pages are counted apart, where together they have more than there are.
func slack(o quest.Options, before, group int, token, summary float64) float64 {
	picked := o.Pages() * o.PhysicalPage
	if before+1 <= picked {
		return 0
	}
	last := before%o.PhysicalPage + 1
	if o.Per == ir.PerGroup {
		group = 1
	}
	return float64(group*(o.PhysicalPage-last))*token + float64((last+o.Page-1)/o.Page)*summary - float64(max(0, group*picked-before-1))*token
}

// reads is what launches say that one row after so many tokens reads.
func reads(before int, launches ...work.Reader) (sum float64) {
	for _, l := range launches {
		n, _ := l.Read(int64(before), 1)
		sum += float64(n)
	}
	return sum
}
