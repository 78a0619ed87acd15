package driver

import "errors"

// Graph is work that was put into a stream, ready to be launched at once.
type Graph uintptr

// Capture makes a graph of what work puts into the stream, none of which runs.
func (d *Device) Capture(s Stream, work func() error) (Graph, error) {
	const relaxed = 2
	if err := d.call(StreamBeginCapture, "", uintptr(s), relaxed); err != nil {
		return 0, err
	}
	failed := work()
	d.out[0] = 0
	err := errors.Join(failed, d.call(StreamEndCapture, "", uintptr(s), d.res(0)))
	g := uintptr(d.out[0])
	if g == 0 || err != nil {
		if g != 0 {
			err = errors.Join(err, d.call(GraphDestroy, "", g))
		}
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

// LaunchGraph puts a graph into a stream.
func (d *Device) LaunchGraph(s Stream, g Graph) error {
	return d.call(GraphLaunch, "", uintptr(g), uintptr(s))
}

// CloseGraph ends a graph; 0 is nothing.
func (d *Device) CloseGraph(g Graph) error { return d.destroy(GraphExecDestroy, uintptr(g)) }
