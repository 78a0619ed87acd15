package simt

import (
	"quire/codegen/kernel"
)

// mbarrier is a barrier in shared memory whose phases end when so many arrivals, and all
// bytes that they announced, have come. Its word in memory is opaque: only that it is
// written, and that nobody else writes it, is judged.
type mbarrier struct {
	count, left int
	bytes       int // still to come; negative where a copy was announced late
	parity      uint64
	copies      []bulkCopy
	arriving    clocks // what those know that arrived in this phase
	ended       clocks // and in those before
}

// bulkCopy is a copy by another agent, under way.
type bulkCopy struct {
	by   event
	r    *region
	off  int
	data []byte
}

const mbarrierBytes = 8

// InitMBarrier implements kernel.Warp.
func (w *warp) InitMBarrier(lane int, addr uint64, arrivals int) {
	if arrivals < 1 {
		w.fail(Misuse, lane, "an mbarrier for %d arrivals", arrivals)
	}
	w.Store(lane, kernel.Shared, addr, make([]byte, mbarrierBytes))
	w.b.mbars[addr] = &mbarrier{count: arrivals, left: arrivals}
}

// mbar is the barrier at an address, whose making must come before its use.
func (w *warp) mbar(lane int, addr uint64) *mbarrier {
	r, off := w.find(lane, kernel.Shared, addr, mbarrierBytes, mbarrierBytes)
	w.judgeRead(lane, r, off, mbarrierBytes, true)
	m := w.b.mbars[addr]
	if m == nil {
		w.fail(Misuse, lane, "no mbarrier at %d of shared memory", addr)
	}
	return m
}

// turn ends the phase if all have come.
func (m *mbarrier) turn() {
	if m.left > 0 || m.bytes != 0 {
		return
	}
	m.left, m.parity = m.count, m.parity^1
	m.ended, m.arriving = m.ended.join(m.arriving), nil
}

// ArriveMBarrier implements kernel.Warp.
func (w *warp) ArriveMBarrier(lane int, addr uint64, bytes int) {
	m := w.mbar(lane, addr)
	if m.left == 0 {
		w.fail(Misuse, lane, "an arrival at an mbarrier whose phase has had all %d", m.count)
	}
	m.arriving = m.arriving.join(w.known())
	w.tick()
	m.left--
	m.bytes += bytes
	m.turn()
}

// WaitMBarrier implements kernel.Warp.
func (w *warp) WaitMBarrier(lane int, addr uint64, parity uint64) {
	m := w.mbar(lane, addr)
	w.Wait("mbarrier", func() bool {
		if m.parity == parity && m.left == 0 {
			m.land()
		}
		if m.parity == parity {
			return false
		}
		w.learn(m.ended)
		return true
	})
}

// CopyBulk implements kernel.Warp. The bytes land as late as they can, when somebody waits
// for the phase; until then nobody may touch them. Who waits knows what the copy's author
// knew.
func (w *warp) CopyBulk(lane int, to, from uint64, size int, done uint64) {
	if size%16 != 0 || size <= 0 {
		w.fail(Misuse, lane, "a bulk copy of %d bytes, expected a multiple of 16", size)
	}
	m := w.mbar(lane, done)
	data := make([]byte, size)
	r, off := w.find(lane, kernel.Global, from, size, 16)
	w.reads(lane, r, off, size)
	copy(data, r.bytes[off:off+size])
	r, off = w.find(lane, kernel.Shared, to, size, 16)
	w.judgeWrite(lane, r, off, data, false)
	for i := off; i < off+size; i++ {
		r.cell(i).inFlight = true
	}
	m.copies = append(m.copies, bulkCopy{w.event(lane), r, off, data})
	m.arriving = m.arriving.join(w.known())
	w.tick()
}

// land ends all copies under way.
func (m *mbarrier) land() {
	for _, c := range m.copies {
		for i := range c.data {
			cell := c.r.cell(c.off + i)
			cell.inFlight, cell.write = false, c.by
		}
		copy(c.r.bytes[c.off:], c.data)
		m.bytes -= len(c.data)
	}
	m.copies = nil
	m.turn()
}
