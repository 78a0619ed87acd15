package kernel

import (
	"encoding/binary"
	"math"
)

// Meanings of accesses, copies and barriers.

func nothing(*Call) {}

func zero(c *Call) { c.Each(func(l int) { c.Out[0][l] = 0 }) }

func bit(b bool) uint32 {
	if b {
		return 1
	}
	return 0
}

// first is the first lane that executes the call.
func (c *Call) first() int {
	lane := -1
	c.Each(func(l int) {
		if lane < 0 {
			lane = l
		}
	})
	return lane
}

func syncSome(c *Call) {
	l := c.first()
	c.Sync(c.In[0][l], int(c.In[1][l]))
}

func arriveSome(c *Call) {
	l := c.first()
	c.Arrive(c.In[0][l], int(c.In[1][l]))
}

// among checks that the lanes named are those that execute the call.
func (c *Call) among(named uint64) bool {
	if uint32(named) != c.Lanes {
		c.Fail(c.first(), "lanes %08x named, executed by %08x", uint32(named), c.Lanes)
		return false
	}
	return true
}

func vote(f func(bits, all uint32) uint32) Meaning {
	return func(c *Call) {
		if !c.among(c.In[0][c.first()]) {
			return
		}
		var b uint32
		c.Each(func(l int) { b |= uint32(c.In[1][l]&1) << l })
		c.Each(func(l int) { c.Out[0][l] = uint64(f(b, c.Lanes)) })
	}
}

func redux(f func(a, b uint32) uint32) Meaning {
	return func(c *Call) {
		lane := c.first()
		if !c.among(c.In[1][lane]) {
			return
		}
		x := uint32(c.In[0][lane])
		c.Each(func(l int) {
			if l != lane {
				x = f(x, uint32(c.In[0][l]))
			}
		})
		c.Each(func(l int) { c.Out[0][l] = uint64(x) })
	}
}

func indexLane(lane, b, clamp int) (int, bool) { return b, b <= clamp }

func upLane(lane, b, clamp int) (int, bool) { return lane - b, lane-b >= clamp&^31 && lane >= b }

func addFloat(old, x uint32) uint32 {
	return math.Float32bits(math.Float32frombits(old) + math.Float32frombits(x))
}

func atomic(space Space, f func(old, x uint32) uint32) Meaning {
	return func(c *Call) {
		c.Each(func(l int) {
			x := uint32(c.In[1][l])
			c.Out[0][l] = c.Atomic(l, space, address(space, c.In[0][l]), 4, Relaxed, func(old uint64) uint64 { return uint64(f(uint32(old), x)) })
		})
	}
}

func address(space Space, bits uint64) uint64 {
	if space == Shared {
		return bits & 0xffffffff
	}
	return bits
}

func loadWords(n int) Meaning {
	return func(c *Call) {
		c.Each(func(l int) {
			b := make([]byte, 4*n)
			c.Load(l, Global, c.In[0][l], b)
			for i := range n {
				c.Out[i][l] = uint64(binary.LittleEndian.Uint32(b[4*i:]))
			}
		})
	}
}

func copy16(c *Call) {
	c.Each(func(l int) {
		read := 16
		if len(c.In) > 2 {
			read = int(uint32(c.In[2][l]))
		}
		c.CopyAsync(l, address(Shared, c.In[0][l]), c.In[1][l], 16, read)
	})
}

// An mbarrier's word as meanings keep it (the machine's is opaque): arrivals of a phase,
// arrivals still to come, bytes still to come, and the parity of the phase.
type mbarWord struct {
	count, left int
	bytes       int // negative where bytes came before they were expected
	parity      uint64
}

func (w mbarWord) bits() uint64 {
	return uint64(w.count&0xfff) | uint64(w.left&0xfff)<<12 | uint64(uint32(w.bytes))<<24&(1<<56-1<<24) | w.parity<<56
}

func mbarOf(b uint64) mbarWord {
	return mbarWord{count: int(b & 0xfff), left: int(b >> 12 & 0xfff), bytes: int(int32(b >> 24)), parity: b >> 56 & 1}
}

func (w mbarWord) turn() mbarWord {
	if w.left == 0 && w.bytes == 0 {
		w.left, w.parity = w.count, w.parity^1
	}
	return w
}

func (c *Call) mbar(lane int, addr uint64, order Order, f func(w mbarWord) mbarWord) {
	c.Atomic(lane, Shared, addr&0xffffffff, 8, order, func(old uint64) uint64 { return f(mbarOf(old)).bits() })
}

func mbarInit(c *Call) {
	c.Each(func(l int) {
		n := int(uint32(c.In[1][l]))
		var b [8]byte
		binary.LittleEndian.PutUint64(b[:], mbarWord{count: n, left: n}.bits())
		c.Store(l, Shared, c.In[0][l]&0xffffffff, b[:])
	})
}

func mbarArrive(c *Call) {
	c.Each(func(l int) {
		c.mbar(l, c.In[0][l], Release, func(w mbarWord) mbarWord { w.left--; return w.turn() })
	})
}

func mbarExpect(c *Call) {
	c.Each(func(l int) {
		n := int(uint32(c.In[1][l]))
		c.mbar(l, c.In[0][l], Release, func(w mbarWord) mbarWord { w.left--; w.bytes += n; return w.turn() })
	})
}

// mbarTry waits until the phase has ended, which a program cannot tell from being told no.
func mbarTry(c *Call) {
	c.Each(func(l int) {
		var seen uint64
		look := func(order Order) bool {
			c.mbar(l, c.In[0][l], order, func(w mbarWord) mbarWord { seen = w.parity; return w })
			return seen != c.In[1][l]&1
		}
		c.Wait("mbarrier", func() bool { return look(Relaxed) })
		look(Acquire)
		c.Out[0][l] = 1
	})
}

// bulkCopy copies at once: a program that reads before the barrier says so is wrong, but
// not found.
func bulkCopy(c *Call) {
	c.Each(func(l int) {
		n := uint64(uint32(c.In[2][l]))
		to, from := c.In[0][l]&0xffffffff, c.In[1][l]
		if n%16 != 0 || to%16 != 0 || from%16 != 0 {
			c.Fail(l, "bulk copy of %d bytes from %#x to %#x, expected multiples of 16", n, from, to)
			return
		}
		var b [16]byte
		for i := uint64(0); i < n; i += 16 {
			c.Load(l, Global, from+i, b[:])
			c.Store(l, Shared, to+i, b[:])
		}
		c.mbar(l, c.In[3][l], Release, func(w mbarWord) mbarWord { w.bytes -= int(n); return w.turn() })
	})
}
