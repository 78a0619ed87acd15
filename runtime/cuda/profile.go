package cuda

import (
	"errors"

	"quire/runtime/cuda/driver"
	"quire/runtime/device"
)

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
		l.time += t
		l.tally.Add(m.bindings, b.SlotLen, b.SlotNew)
	}
	return nil
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
			out = append(out, device.Launch{Step: s.def.Name, Name: l.def.Name, Family: l.params.Family(), Calls: l.tally.Calls,
				Seconds: l.time.Seconds(), Bytes: l.tally.Bytes, Flops: l.tally.Flops})
			l.tally.Clear()
			l.time = 0
		}
	}
	return out
}
