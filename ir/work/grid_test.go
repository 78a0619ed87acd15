package work

import "testing"

// portable is a family that says nothing of GPUs.
type portable struct{ Params }

type wide struct{ Norm }

func (wide) Grid() Grid { return Grid{Warps: 16, Shared: 1024, PerBlock: 1, Resident: 2} }

func TestGrid(t *testing.T) {
	for _, c := range []struct {
		p     Params
		items int64
		want  int64
	}{
		{portable{}, 0, 0},
		{portable{}, 1, 1},
		{portable{}, 9, 3},
		{portable{}, 1 << 40, 1<<31 - 1},
		{wide{Norm{Dim: 576}}, 7, 7},
		{wide{Norm{Dim: 576}}, 1000, 264},
	} {
		if got := GridOf(c.p).Blocks(c.items, 132); got != c.want {
			t.Errorf("%T, %d items: %d blocks, want %d", c.p, c.items, got, c.want)
		}
	}
}

// A family whose item is a row gives it a block, as wide as the row is long.
func TestRowGrid(t *testing.T) {
	for _, c := range []struct {
		p     Params
		warps int
	}{
		{Norm{Dim: 64}, 1}, {Norm{Dim: 4096}, 8}, {Norm{Dim: 128, Per: 8}, 2}, {Map{Dim: 28672}, 16}, {Reduce{Vocab: 128256}, 32},
	} {
		if g := GridOf(c.p); g.Warps != c.warps || g.PerBlock != 1 {
			t.Errorf("%s: %+v, want a block of %d warps a row", c.p.Key(), g, c.warps)
		}
	}
}
