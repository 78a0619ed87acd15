package work

import "quire/ir/types/kvpage"

// rowGrid is a block a row: as many warps as have 512 of the row's values each to move.
func rowGrid(values int) Grid {
	w := (values + 511) / 512
	return Grid{Warps: min(max(w, 1), 16), PerBlock: 1, Shared: 128}
}

// Grid implements Gridded: the fewer warps, as a thread has dozens of values.
func (p Embed) Grid() Grid { return rowGrid(p.Dim / 2) }

// Grid implements Gridded.
func (p Norm) Grid() Grid { return rowGrid(p.Dim * p.Vectors()) }

// Grid implements Gridded.
func (p RopeTable) Grid() Grid { return rowGrid(16 * len(p.Freq)) }

// Grid implements Gridded.
func (p Rope) Grid() Grid { return rowGrid(p.Heads * p.Dim) }

// Grid implements Gridded.
func (p Gather) Grid() Grid { return rowGrid(p.Dim) }

// Grid implements Gridded.
func (p Slice) Grid() Grid { return rowGrid(p.Count) }

// Grid implements Gridded.
func (p TakeHeads) Grid() Grid { return rowGrid(len(p.List) * p.Dim) }

// Grid implements Gridded.
func (p MergeHeads) Grid() Grid { return rowGrid((p.A + p.B) * p.Dim) }

// Grid implements Gridded.
func (p Map) Grid() Grid { return rowGrid(p.Dim) }

// Grid implements Gridded.
func (p Round) Grid() Grid { return rowGrid(p.Dim) }

// Grid implements Gridded.
func (p KVStore) Grid() Grid {
	if kvpage.Bits(p.CacheEnc) > 0 { // a warp a vector
		return Grid{Warps: min(2*p.KVHeads, 16), PerBlock: 1, Shared: 128}
	}
	return rowGrid(2 * p.KVHeads * p.Dim)
}

// Grid implements Gridded: a row of logits keeps a block of 32 warps busy.
func (p Reduce) Grid() Grid {
	return Grid{Warps: min(max((p.Vocab+1023)/1024, 1), 32), PerBlock: 1, Shared: 256}
}
