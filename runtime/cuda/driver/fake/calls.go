package fake

import (
	"fmt"
	"syscall"
	"unsafe"

	"quire/runtime/cuda/driver"
)

// calls are the functions, each with the arguments of its C declaration.
var calls = map[driver.Function]func(d *Driver, a []uintptr) int{
	driver.DriverGetVersion: func(_ *Driver, a []uintptr) int { put(a[0], int32(12080)); return Success },
	driver.GetErrorName: func(d *Driver, a []uintptr) int {
		code := int(a[0])
		if names[code] == "" {
			return InvalidValue
		}
		if d.text[code] == nil {
			d.text[code] = append([]byte(names[code]), make([]byte, 256)...)
		}
		put(a[1], uintptr(unsafe.Pointer(&d.text[code][0])))
		return Success
	},
	driver.DeviceGetCount: func(_ *Driver, a []uintptr) int { put(a[0], int32(1)); return Success },
	driver.DeviceGet:      func(_ *Driver, a []uintptr) int { put(a[0], int32(a[1])); return Success },
	driver.DeviceGetName: func(_ *Driver, a []uintptr) int {
		copy(unsafe.Slice((*byte)(pointer(a[0])), int(a[1])), "Fake GPU\x00")
		return Success
	},
	driver.DeviceTotalMem: func(d *Driver, a []uintptr) int { put(a[0], uint64(d.Memory)); return Success },
	driver.DeviceGetAttribute: func(d *Driver, a []uintptr) int {
		v := map[uintptr]int{16: 4, 38: 1 << 20, 75: d.SM / 10, 76: d.SM % 10, 97: 227 << 10, 115: 1}
		if d.NoPools {
			v[115] = 0
		}
		n, ok := v[a[1]]
		if !ok {
			return InvalidValue
		}
		put(a[0], int32(n))
		return Success
	},
	driver.PrimaryCtxRetain: func(d *Driver, a []uintptr) int {
		if code := d.allocation(); code != Success {
			return code
		}
		d.ctx++
		put(a[0], uintptr(1))
		return Success
	},
	driver.PrimaryCtxRelease: func(d *Driver, _ []uintptr) int {
		if d.ctx == 0 {
			return InvalidContext
		}
		d.ctx--
		return d.lost
	},
	driver.CtxSetCurrent: func(d *Driver, _ []uintptr) int { d.current[syscall.Gettid()] = true; return Success },
	driver.MemGetInfo: func(d *Driver, a []uintptr) int {
		put(a[0], uint64(d.Memory-d.used))
		put(a[1], uint64(d.Memory))
		return Success
	},
	driver.MemAlloc: func(d *Driver, a []uintptr) int { return d.take(a[0], int64(a[1])) },
	driver.MemFree: func(d *Driver, a []uintptr) int {
		if _, ok := d.device[a[0]]; !ok || d.isPooled(a[0]) {
			return InvalidValue
		}
		d.drain()
		d.giveBack(a[0])
		return Success
	},
	driver.MemPoolCreate:         func(d *Driver, a []uintptr) int { return d.create(a[0], &pool{}) },
	driver.MemPoolDestroy:        drop[*pool],
	driver.MemPoolSetAttribute:   poolSet,
	driver.MemAllocFromPoolAsync: poolTake,
	driver.MemFreeAsync:          poolGive,
	driver.MemHostAlloc: func(d *Driver, a []uintptr) int {
		if code := d.allocation(); code != Success {
			return code
		}
		base, b := heap(int(a[1]))
		d.pinned[base] = b
		put(a[0], base)
		return Success
	},
	driver.MemFreeHost: func(d *Driver, a []uintptr) int {
		if _, ok := d.pinned[a[0]]; !ok {
			return InvalidValue
		}
		d.drain()
		delete(d.pinned, a[0])
		return Success
	},
	driver.MemcpyHtoDAsync: func(d *Driver, a []uintptr) int {
		host := d.host(a[1], int(a[2]))
		if host == nil {
			return InvalidValue
		}
		to, n := a[0], int(a[2])
		return d.enqueue(a[3], func() {
			d.note("upload %d", n)
			copy(d.at(to, n), host)
		})
	},
	driver.MemcpyDtoHAsync: func(d *Driver, a []uintptr) int {
		host := d.host(a[0], int(a[2]))
		if host == nil {
			return InvalidValue
		}
		from, n := a[1], int(a[2])
		return d.enqueue(a[3], func() {
			d.note("download %d", n)
			copy(host, d.at(from, n))
		})
	},
	driver.MemcpyDtoDAsync: func(d *Driver, a []uintptr) int {
		to, from, n := a[0], a[1], int(a[2])
		return d.enqueue(a[3], func() { copy(d.at(to, n), d.at(from, n)) })
	},
	driver.MemsetD8Async: func(d *Driver, a []uintptr) int {
		p, v, n := a[0], byte(a[1]), int(a[2])
		return d.enqueue(a[3], func() {
			b := d.at(p, n)
			for i := range b {
				b[i] = v
			}
		})
	},
	driver.StreamCreate: func(d *Driver, a []uintptr) int { return d.create(a[0], &stream{}) },
	driver.StreamDestroy: func(d *Driver, a []uintptr) int {
		d.drain()
		return drop[*stream](d, a)
	},
	driver.StreamQuery: func(d *Driver, a []uintptr) int {
		s, ok := d.objects[a[0]].(*stream)
		if !ok {
			return InvalidValue
		}
		if d.Hang && len(s.queue) > 0 {
			return NotReady
		}
		if len(s.queue) > 0 && !s.asked { // nothing is ready at once
			s.asked = true
			return NotReady
		}
		s.asked = false
		d.finish(s)
		return Success
	},
	driver.EventCreate:  func(d *Driver, a []uintptr) int { return d.create(a[0], &event{}) },
	driver.EventDestroy: drop[*event],
	driver.EventRecord: func(d *Driver, a []uintptr) int {
		e, ok := d.objects[a[0]].(*event)
		if !ok {
			return InvalidValue
		}
		e.passed = false
		return d.enqueue(a[1], func() { e.passed = true })
	},
	driver.EventElapsedTime: func(d *Driver, a []uintptr) int {
		for _, h := range a[1:3] {
			if e, ok := d.objects[h].(*event); !ok || !e.passed {
				return NotReady
			}
		}
		put(a[0], float32(0.5))
		return Success
	},
	driver.ModuleLoadDataEx:  loadModule,
	driver.LinkCreate:        linkCreate,
	driver.LinkAddData:       linkAdd,
	driver.LinkComplete:      linkComplete,
	driver.LinkDestroy:       drop[*linker],
	driver.ModuleUnload:      drop[*module],
	driver.ModuleGetFunction: getFunction,
	driver.FuncSetAttribute:  setAttribute,
	driver.FuncGetAttribute:  func(_ *Driver, a []uintptr) int { put(a[0], int32(32)); return Success },
	driver.LaunchKernelEx:    launch,
	driver.StreamBeginCapture: func(d *Driver, a []uintptr) int {
		s, ok := d.objects[a[0]].(*stream)
		if !ok || s.capture != nil {
			return InvalidValue
		}
		s.capture = &graph{}
		return Success
	},
	driver.StreamEndCapture: func(d *Driver, a []uintptr) int {
		s, ok := d.objects[a[0]].(*stream)
		if !ok || s.capture == nil {
			return InvalidValue
		}
		g := s.capture
		s.capture = nil
		return d.create(a[1], g)
	},
	driver.GraphInstantiate: func(d *Driver, a []uintptr) int {
		g, ok := d.objects[a[1]].(*graph)
		if !ok {
			return InvalidValue
		}
		return d.create(a[0], &exec{g.ops})
	},
	driver.GraphExecUpdate: func(d *Driver, a []uintptr) int {
		e, ok := d.objects[a[0]].(*exec)
		g, ok2 := d.objects[a[1]].(*graph)
		if !ok || !ok2 {
			return InvalidValue
		}
		if len(e.ops) != len(g.ops) || d.NoEdits {
			const topologyChanged = 2
			put(a[2], int32(topologyChanged))
			return NoUpdate
		}
		e.ops = g.ops
		return Success
	},
	driver.TensorMapEncodeTiled: tensorMap,
	driver.GraphDestroy:         drop[*graph],
	driver.GraphExecDestroy:     drop[*exec],
	driver.GraphLaunch: func(d *Driver, a []uintptr) int {
		e, ok := d.objects[a[0]].(*exec)
		if !ok {
			return InvalidValue
		}
		ops := e.ops // an update is of launches that come after it
		return d.enqueue(a[1], func() {
			d.note("graph %d", len(ops))
			for _, op := range ops {
				op()
			}
		})
	},
}

