package kernels

import (
	"context"
	"encoding/binary"
	"fmt"
	"math"
	"os"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"
	"golang.org/x/sys/unix"

	"quire/codegen/llc"
	"quire/ir/target"
	"quire/ir/work"
)

// A lib is a shared object in this process, or a GPU's kernels to be simulated.
type lib struct {
	handle uintptr
	gpu    *simulated
}

// findTools are LLVM's: there are none where a bundle is read.
var findTools = sync.OnceValues(func() (llc.Tools, error) {
	if *device != "simt" {
		return llc.Tools{}, fmt.Errorf("nothing is compiled for -device %s", *device)
	}
	return llc.Find(context.Background())
})

// open compiles kernels for a target and loads them. Kernels are named k0, k1, ...
func open(t testing.TB, tgt target.Target, ps ...work.Params) lib {
	t.Helper()
	if tgt.Arch == target.PTX {
		return lib{gpu: &simulated{tgt}}
	}
	tools, err := findTools()
	if err != nil {
		t.Skip(err)
	}
	var names, texts []string
	for i, p := range ps {
		text, err := Text(tgt, fmt.Sprintf("k%d", i), p)
		if err != nil {
			t.Fatal(err)
		}
		names, texts = append(names, p.Key()), append(texts, text)
	}
	so, err := tools.Shared(context.Background(), tgt, names, texts)
	if err != nil {
		t.Fatal(err)
	}
	return load(t, so)
}

func load(t testing.TB, so []byte) lib {
	t.Helper()
	// A fresh name each time: dlopen takes an equal path for the same library.
	f, err := os.CreateTemp(t.TempDir(), "*.so")
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if _, err := f.Write(so); err != nil {
		t.Fatal(err)
	}
	h, err := purego.Dlopen(f.Name(), purego.RTLD_NOW|purego.RTLD_LOCAL)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { purego.Dlclose(h) })
	return lib{handle: h}
}

func (l lib) sym(t testing.TB, name string) uintptr {
	t.Helper()
	p, err := purego.Dlsym(l.handle, name)
	if err != nil {
		t.Fatal(err)
	}
	return p
}

// targets are the CPUs that kernels are tested for: the baseline and this one.
func targets(t testing.TB) []target.Target {
	t.Helper()
	host, err := target.Host()
	if err != nil {
		t.Skip(err)
	}
	base, err := target.Parse("x86-64-v3")
	if err != nil {
		t.Fatal(err)
	}
	out := []target.Target{base}
	if host.Has(target.AMXInt8) { // the same machine without tile registers
		mid, err := target.Parse("x86-64-v3+avx512+avx512vnni")
		if err != nil {
			t.Fatal(err)
		}
		out = append(out, mid)
	}
	if host.Name != base.Name {
		out = append(out, host)
	}
	return out
}

// arena is memory outside the collector's reach, 64-byte aligned, guarded by poison.
func alloc[T any](t testing.TB, n int) []T {
	t.Helper()
	var z T
	size := n*int(unsafe.Sizeof(z)) + 4096
	b, err := unix.Mmap(-1, 0, size, unix.PROT_READ|unix.PROT_WRITE, unix.MAP_ANON|unix.MAP_PRIVATE)
	if err != nil {
		t.Fatal(err)
	}
	if size >= 4<<20 {
		unix.Madvise(b, unix.MADV_HUGEPAGE) // refused is slower, not wrong
	}
	allocs.add(b, n*int(unsafe.Sizeof(z)))
	t.Cleanup(func() { allocs.remove(b); unix.Munmap(b) })
	return unsafe.Slice((*T)(unsafe.Pointer(&b[0])), n)
}

func addr[T any](s []T) uintptr { return uintptr(unsafe.Pointer(unsafe.SliceData(s))) }

// launch runs a kernel over all its items, in chunks, and its Last for every group.
type launch struct {
	fn, last uintptr
	p        work.Params
	args     []uintptr
	d        work.Dims
	scratch  []byte
	gpu      func() // runs it simulated
}

// bind makes a launch of kernel k<i>; operands are bases by name.
func (l lib) bind(t testing.TB, i int, p work.Params, d work.Dims, operands map[string]uintptr) *launch {
	t.Helper()
	la := &launch{p: p, d: d, args: alloc[uintptr](t, len(p.Operands())), scratch: alloc[byte](t, int(p.Scratch())+64)}
	for j, o := range p.Operands() {
		if v, ok := d.Value(o.Name); ok && o.Kind == work.Dim {
			la.args[j] = uintptr(v)
			continue
		}
		a, ok := operands[o.Name]
		if !ok && o.Mode == work.Temp {
			a, ok = addr(alloc[byte](t, int(p.Temp(d)))), true
		}
		if !ok {
			t.Fatalf("operand %s is not bound", o.Name)
		}
		la.args[j] = a
	}
	if l.gpu != nil {
		la.gpu = func() { l.gpu.run(t, i, la) }
		return la
	}
	la.fn = l.sym(t, fmt.Sprintf("k%d", i))
	if p.Group(d) > 0 {
		la.last = l.sym(t, fmt.Sprintf("k%d.last", i))
	}
	return la
}

func (la *launch) run(chunk int64) {
	if la.gpu != nil {
		la.gpu()
		return
	}
	n := la.p.Items(la.d)
	binary.LittleEndian.PutUint64(la.scratch, math.MaxUint64) // as the driver does
	for first := int64(0); first < n; first += chunk {
		purego.SyscallN(la.fn, uintptr(first), uintptr(min(first+chunk, n)), addr(la.args), addr(la.scratch))
	}
	if g := la.p.Group(la.d); g > 0 {
		for i := int64(0); i < n/g; i++ {
			purego.SyscallN(la.last, uintptr(i), addr(la.args), addr(la.scratch))
		}
	}
}

// cpuTime is what this thread has used: other work on the machine does not count. The
// caller has locked it.
func cpuTime(t testing.TB) float64 {
	var u unix.Rusage
	if err := unix.Getrusage(unix.RUSAGE_THREAD, &u); err != nil {
		t.Fatal(err)
	}
	return float64(u.Utime.Sec+u.Stime.Sec) + float64(u.Utime.Usec+u.Stime.Usec)*1e-6
}
