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

// addWide is atom.add of 8 bytes.
func addWide(c *Call) {
	c.Each(func(l int) {
		c.Out[0][l] = c.Atomic(l, Global, c.In[0][l], 8, Relaxed, func(old uint64) uint64 { return old + c.In[1][l] })
	})
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

func mbarInit(c *Call) {
	c.Each(func(l int) { c.InitMBarrier(l, address(Shared, c.In[0][l]), int(uint32(c.In[1][l]))) })
}

func mbarArrive(c *Call) {
	c.Each(func(l int) { c.ArriveMBarrier(l, address(Shared, c.In[0][l]), 0) })
}

func mbarExpect(c *Call) {
	c.Each(func(l int) { c.ArriveMBarrier(l, address(Shared, c.In[0][l]), int(uint32(c.In[1][l]))) })
}

// mbarTry waits until the phase has ended, which a program cannot tell from being told no.
func mbarTry(c *Call) {
	c.Each(func(l int) {
		c.WaitMBarrier(l, address(Shared, c.In[0][l]), c.In[1][l]&1)
		c.Out[0][l] = 1
	})
}

func bulkCopy(c *Call) {
	c.Each(func(l int) {
		c.CopyBulk(l, address(Shared, c.In[0][l]), c.In[1][l], int(uint32(c.In[2][l])), address(Shared, c.In[3][l]))
	})
}