func (d *Driver) note(format string, args ...any) {
	d.Log = append(d.Log, fmt.Sprintf(format, args...))
}

// create makes an object where memory allows.
func (d *Driver) create(to uintptr, v any) int {
	if code := d.allocation(); code != Success {
		return code
	}
	put(to, d.object(v))
	return Success
}

// host is pinned memory, or nil.
func (d *Driver) host(p uintptr, n int) []byte {
	for base, b := range d.pinned {
		if p >= base && p+uintptr(n) <= base+uintptr(len(b)) {
			return b[p-base:][:n:n]
		}
	}
	return nil
}

// enqueue puts work into a stream or into the graph that is made of it.
func (d *Driver) enqueue(h uintptr, op func()) int {
	s, ok := d.objects[h].(*stream)
	if !ok {
		return InvalidValue
	}
	if s.capture != nil {
		s.capture.ops = append(s.capture.ops, op)
		return Success
	}
	s.queue = append(s.queue, op)
	return Success
}

// finish runs what a stream holds, up to a fault.
func (d *Driver) finish(s *stream) {
	for _, op := range s.queue {
		if d.lost == 0 {
			op()
		}
	}
	s.queue = nil
}

// drain runs all streams to their ends, as calls do that wait for the device.
func (d *Driver) drain() {
	if d.Hang {
		panic("fake: a call waits for a stream that never ends")
	}
	for _, o := range d.objects {
		if s, ok := o.(*stream); ok {
			d.finish(s)
		}
	}
}
