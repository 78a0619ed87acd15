package runtime

import (
	"context"
	"errors"
	"fmt"
	"strings"

	"quire/runtime/cpu"
	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
	"quire/runtime/program"
)

// Machine is a device that was found.
type Machine struct {
	Device Device // CPU, or a GPU with its number: "cuda:0"
	Name   string // for people; "" for a CPU
	// SM is a GPU's compute capability as targets spell it, 90 for 9.0.
	SM              int
	Multiprocessors int
	Memory          int64 // bytes of a GPU

	library driver.Library
	ordinal int
}

// Target is what to compile for; "native" on a CPU. Code for sm_90a runs on devices of
// that capability alone, code for sm_80 on all newer ones.
func (m Machine) Target() string {
	switch {
	case m.Device == CPU:
		return "native"
	case m.SM == 90:
		return "sm_90a"
	}
	return "sm_80"
}

func (m Machine) String() string {
	if m.Device == CPU {
		return string(CPU)
	}
	return fmt.Sprintf("%s %s (sm_%d, %d multiprocessors, %.0f GB)", m.Device, m.Name, m.SM, m.Multiprocessors, float64(m.Memory)/1e9)
}

// find looks for a device.
func find(d Device) (Machine, error) {
	if d == CPU {
		return Machine{Device: CPU}, nil
	}
	lib, err := driver.Open()
	if err == nil {
		n, _ := d.ordinal()
		var m Machine
		if m, err = inspect(lib, n); err == nil {
			return m, nil
		}
	}
	if d == Auto {
		return Machine{Device: CPU}, nil
	}
	return Machine{}, fmt.Errorf("runtime: %w: %s: %w", ErrNoDevice, d, err)
}

// inspect describes GPU n; one that no Program can be for is an error.
func inspect(lib driver.Library, n int) (Machine, error) {
	i, err := driver.Inspect(lib, n)
	if err != nil {
		return Machine{}, err
	}
	m := Machine{Device: Device(fmt.Sprintf("%s:%d", CUDA, n)), Name: i.Name, SM: i.SM(), Multiprocessors: i.Multiprocessors, Memory: i.Memory, library: lib, ordinal: n}
	if m.SM < 80 {
		return m, fmt.Errorf("cuda: %s is sm_%d, expected sm_80 or newer", m.Name, m.SM)
	}
	return m, nil
}

// serving is the machine for a Program: with Auto, a Program for CPUs runs on the CPU.
func (rt *Runtime) serving(p *program.Program) Machine {
	if rt.config.device == Auto && !strings.HasPrefix(p.Target, "sm_") {
		return Machine{Device: CPU}
	}
	return rt.machine
}

// binding is a Program to be bound.
type binding struct {
	config Config
	p      *program.Program
	packed func(i int) []byte // weights of the Program's file
}

// bind loads a Program.
func (m Machine) bind(ctx context.Context, b binding) (device.Model, limits, error) {
	var progress func(done, total int64)
	if report := b.config.progress; report != nil {
		progress = func(done, total int64) { report(Progress{"weights", done, total}) }
	}
	if m.Device == CPU {
		l := b.config.limits(b.p, cacheBytes(b.config.cache))
		c, err := cpu.Load(ctx, b.p, cpu.Options{Threads: b.config.threads, Pages: l.pages, Verify: b.config.verify, Profile: b.config.profile,
			Progress: progress, Packed: b.packed, Map: b.packed != nil && b.config.mapped})
		if err != nil {
			return nil, l, err
		}
		return c, l, nil
	}
	var l limits
	fit := func(free int64) []int {
		if b.config.cache > 0 {
			free = b.config.cache
		}
		l = b.config.limits(b.p, free)
		return l.pages
	}
	c, err := cuda.Load(ctx, b.p, cuda.Options{Library: m.library, Ordinal: m.ordinal, Fit: fit, Threads: b.config.threads,
		Verify: b.config.verify, Profile: b.config.profile, Progress: progress, Packed: b.packed, CacheDir: b.config.codeDir,
		Context: b.config.lent.context, Stream: b.config.lent.stream})
	if errors.Is(err, driver.ErrNoDriver) {
		err = fmt.Errorf("runtime: %w: %w", ErrNoDevice, err)
	}
	if err != nil {
		return nil, l, err
	}
	return c, l, nil
}
