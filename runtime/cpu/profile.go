package cpu

import (
	"time"

	"quire/ir/types"
	"quire/ir/work"
	"quire/runtime/device"
	"quire/runtime/program"
)

// profile sums what a launch did.
type profile struct {
	bytes, flops types.Dim
	calls        int64
	ticks        int64
	sumBytes     float64
	sumFlops     float64
}

func (p *profile) parse(l *program.Launch) (err error) {
	if l.Bytes != "" {
		if p.bytes, err = types.ParseDim(l.Bytes); err != nil {
			return err
		}
	}
	if l.Flops != "" {
		p.flops, err = types.ParseDim(l.Flops)
	}
	return err
}

// read adds what the launch reads of a cache for each slot.
func (p *profile) read(k work.Params, b *device.Batch) {
	r, ok := k.(work.Reader)
	if !ok {
		return
	}
	for i, before := range b.SlotLen {
		bytes, flops := r.Read(int64(before), int64(b.SlotNew[i]))
		p.sumBytes += float64(bytes)
		p.sumFlops += float64(flops)
	}
}

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
		l.profile.calls++
		l.profile.ticks += b - a
		m.bindings["P"] = 0
		if l.table >= 0 {
			m.bindings["P"] = s.widths[l.table]
		}
		bytes, _ := l.profile.bytes.Eval(m.bindings) // symbols were checked at load
		flops, _ := l.profile.flops.Eval(m.bindings)
		l.profile.sumBytes += float64(bytes)
		l.profile.sumFlops += float64(flops)
		l.profile.read(l.params, batch)
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
			p := &l.profile
			if p.calls == 0 {
				continue
			}
			out = append(out, device.Launch{
				Step: s.def.Name, Name: l.def.Name, Family: l.params.Family(), Calls: p.calls,
				Seconds: m.clock.seconds(p.ticks), Bytes: p.sumBytes, Flops: p.sumFlops,
			})
			p.calls, p.ticks, p.sumBytes, p.sumFlops = 0, 0, 0, 0
		}
	}
	return out
}
