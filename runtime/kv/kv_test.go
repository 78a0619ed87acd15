package kv_test

import (
	"errors"
	"testing"

	"pgregory.net/rapid"

	"quire/runtime/kv"
)

func num(n int) *int { return &n }

func TestWindowFreesPages(t *testing.T) {
	// Rows see 4 tokens before them and tokens 0, 1. Pages of 4.
	pool := kv.New([]kv.Table{{Page: 4}, {Page: 4, Sink: 2, Recent: num(4)}}, []int{100, 100}, 1000)
	s := pool.NewSequence()
	for range 40 {
		if err := s.Reserve(1); err != nil {
			t.Fatal(err)
		}
		if err := s.Commit(1); err != nil {
			t.Fatal(err)
		}
	}
	if got := pool.Stats(0); got.Used != 10 {
		t.Errorf("the full table uses %d pages, want 10", got.Used)
	}
	// The next row, 40, sees 36..39: page 9. Page 8 is slack, page 0 the sink.
	if got := pool.Stats(1); got.Used != 3 || got.Peak > 5 {
		t.Errorf("the window uses %d pages, at most %d, want 3 and at most 5", got.Used, got.Peak)
	}
	for i, p := range s.Pages(1) {
		if want := i == 0 || i >= 8; want != (p != kv.None) {
			t.Errorf("page %d is %d", i, p)
		}
	}
	s.Close()
	s.Close()
	if pool.Stats(0).Used != 0 || pool.Stats(1).Used != 0 || pool.Sequences() != 0 {
		t.Errorf("pages are left after Close: %+v %+v", pool.Stats(0), pool.Stats(1))
	}
}

// Case 30, LServe's ring of pages (2 of the sink, 5 local ones, 64 tokens each), kept here by free lists instead of a
// formula: after each token a sequence holds its sink's pages and those that its next row can see, at most the ring's
// 7 and one of slack; so where the ring writes page 7 over page 2, 2 is free by then.
func TestCase30Ring(t *testing.T) {
	const page, sink, local = 64, 2, 5
	pool := kv.New([]kv.Table{{Page: page, Sink: sink * page, Recent: num((local - 1) * page)}}, []int{sink + local + kv.Slack}, 1<<16)
	s := pool.NewSequence()
	defer s.Close()
	for tok := range 13 * page {
		if err := s.Reserve(1); err != nil {
			t.Fatalf("token %d: %v", tok, err)
		}
		if err := s.Commit(1); err != nil {
			t.Fatal(err)
		}
		for i, p := range s.Pages(0) {
			seen := i < sink || (i+1)*page > tok+1-(local-1)*page // of the next row
			if seen && p == kv.None || !seen && p != kv.None && (i+1+kv.Slack)*page <= tok+1-(local-1)*page {
				t.Fatalf("after token %d logical page %d is %d", tok, i, p)
			}
		}
	}
	if got := pool.Stats(0); got.Peak > sink+local+kv.Slack {
		t.Errorf("%d pages at most, the ring has %d", got.Peak, sink+local)
	}
}

func TestErrors(t *testing.T) {
	pool := kv.New([]kv.Table{{Page: 4}, {Page: 4}}, []int{100, 2}, 20)
	s := pool.NewSequence()
	if err := s.Reserve(9); !errors.Is(err, kv.ErrOutOfPages) {
		t.Errorf("error %v, want %v", err, kv.ErrOutOfPages)
	}
	if pool.Stats(0).Used != 0 {
		t.Error("a refused Reserve took pages of another table")
	}
	if err := s.Reserve(21); !errors.Is(err, kv.ErrContextFull) {
		t.Errorf("error %v, want %v", err, kv.ErrContextFull)
	}
	if err := s.Commit(1); err == nil {
		t.Error("Commit without Reserve succeeded")
	}
	s.Close()
	if err := s.Reserve(1); !errors.Is(err, kv.ErrClosed) {
		t.Errorf("error %v, want %v", err, kv.ErrClosed)
	}
}

// twin is the naive account of a sequence.
type twin struct {
	seq    *kv.Sequence
	length int
}

