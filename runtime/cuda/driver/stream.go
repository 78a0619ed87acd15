package driver

import (
	"context"
	"math"
	"runtime"
	"time"
)

// Stream is a queue of work, Event a moment in one.
type (
	Stream uintptr
	Event  uintptr
)

// NewStream makes a stream that does not wait for the default one.
func (d *Device) NewStream() (Stream, error) {
	const nonBlocking = 1
	if err := d.call(StreamCreate, "", d.res(0), nonBlocking); err != nil {
		return 0, err
	}
	d.live++
	return Stream(d.out[0]), nil
}

// CloseStream ends a stream; 0 is nothing.
func (d *Device) CloseStream(s Stream) error { return d.destroy(StreamDestroy, uintptr(s)) }

// destroy ends an object of a context, which may have gone with it.
func (d *Device) destroy(f Function, object uintptr) error {
	if object == 0 {
		return nil
	}
	d.live--
	if d.lost != nil {
		return nil
	}
	return d.call(f, "", object)
}

// Done says whether a stream has come to its end.
func (d *Device) Done(s Stream) (bool, error) {
	if d.lost != nil {
		return false, d.lost
	}
	d.args[0] = uintptr(s)
	code := d.lib.Call(StreamQuery, d.args[:1]...)
	if code == NotReady { // no error, and seen often
		return false, nil
	}
	err := d.outcome(StreamQuery, "", code)
	return err == nil, err
}

// spinFor is how long Wait asks without a pause: steps take milliseconds.
const spinFor = 20 * time.Millisecond

// Wait returns when a stream has come to its end, or ctx has.
func (d *Device) Wait(ctx context.Context, s Stream) error {
	start := time.Now()
	for turn := 0; ; turn++ {
		done, err := d.Done(s)
		if done || err != nil {
			return err
		}
		if turn%64 != 63 {
			continue
		}
		if err := ctx.Err(); err != nil {
			return err
		}
		if time.Since(start) > spinFor {
			time.Sleep(50 * time.Microsecond)
		} else {
			runtime.Gosched()
		}
	}
}

// NewEvent makes an event that keeps time.
func (d *Device) NewEvent() (Event, error) {
	if err := d.call(EventCreate, "", d.res(0), 0); err != nil {
		return 0, err
	}
	d.live++
	return Event(d.out[0]), nil
}

// CloseEvent ends an event; 0 is nothing.
func (d *Device) CloseEvent(e Event) error { return d.destroy(EventDestroy, uintptr(e)) }

// Record puts an event into a stream.
func (d *Device) Record(s Stream, e Event) error {
	return d.call(EventRecord, "", uintptr(e), uintptr(s))
}

// Elapsed is the time from one event to another that both have passed.
func (d *Device) Elapsed(from, to Event) (time.Duration, error) {
	if err := d.call(EventElapsedTime, "", d.res(0), uintptr(from), uintptr(to)); err != nil {
		return 0, err
	}
	ms := math.Float32frombits(uint32(d.out[0]))
	return time.Duration(float64(ms) * 1e6), nil
}
