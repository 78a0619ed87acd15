package driver

import (
	"errors"
	"fmt"
)

// Graph is work that was put into a stream, ready to be launched at once.
type Graph uintptr

// Capture makes a graph of what work puts into the stream, none of which runs.
func (d *Device) Capture(s Stream, work func() error) (Graph, error) {
	g, err := d.capture(s, work)
	if g == 0 || err != nil {
		return 0, err
	}
	err = d.call(GraphInstantiate, "", d.res(0), g, 0)
	exec := Graph(d.out[0])
	if free := d.call(GraphDestroy, "", g); err != nil || free != nil {
		return 0, errors.Join(err, free)
	}
	d.live++
	return exec, nil
}

// Update makes a graph do what work puts into the stream, which costs less than another graph. It
// has to be the same kinds of work in the same order, with other words, grids or addresses; an
// *Error with Code NoUpdate says that it is not, and the graph is to be closed.
func (d *Device) Update(s Stream, exec Graph, work func() error) error {
	g, err := d.capture(s, work)
	if err != nil {
		return err
	}
	clear(d.out[:3]) // CUgraphExecUpdateResultInfo: what differs, two nodes
	err = d.call(GraphExecUpdate, "", uintptr(exec), g, d.res(0))
	var e *Error
	if errors.As(err, &e) && e.Code == NoUpdate {
		e.What = fmt.Sprintf("CUgraphExecUpdateResult %d", int32(d.out[0]))
	}
	return errors.Join(err, d.call(GraphDestroy, "", g))
}

// capture makes a CUgraph of what work puts into the stream.
func (d *Device) capture(s Stream, work func() error) (uintptr, error) {
	const relaxed = 2
	if err := d.call(StreamBeginCapture, "", uintptr(s), relaxed); err != nil {
		return 0, err
	}
	failed := work()
	d.out[0] = 0
	err := errors.Join(failed, d.call(StreamEndCapture, "", uintptr(s), d.res(0)))
	g := uintptr(d.out[0])
	if g != 0 && err != nil {
		return 0, errors.Join(err, d.call(GraphDestroy, "", g))
	}
	return g, err
}

// LaunchGraph puts a graph into a stream.
func (d *Device) LaunchGraph(s Stream, g Graph) error {
	return d.call(GraphLaunch, "", uintptr(g), uintptr(s))
}

// CloseGraph ends a graph; 0 is nothing.
func (d *Device) CloseGraph(g Graph) error { return d.destroy(GraphExecDestroy, uintptr(g)) }
