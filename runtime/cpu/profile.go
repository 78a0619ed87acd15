package cpu

import (
	"time"

	"quire/runtime/device"
)

// clock relates the processor's time stamps, which workers write, to seconds.
type clock struct {
	ticks int64
	wall  time.Duration
}

func (c clock) seconds(ticks int64) float64 {
	if c.ticks <= 0 {
		return 0
	}
	return float64(ticks) / float64(c.ticks) * c.wall.Seconds()
}

// run executes a step that is ready.
func (m *Model) run(s *bound, batch *device.Batch) {
	ctx := uintptr(s.mem.base())
	if !m.profiling {
		m.pool.run(ctx)
		return
	}
	start := time.Now()
	m.pool.run(ctx)
	wall := time.Since(start)
	first, last := int64(0), int64(0)
	for i := range s.launches {
		l := &s.launches[i]
		if l.record[recItems] == 0 {
			continue
		}
		a, b := s.timings[2*i], s.timings[2*i+1]
		if first == 0 {
			first = a
		}
		last = b
		l.ticks += b - a
		m.bindings["P"] = 0
		if l.table >= 0 {
			m.bindings["P"] = s.widths[l.table]
		}
		l.tally.Add(m.bindings, batch.SlotLen, batch.SlotNew)
	}
	m.clock.ticks += last - first
	m.clock.wall += wall
}

// Profile implements device.Model.
func (m *Model) Profile() []device.Launch {
	var out []device.Launch
	for _, s := range m.steps {
		for i := range s.launches {
			l := &s.launches[i]
			if l.tally.Calls == 0 {
				continue
			}
			out = append(out, device.Launch{
				Step: s.def.Name, Name: l.def.Name, Family: l.params.Family(), Calls: l.tally.Calls,
				Seconds: m.clock.seconds(l.ticks), Bytes: l.tally.Bytes, Flops: l.tally.Flops,
			})
			l.tally.Clear()
			l.ticks = 0
		}
	}
	return out
}
