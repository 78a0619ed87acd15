package work

// HeadGroupsGPU is HeadGroups with Phase Decode on a GPU: items of long and of short caches
// fill the device together. It is two DecodeGPU in one launch, whose heads stand among each
// other's in q and o.
//
// Operands: as HeadGroups, without C.
//
// Items: those of Full as DecodeGPU has them; then, for the kv heads of Stream, as many
// splits as a window and its sink can need.
type HeadGroupsGPU struct {
	HeadGroups
	Blocks int // items that fill the device
}

// Family implements Params.
func (p HeadGroupsGPU) Family() string { return "groups_gpu" }

// Key implements Params.
func (p HeadGroupsGPU) Key() string {
	return key("groups_gpu", "of", p.HeadGroups.Key(), "blocks", p.Blocks)
}

// Classes are the kernels of both classes of heads alone.
func (p HeadGroupsGPU) Classes() (full, stream DecodeGPU) {
	return DecodeGPU{p.Full, p.Blocks}, DecodeGPU{p.Stream, p.Blocks}
}

// Validate implements Params.
func (p HeadGroupsGPU) Validate() error {
	full, stream := p.Classes()
	for _, a := range []Params{full, stream, p.HeadGroups} {
		if err := a.Validate(); err != nil {
			return err
		}
	}
	return nil
}

// Operands implements Params.
func (p HeadGroupsGPU) Operands() []Operand {
	all := p.HeadGroups.Operands()
	return all[:len(all)-1] // C is known to the device alone
}

// StreamSplits is the number of items of one row's share of a kv head of Stream.
func (p HeadGroupsGPU) StreamSplits(rows int64) int64 {
	_, stream := p.Classes()
	return min(stream.Splits(rows), stream.windowSplits())
}

// windowSplits is how many items the tokens of a sink and a window are for, at most.
func (p DecodeGPU) windowSplits() int64 {
	sink, window := ceil(int64(p.Sink), TileGPU), ceil(int64(p.Window), TileGPU)+1
	return max(1, ceil(sink+window, int64(p.Split/TileGPU)))
}

// Items implements Params.
func (p HeadGroupsGPU) Items(d Dims) int64 {
	full, stream := p.Classes()
	return full.Items(d) + d.N*stream.Groups()*p.StreamSplits(d.N)
}

// Group implements Params: the kernel itself finds the last of a group's items.
func (p HeadGroupsGPU) Group(Dims) int64 { return 0 }

// Scratch implements Params.
func (p HeadGroupsGPU) Scratch() int64 { return 0 }

// Temp implements Params: counters of the groups of Full, then of Stream; partial results
// likewise.
func (p HeadGroupsGPU) Temp(d Dims) int64 {
	full, stream := p.Classes()
	return full.Temp(d) + d.N*stream.Groups()*p.StreamSplits(d.N)*stream.PartFloats()*4
}

// Grid implements Gridded.
func (p HeadGroupsGPU) Grid() Grid {
	full, stream := p.Classes()
	g := full.Grid()
	g.Shared = max(g.Shared, stream.Grid().Shared)
	return g
}
