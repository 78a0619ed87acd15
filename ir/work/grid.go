package work

// Grid is how a GPU runs a launch: blocks of warps that take items in turn. A block's
// first items are Block*PerBlock and what follows; then it goes on by the number of
// blocks times PerBlock, so any number of blocks is enough.
type Grid struct {
	Warps    int   // warps of a block
	Shared   int64 // bytes of a block's dynamic shared memory
	PerBlock int   // items that a block takes at once: 1, a block an item; Warps, a warp an item
	Resident int   // blocks that share a multiprocessor and of which there need not be more; 0: as many as there are items
	Whole    bool  // every item has a block of its own, never a second one: there must be as many blocks as Blocks says
	Room     int   // blocks whose registers must fit a multiprocessor, those of launches that follow early counted; 0: Resident
}

// Gridded is a family that lies on a GPU in its own way.
type Gridded interface {
	Params
	Grid() Grid
}

// maxBlocks is the greatest x extent of a grid (CUDA C++ programming guide, table of
// technical specifications per compute capability).
const maxBlocks = 1<<31 - 1

// GridOf is the Grid of a kernel. Portable families take a warp an item, four warps a
// block, without shared memory.
func GridOf(p Params) Grid {
	if g, ok := p.(Gridded); ok {
		return g.Grid()
	}
	return Grid{Warps: 4, PerBlock: 4}
}

// Blocks is the number of blocks of a launch of items on a machine of so many
// multiprocessors.
func (g Grid) Blocks(items int64, multiprocessors int) int64 {
	n := min(ceil(items, int64(g.PerBlock)), maxBlocks)
	if g.Resident > 0 {
		n = min(n, int64(g.Resident)*int64(multiprocessors))
	}
	return n
}
