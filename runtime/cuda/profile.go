package cuda

import (
	"errors"
	"time"

	"quire/ir/types"
	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
	"quire/runtime/program"
)

// cost is what a launch must move and compute, and what it did so far.
type cost struct {
	bytes, flops       types.Dim
	calls              int64
	time               time.Duration
	sumBytes, sumFlops float64
}

func (c *cost) parse(l *program.Launch) (err error) {
	if l.Bytes != "" {
		if c.bytes, err = types.ParseDim(l.Bytes); err != nil {
			return err
		}
	}
	if l.Flops != "" {
		c.flops, err = types.ParseDim(l.Flops)
	}
	return err
}

// read adds what the launch reads of a cache for each slot.
func (c *cost) read(p work.Params, b *device.Batch) {
	r, ok := p.(work.Reader)
	if !ok {
		return
	}
	for i, before := range b.SlotLen {
		bytes, flops := r.Read(int64(before), int64(b.SlotNew[i]))
		c.sumBytes += float64(bytes)
		c.sumFlops += float64(flops)
	}
}

// events are the moments between launches.
type events struct{ list []driver.Event }

func (e *events) need(d *driver.Device, n int) error {
	for len(e.list) < n {
		ev, err := d.NewEvent()
		if err != nil {
			return err
		}
		e.list = append(e.list, ev)
	}
	return nil
}

func (e *events) close(d *driver.Device) error {
	var errs []error
	for _, ev := range e.list {
		errs = append(errs, d.CloseEvent(ev))
	}
	e.list = nil
	return errors.Join(errs...)
}

// measured runs a step with an event before and after each launch.
func (m *Model) measured(s *bound, b *device.Batch) error {
	var ran []*launch
	for i := range s.launches {
		if s.launches[i].runs {
			ran = append(ran, &s.launches[i])
		}
	}
	if err := m.profile.need(m.dev, len(ran)+1); err != nil {
		return err
	}
	for i, l := range ran {
		if err := errors.Join(m.dev.Record(m.stream, m.profile.list[i]), m.dev.Launch(m.stream, l.Launch)); err != nil {
			return err
		}
	}
	if err := errors.Join(m.dev.Record(m.stream, m.profile.list[len(ran)]), m.wait()); err != nil {
		return err
	}
	for i, l := range ran {
		t, err := m.dev.Elapsed(m.profile.list[i], m.profile.list[i+1])
		if err != nil {
			return err
		}
		m.bindings["P"] = 0
		if l.table >= 0 {
			m.bindings["P"] = s.shape.widths[l.table]
		}
		bytes, _ := l.cost.bytes.Eval(m.bindings) // symbols were checked at load
		flops, _ := l.cost.flops.Eval(m.bindings)
		l.cost.calls++
		l.cost.time += t
		l.cost.sumBytes += float64(bytes)
		l.cost.sumFlops += float64(flops)
		l.cost.read(l.params, b)
	}
	return nil
}

// Profile implements device.Model.
func (m *Model) Profile() []device.Launch {
	var out []device.Launch
	for _, s := range m.steps {
		for i := range s.launches {
			l := &s.launches[i]
			c := &l.cost
			if c.calls == 0 {
				continue
			}
			out = append(out, device.Launch{Step: s.def.Name, Name: l.def.Name, Family: l.params.Family(), Calls: c.calls,
				Seconds: c.time.Seconds(), Bytes: c.sumBytes, Flops: c.sumFlops})
			c.calls, c.time, c.sumBytes, c.sumFlops = 0, 0, 0, 0
		}
	}
	return out
}