// What a sequence's rows can see is never another's to write, freed pages are reused, and
// all of it is given back.
func TestPoolAgainstModel(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		page := rapid.SampledFrom([]int{1, 4, 16}).Draw(t, "page")
		tables := []kv.Table{{Page: page}, {Page: page, Sink: rapid.IntRange(0, 9).Draw(t, "sink"), Recent: num(rapid.IntRange(0, 40).Draw(t, "recent"))}}
		limits := []int{rapid.IntRange(1, 60).Draw(t, "limit"), rapid.IntRange(1, 60).Draw(t, "window limit")}
		pool := kv.New(tables, limits, 200)
		var live []*twin
		pick := func() *twin {
			if len(live) == 0 {
				t.Skip("nothing is open")
			}
			return rapid.SampledFrom(live).Draw(t, "sequence")
		}
		t.Repeat(map[string]func(*rapid.T){
			"new": func(t *rapid.T) {
				if len(live) < 6 {
					live = append(live, &twin{seq: pool.NewSequence()})
				}
			},
			"append": func(t *rapid.T) {
				s, n := pick(), rapid.IntRange(0, 50).Draw(t, "tokens")
				if err := s.seq.Reserve(n); err != nil {
					if !errors.Is(err, kv.ErrOutOfPages) && !errors.Is(err, kv.ErrContextFull) {
						t.Fatal(err)
					}
					return
				}
				writable(t, tables, live, s, n)
				if rapid.Bool().Draw(t, "commit") {
					if err := s.seq.Commit(n); err != nil {
						t.Fatal(err)
					}
					s.length += n
				}
			},
			"release": func(t *rapid.T) { pick().seq.Release() },
			"truncate": func(t *rapid.T) {
				s := pick()
				n := rapid.IntRange(0, s.length).Draw(t, "to")
				if _, err := s.seq.Truncate(n); err == nil {
					s.length = n
				}
			},
			"fork": func(t *rapid.T) {
				s := pick()
				f, copies, err := s.seq.Fork()
				if err != nil {
					return
				}
				for _, c := range copies {
					if c.From == c.To {
						t.Fatalf("copy of page %d to itself", c.From)
					}
				}
				live = append(live, &twin{seq: f, length: s.length})
			},
			"close": func(t *rapid.T) {
				s := pick()
				s.seq.Close()
				for i := range live {
					if live[i] == s {
						live = append(live[:i], live[i+1:]...)
						break
					}
				}
			},
			"": func(t *rapid.T) { invariants(t, pool, tables, limits, live) },
		})
		for _, s := range live {
			s.seq.Close()
		}
		for i := range tables {
			if st := pool.Stats(i); st.Used != 0 || len(pool.Free(i)) != st.Touched {
				t.Fatalf("table %d after all closed: %+v, %d free", i, st, len(pool.Free(i)))
			}
		}
	})
}

// writable: the pages that the next n tokens go to belong to this sequence alone.
func writable(t *rapid.T, tables []kv.Table, live []*twin, s *twin, n int) {
	for i, tab := range tables {
		for tok := s.length; tok < s.length+n; tok++ {
			p := s.seq.Pages(i)[tok/tab.Page]
			if p == kv.None {
				t.Fatalf("table %d: token %d has no page", i, tok)
			}
			for _, o := range live {
				if o == s {
					continue
				}
				for _, q := range o.seq.Pages(i) {
					if p == q {
						t.Fatalf("table %d: token %d is written to page %d of another sequence", i, tok, p)
					}
				}
			}
		}
	}
}

func invariants(t *rapid.T, pool *kv.Pool, tables []kv.Table, limits []int, live []*twin) {
	for i, tab := range tables {
		used := map[int32]bool{}
		for _, s := range live {
			if s.seq.Len() != s.length {
				t.Fatalf("length %d, want %d", s.seq.Len(), s.length)
			}
			for _, p := range s.seq.Pages(i) {
				if p != kv.None {
					used[p] = true
				}
			}
			// Row s.length sees these tokens.
			for tok := range s.length {
				sees := tab.Recent == nil || tok < tab.Sink || s.length-tok <= *tab.Recent
				if sees && s.seq.Pages(i)[tok/tab.Page] == kv.None {
					t.Fatalf("table %d: token %d of %d is gone", i, tok, s.length)
				}
			}
		}
		st := pool.Stats(i)
		if st.Used != len(used) || st.Used > limits[i] || st.Peak < st.Used {
			t.Fatalf("table %d: %+v, %d pages are in use of %d", i, st, len(used), limits[i])
		}
		for _, p := range pool.Free(i) {
			if used[p] {
				t.Fatalf("table %d: page %d is free and in use", i, p)
			}
		}
	}
}

// Most is the most pages that growing by one token at a time ever holds, whatever the window.
func TestMost(t *testing.T) {
	for _, sink := range []int{0, 1, 4, 5} {
		for _, recent := range []int{0, 1, 3, 4, 5, 8, 11} {
			table := kv.Table{Page: 4, Sink: sink, Recent: &recent}
			pool := kv.New([]kv.Table{table}, []int{100}, 200)
			s := pool.NewSequence()
			for n := 1; n <= 60; n++ {
				if err := s.Reserve(1); err != nil {
					t.Fatal(err)
				}
				if got, want := pool.Stats(0).Peak, table.Most(n); got != want {
					t.Errorf("sink %d, recent %d: at most %d pages with %d tokens, expected %d", sink, recent, got, n, want)
				}
				if err := s.Commit(1); err != nil {
					t.Fatal(err)
				}
			}
		}
	}
}
