package runtime

import (
	"context"
	"testing"

	"quire/runtime/program"
)

// What decoding holds of a cache lies between the formula and its whole pages, long after
// the window has moved on.
func TestCacheNeed(t *testing.T) {
	ctx := context.Background()
	p, _ := open(t, limits{})
	p.p.Caches[0] = program.Cache{Table: 0, Elem: "f32", Heads: 1, Dim: 3, PageBytes: 96}
	p.p.Caches[1] = program.Cache{Table: 1, Elem: "f16", Heads: 2, Dim: 1, PageBytes: 40} // with a summary
	s, err := p.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	defer s.Close(ctx)
	for range 60 {
		if _, err := s.Decode(ctx, 1); err != nil {
			t.Fatal(err)
		}
	}
	st, err := p.Stats(ctx)
	if err != nil {
		t.Fatal(err)
	}
	exact, paged := p.CacheNeed(s.Len())
	if want := int64(60*24 + (2+9)*8); exact != want || exact > st.CachePeak || st.CachePeak > paged || paged > exact+24*4+40*6 {
		t.Errorf("60 tokens: %d bytes by the formula, at most %d held, %d in whole pages", exact, st.CachePeak, paged)
	}
}
