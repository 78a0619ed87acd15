package kernel

import (
	"encoding/binary"
	"fmt"
	"strings"

	"github.com/llir/llvm/ir/types"
	"github.com/llir/llvm/ir/value"

	"quire/ir/target"
)

// Products of a warpgroup, four neighbouring warps (wgmma, sm_90a alone): the first operand
// is in registers, 16 rows of it in each warp, the second one in shared memory, where tensor
// cores read it while the warps go on.

// Groups says whether the target has products of warpgroups.
func (k *Kernel) Groups() bool { return k.m.target.Arch == target.PTX && k.m.target.SM == "sm_90a" }

// GroupColumns is the number of columns of a product of a warpgroup.
const GroupColumns = 128

// GroupSums is the number of a lane's sums: four of every eight columns, as Mma has them.
const GroupSums = GroupColumns / 2

// Swizzled describes GroupColumns rows of 64 two-byte numbers in shared memory, from the
// address of a row's first number of a product on. Rows are 128 bytes apart, the first at a
// multiple of 1024 bytes; the pieces of 16 bytes of row r lie in places that differ from
// their numbers by an exclusive or with r mod 8.
func (g GPU) Swizzled(at I32) I64 {
	const apart, swizzle128 = 1024 >> 4, 1
	return at.And(0x3ffff).Shr(4).I64().Plus(1<<16 | apart<<32 | swizzle128<<62)
}

// MmaGroup starts sums + A * B: A 64 x 16, of which each warp has 16 rows as Mma's operand
// a, and B 16 x GroupColumns, its columns the rows that Swizzled describes. The sums are
// there once GroupWait has seen the product's group done.
func (g GPU) MmaGroup(h Half, a [4]I32, b I64, sums []F32) []F32 {
	args := make([]value.Value, 0, 5+GroupSums)
	for _, x := range a {
		args = append(args, x.v)
	}
	args = append(args, b.v)
	for _, x := range sums {
		args = append(args, x.v)
	}
	return g.floats(h.name("wgmma"), args)
}

func (g GPU) floats(name string, args []value.Value) []F32 {
	out := make([]F32, GroupSums)
	for i, v := range g.several(name, types.Float, GroupSums, args...) {
		out[i] = F32{g.k, v}
	}
	return out
}

// GroupFence comes between what writes registers of a product and its start; GroupCommit
// closes the group of the products since the last one.
func (g GPU) GroupFence()  { g.k.call("wgmma.fence", types.Void) }
func (g GPU) GroupCommit() { g.k.call("wgmma.commit", types.Void) }

// GroupWait waits until at most the newest n groups are under way.
func (g GPU) GroupWait(n int) { g.k.call("wgmma.wait", types.Void, intLit(types.I32, int64(n))) }

// GroupResult gives sums that may be read, after GroupWait(0).
func (g GPU) GroupResult(sums []F32) []F32 {
	args := make([]value.Value, len(sums))
	for i, x := range sums {
		args[i] = x.v
	}
	return g.floats("wgmma.result", args)
}

// groupRow is the row of a product of an element type.
func groupRow(elem string, h half) intrinsic {
	sums, ties := make([]string, GroupSums), make([]string, GroupSums)
	for i := range sums {
		sums[i], ties[i] = fmt.Sprintf("$%d", i), fmt.Sprint(i)
	}
	n := GroupSums
	text := fmt.Sprintf("wgmma.mma_async.sync.aligned.m64n%dk16.f32.%s.%s {%s}, {$%d,$%d,$%d,$%d}, $%d, 1, 1, 1, 0;",
		GroupColumns, elem, elem, strings.Join(sums, ","), n, n+1, n+2, n+3, n+4)
	cons := strings.Repeat("=f,", GroupSums) + "r,r,r,r,l," + strings.Join(ties, ",") + ","
	return asmRow(text, cons, "64 x 128 sums of 16 products of "+elem+", the second operand in shared memory", mmaGroup(h)).sm90a()
}

// resultRow lets nothing read sums before a wait that stands before it.
func resultRow() intrinsic {
	ties := make([]string, GroupSums)
	for i := range ties {
		ties[i] = fmt.Sprint(i)
	}
	return asmRow("// sums", strings.Repeat("=f,", GroupSums)+strings.Join(ties, ",")+",", "sums after a wait", func(c *Call) {
		for i, in := range c.In {
			*c.Out[i] = *in
		}
	}).sm90a()
}

// mmaGroup is a warp's part of wgmma with the first operand in registers. The second one is
// read when it is started, and looked at again when it has ended.
func mmaGroup(h half) Meaning {
	return func(c *Call) {
		if !c.together() {
			return
		}
		desc := c.uniform(4)
		at, apart := desc<<4&0x3ffff, desc>>32<<4&0x3ffff
		var a [16][16]float64
		for l := range WarpSize {
			r, q := l/4, 2*(l%4)
			for i := range 4 {
				for e, x := range h.two(c.In[i], l) {
					a[r+8*(i%2)][q+8*(i/2)+e] = float64(x)
				}
			}
		}
		piece := func(n, half int) uint64 {
			p := at + uint64(n/8)*apart + uint64(n%8)*128 + uint64(half)*16
			return p ^ p>>7&7<<4
		}
		read := func(n, half int) (b [16]byte) {
			c.Load(n%WarpSize, Shared, piece(n, half), b[:])
			return b
		}
		for n := range GroupColumns {
			var b [16]float64
			for i := range 2 {
				row := read(n, i)
				for j := range 8 {
					b[8*i+j] = float64(h.from(binary.LittleEndian.Uint16(row[2*j:])))
				}
			}
			for r := range 16 {
				l, i := 4*(r%8)+n%8/2, n/8*4+2*(r/8)+n%2
				sum := float64(c.In[5+i].Float32(l))
				for k, x := range b {
					sum += a[r][k] * x
				}
				c.Out[i].SetFloat32(l, float32(sum))
			}
		}
		c.StartGroup(func() {
			for n := range GroupColumns {
				read(n, 0)
				read(n, 1)
			}
		})
	}
}
