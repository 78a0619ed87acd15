package program_test

import (
	"testing"

	"quire/ir/types"
	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/runtime/program"
)

// A run costs its texts, and what its kernel reads of each slot's cache.
func TestTally(t *testing.T) {
	l := program.Launch{Bytes: "8*N + P", Flops: "2*N"}
	plain, err := l.Tally(work.Gather{Dim: 4})
	if err != nil {
		t.Fatal(err)
	}
	att := work.Attention{Phase: work.Decode, Heads: 2, KVHeads: 1, Dim: 16, CacheEnc: layout.F16, Page: 64, Split: 64}
	reads, err := l.Tally(att)
	if err != nil {
		t.Fatal(err)
	}
	before, added := []int32{10, 100}, []int32{1, 1}
	b := types.Bindings{"N": 2, "P": 5}
	plain.Add(b, before, added)
	plain.Add(b, before, added)
	if plain.Calls != 2 || plain.Bytes != 42 || plain.Flops != 8 {
		t.Errorf("two runs are %d calls, %v bytes, %v flops, want 2, 42, 8", plain.Calls, plain.Bytes, plain.Flops)
	}
	reads.Add(b, before, added)
	wantBytes, wantFlops := 21.0, 4.0
	for i := range before {
		bytes, flops := work.Reader(att).Read(int64(before[i]), int64(added[i]))
		wantBytes, wantFlops = wantBytes+float64(bytes), wantFlops+float64(flops)
	}
	if wantBytes <= 21 || reads.Bytes != wantBytes || reads.Flops != wantFlops {
		t.Errorf("a run over caches is %v bytes, %v flops, want %v, %v", reads.Bytes, reads.Flops, wantBytes, wantFlops)
	}
	if plain.Clear(); plain.Calls != 0 || plain.Bytes != 0 || plain.Flops != 0 {
		t.Errorf("cleared: %+v", plain)
	}
	if _, err := (&program.Launch{Bytes: "8*"}).Tally(att); err == nil {
		t.Error("a broken text is read")
	}
}
