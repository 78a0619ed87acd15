package kernels

import (
	"fmt"
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// fill gives the tokens that slots hold before the step keys and values.
func (c *cacheOf) fill() {
	x := make([]float32, c.dim)
	for s, n := range c.leng {
		for i := range int(n) {
			for h := range 2 * c.kv {
				for d := range x {
					x[d] = float32(rand.NormFloat64())
				}
				c.at().Encode(c.pageAt(s, i), kvpage.Half(h%2), h/2, i%c.page, x)
			}
		}
	}
}

// checkSummaries holds every summary that the step's rows have touched against the keys
// that are stored: none of a token that is not there.
func (c *cacheOf) checkSummaries(t *testing.T, name string) {
	t.Helper()
	if c.summary == 0 {
		return
	}
	for n := range c.rows {
		slot, i := c.index(n)
		end := int(c.leng[slot]) // of what is summarised: the sequence's, or before
		for _, s := range c.slot {
			if int(s) == slot {
				end++
			}
		}
		end = min(end, i-i%c.summary+c.summary)
		for h := range c.kv {
			for d := range c.dim {
				ends := []float32{float32(math.Inf(-1)), float32(math.Inf(1))}
				for j := i - i%c.summary; j < end; j++ {
					x := c.vector(kvpage.Key, slot, j, h)[d]
					ends[0], ends[1] = max(ends[0], x), min(ends[1], x)
				}
				kvpage.Round(kvpage.SummaryEnc(c.enc), ends)
				hi, lo := ends[0], ends[1]
				if a, b := c.at().Summarised(c.pageAt(slot, i), h, i%c.page/c.summary, d); a != hi || b != lo {
					t.Fatalf("%s: slot %d, tokens %d to %d, head %d, channel %d: summary %v..%v, expected %v..%v", name, slot, i-i%c.summary, end, h, d, b, a, lo, hi)
				}
			}
		}
	}
}

// Cases 4 and 5 on a machine: summaries of keys appended in any cuts are those of the keys
// at once, whatever the pages held before.
func TestSummariesOfAppendedKeys(t *testing.T) {
	parallel(t)
	for _, tgt := range targets(t) {
		for _, c := range []struct {
			enc           layout.Enc
			kv, dim       int
			page, summary int
		}{{layout.F16, 3, 32, 64, 16}, {layout.F32, 1, 10, 16, 16}, {layout.BF16, 2, 24, 96, 48}, {layout.F16, 1, 7, 32, 32}, {kvpage.Q4, 2, 32, 64, 16}, {kvpage.Q8, 1, 24, 96, 48}, {kvpage.Q4, 1, 7, 32, 32}} {
			p := work.KVStore{KVHeads: c.kv, Dim: c.dim, CacheEnc: c.enc, Page: c.page, Summary: c.summary}
			l := open(t, tgt, p)
			for _, cuts := range [][]int{{130}, {1, 1, 1, 13, 1, 47, 1, 1, 30, 34}, {15, 2, 64, 49}} {
				// two sequences, the second without the last row of the first step
				all := newCacheOf(t, cacheOf{enc: c.enc, kv: c.kv, dim: c.dim, page: c.page, summary: c.summary}, []int{0, 0}, []int{130, 129})
				done := []int{0, 0}
				for i, n := range cuts {
					news := []int{n, n}
					if i == 0 {
						news[1]--
					}
					step := newCacheOf(t, cacheOf{enc: c.enc, kv: c.kv, dim: c.dim, page: c.page, summary: c.summary}, done, news)
					step.bytes, step.pages, step.maxPages = all.bytes, all.pages, all.maxPages
					k, v := random(t, max(1, step.rows*c.kv*c.dim), 1), random(t, max(1, step.rows*c.kv*c.dim), 1)
					l.bind(t, 0, p, step.dims(), step.operands(map[string]uintptr{"k": addr(k), "v": addr(v)})).run(4)
					step.checkSummaries(t, fmt.Sprintf("%s %s cuts %v", tgt.Name, p.Key(), cuts))
					done = []int{done[0] + news[0], done[1] + news[1]}
				}
			}
		}
	}
}
