package cuda

import (
	"errors"
	"fmt"
	"slices"

	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/program"
)

// What is read to measure: up to sweepMost bytes, at least sweepLeast times the second-level
// cache, of which little is then found there again.
const (
	sweepMost  = 4 << 30
	sweepLeast = 8
	sweepTurns = 10
)

// ReadRate implements device.Gauge. It takes memory that is free, reads it with the Program's
// work.Sweep in a few shapes, several times each, and gives the best.
func (m *Model) ReadRate() (rate float64, err error) {
	leave, err := m.dev.Enter()
	if err != nil {
		return 0, err
	}
	defer leave()
	i := slices.IndexFunc(m.p.Kernels, func(k program.Kernel) bool { return k.Params == work.Params(work.Sweep{}) })
	if i < 0 {
		return 0, fmt.Errorf("cuda: read rate: the program has no kernel of family %s: it was compiled by an older compiler", work.Sweep{}.Family())
	}
	if m.closed {
		return 0, errors.New("cuda: read rate after close")
	}
	var x, y block
	defer func() { err = errors.Join(err, m.dev.Free(x.at), m.dev.Free(y.at)) }()
	items, err := m.sweepRoom(&x)
	if err == nil {
		err = m.take(&y, 4*items)
	}
	if err == nil {
		err = m.dev.Zero(m.stream, x.at, x.n)
	}
	if err == nil {
		err = m.profile.need(m.dev, 2)
	}
	if err != nil {
		return 0, fmt.Errorf("cuda: read rate: %w", err)
	}
	grid := work.GridOf(work.Sweep{})
	l := driver.NewLaunch(m.kernels[i], 32*grid.Warps, grid.Shared, 4)
	copy(l.Words(), []uint64{uint64(x.at), uint64(y.at), uint64(items), uint64(items)})
	for blocks := 1; blocks <= grid.Resident; blocks *= 2 {
		l.Blocks(min(int64(blocks*m.dev.Multiprocessors), grid.Blocks(items, m.dev.Multiprocessors)))
		for range sweepTurns {
			seconds, err := m.timed(l)
			if err != nil {
				return 0, fmt.Errorf("cuda: read rate: %w", err)
			}
			rate = max(rate, float64(x.n)/seconds)
		}
	}
	return rate, nil
}

// sweepRoom takes memory for whole items of a sweep, half of what is free at most.
func (m *Model) sweepRoom(b *block) (items int64, err error) {
	free, err := m.dev.Available()
	if err != nil {
		return 0, err
	}
	n := min(sweepMost, free/2) / work.SweepBytes * work.SweepBytes
	if least := sweepLeast * int64(m.dev.L2Bytes); n < least {
		return 0, fmt.Errorf("%d bytes of free memory, expected twice %d: 8 times what the second-level cache holds", free, least)
	}
	return n / work.SweepBytes, m.take(b, n)
}

// timed runs a launch between two events.
func (m *Model) timed(l *driver.Launch) (seconds float64, err error) {
	from, to := m.profile.list[0], m.profile.list[1]
	if err := errors.Join(m.dev.Record(m.stream, from), m.dev.Launch(m.stream, l), m.dev.Record(m.stream, to), m.wait()); err != nil {
		return 0, err
	}
	t, err := m.dev.Elapsed(from, to)
	return t.Seconds(), err
}
