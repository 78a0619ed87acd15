package interp

import (
	"math"
	"math/rand/v2"
	"testing"

	"quire/ir"
	"quire/ir/types"
)

// The tokens that MassKept counts are those that the ops read: dense attention over values of
// one at the tokens that selection and window leave, and of zero elsewhere, is the mass.
func TestMassKeptIsWhatOpsRead(t *testing.T) {
	rng := rand.New(rand.NewPCG(5, 5))
	const n, heads, kv, d = 41, 6, 2, 4
	q, k := make([]float64, heads*d), NewTensor(types.Plain(types.F32), n, kv, d)
	for i := range q {
		q[i] = 2 * rng.NormFloat64()
	}
	for i := range k.Data {
		k.Data[i] = rng.NormFloat64()
	}
	a := ir.AttentionAttrs{Scale: 0.5, Cap: 6}
	for _, s := range []Kept{
		{},
		{Streams: []bool{true, false}, Sink: 3, Recent: 5},
		{Budget: 3, Page: 8, Summary: 4, Per: ir.PerGroup},
		{Budget: 2, Page: 4, Summary: 4, Per: ir.PerHead},
		{Streams: []bool{false, true}, Sink: 0, Recent: 2, Budget: 4, Page: 4, Summary: 2},
		{Budget: 6, Page: 8, Summary: 4},
	} {
		got, err := MassKept(q, k, a, s)
		if err != nil {
			t.Fatal(err)
		}
		for h := range heads {
			if want := opsMass(t, q, k, a, s, h); math.Abs(got[h]-want) > 1e-12 {
				t.Errorf("%+v head %d: %v of the mass, the ops read %v", s, h, got[h], want)
			}
		}
	}
	if _, err := MassKept(q, k, a, Kept{Streams: []bool{true}}); err == nil {
		t.Error("classes of another number of heads: no error")
	}
}

// opsMass runs the ops' own selection for one head, and attention over it.
func opsMass(t *testing.T, q []float64, k *Tensor, a ir.AttentionAttrs, s Kept, head int) float64 {
	n, kv, d := k.Shape[0], k.Shape[1], k.Shape[2]
	heads := len(q) / d
	at, group := head*kv/heads, heads/kv
	var entries, read []Entry
	var sums []Summary
	for j := range n {
		e := Entry{Index: j, K: k.Data[j*kv*d : (j+1)*kv*d], V: make([]float64, kv*d)}
		entries, sums = append(entries, e), summarise(sums, s.Summary, e)
	}
	switch recent := s.Recent; {
	case s.Streams != nil && s.Streams[at]:
		for _, e := range entries {
			if visible(ir.AttentionAttrs{Sink: s.Sink, Recent: &recent}, n-1, e.Index) {
				read = append(read, e)
			}
		}
	case s.Budget == 0:
		read = entries
	default:
		closed := (n - 1) / s.Page
		var scores [][]float64
		for h := range heads {
			scores = append(scores, pageScores(sums[:closed*s.Page/s.Summary], s.Page/s.Summary, q[h*d:(h+1)*d], h*kv/heads*d, a.Scale))
		}
		row := scores[head]
		if s.Per == ir.PerGroup {
			row = shareScores(scores[at*group : (at+1)*group])
		}
		pages := topPages(row, closed+1, s.Budget)
		for _, e := range entries {
			if pages == nil {
				read = append(read, e)
			}
			for _, p := range pages {
				if e.Index/s.Page == p {
					read = append(read, e)
				}
			}
		}
	}
	for _, e := range read {
		for i := range d {
			entries[e.Index].V[at*d+i] = 1
		}
	}
	out := make([]float64, d)
	attend(a, n-1, entries, at*d, q[head*d:(head+1)*d], out)
	return out[0]
}
