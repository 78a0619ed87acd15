package kernels

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"sync"
	"testing"
	"unsafe"

	"github.com/ebitengine/purego"

	"quire/codegen/llc"
	"quire/codegen/simt"
	"quire/ir/target"
	"quire/ir/work"
)

// The tests of GPU kernels run on a GPU too, from a test binary that needs no compiler:
//
//	go test -c -o kernels.test ./codegen/kernels
//	./kernels.test -bundle DIR                  simulates, and fills DIR with PTX and TESTS, the names of tests for a GPU
//	./kernels.test -bundle DIR -device bundle   simulates what TESTS names, and fails where DIR lacks a kernel
//	./kernels.test -bundle DIR -device cuda     runs what TESTS names, by DIR's PTX
//
// tests/gpucheck does all three.
var (
	device = flag.String("device", "simt", "what runs GPU kernels: simt, cuda, or bundle: simt with no compiler")
	bundle = flag.String("bundle", "", "folder of compiled kernels, filled by simt and read by others")
)

// filling says that there is a bundle, to be filled.
func filling() bool { return *bundle != "" && *device == "simt" }

// bundleTools are LLVM's tools, or where a bundle is read what they left there.
func bundleTools() (llc.Tools, error) {
	release := filepath.Join(*bundle, "RELEASE")
	if !filling() {
		text, err := os.ReadFile(release)
		return llc.Tools{Release: string(text), Cache: llc.Cache{Dir: *bundle}}, err
	}
	tools, err := findTools()
	if err != nil {
		return tools, err
	}
	tools.Cache = llc.Cache{Dir: *bundle}
	if err := os.MkdirAll(*bundle, 0o755); err != nil {
		return tools, err
	}
	return tools, os.WriteFile(release, []byte(tools.Release), 0o644)
}

// ptxOf is the kernel's PTX, from the bundle if there is one.
func ptxOf(t testing.TB, tgt target.Target, p work.Params, name string) string {
	t.Helper()
	of := findTools
	if *bundle != "" {
		of = bundleTools
	}
	tools, err := of()
	if err != nil {
		t.Fatal(err)
	}
	text, err := Text(tgt, name, p)
	if err != nil {
		t.Fatal(err)
	}
	ptx, err := tools.PTX(context.Background(), tgt, name, text)
	if err != nil && *bundle != "" && !filling() {
		t.Fatalf("%s lacks kernel %s of %s for %s, or was filled by another version of this binary", *bundle, name, p.Key(), tgt)
	}
	if err != nil {
		t.Fatal(err)
	}
	return ptx
}

// pack puts a kernel's PTX into the bundle that is filled, or finds it in one that is looked at.
func pack(t testing.TB, tgt target.Target, p work.Params, name string) {
	t.Helper()
	if *bundle != "" && *device != "cuda" {
		ptxOf(t, tgt, p, name)
	}
}

// driver is as much of CUDA's driver interface as one launch needs. Tests call it one at a time.
type driver struct {
	handle  uintptr
	symbols map[string]uintptr
	ctx     uintptr
	loaded  map[string]uintptr // functions, by PTX
}

// call calls a function of the driver. Go memory whose addresses are given is kept alive and
// where it is until it returns: a stack that grew meanwhile would leave a stale address.
//
//go:uintptrescapes
func (d *driver) call(name string, args ...uintptr) error {
	if d.symbols[name] == 0 {
		p, err := purego.Dlsym(d.handle, name)
		if err != nil {
			return err
		}
		d.symbols[name] = p
	}
	if r, _, _ := purego.SyscallN(d.symbols[name], args...); r != 0 {
		return fmt.Errorf("%s: CUDA error %d", name, int32(r))
	}
	return nil
}

// function loads a kernel once: the driver assembles its PTX.
func (d *driver) function(ptx, kernel string, shared int) (uintptr, error) {
	if f := d.loaded[ptx]; f != 0 {
		return f, nil
	}
	text, name := append([]byte(ptx), 0), append([]byte(kernel), 0)
	var module, function uintptr
	if err := d.call("cuModuleLoadData", uintptr(unsafe.Pointer(&module)), uintptr(unsafe.Pointer(&text[0]))); err != nil {
		return 0, err
	}
	if err := d.call("cuModuleGetFunction", uintptr(unsafe.Pointer(&function)), module, uintptr(unsafe.Pointer(&name[0]))); err != nil {
		return 0, err
	}
	const maxDynamicShared = 8
	if err := d.call("cuFuncSetAttribute", function, maxDynamicShared, uintptr(shared)); err != nil {
		return 0, err
	}
	d.loaded[ptx] = function
	return function, nil
}

var openDriver = sync.OnceValues(func() (*driver, error) {
	h, err := purego.Dlopen("libcuda.so.1", purego.RTLD_NOW|purego.RTLD_GLOBAL)
	if err != nil {
		return nil, err
	}
	d := &driver{handle: h, symbols: map[string]uintptr{}, loaded: map[string]uintptr{}}
	if err := d.call("cuInit", 0); err != nil {
		return nil, err
	}
	return d, d.call("cuDevicePrimaryCtxRetain", uintptr(unsafe.Pointer(&d.ctx)), 0)
})

// guardBytes follow each buffer and must not change.
const guardBytes = 512

// launchCUDA runs a simt launch on the GPU: buffers are copied there and back.
func launchCUDA(t testing.TB, tgt target.Target, p work.Params, l simt.Launch) error {
	t.Helper()
	d, err := openDriver()
	if err != nil {
		t.Skip("no GPU: ", err)
	}
	runtime.LockOSThread()
	defer runtime.UnlockOSThread()
	if err := d.call("cuCtxSetCurrent", d.ctx); err != nil {
		return err
	}
	function, err := d.function(ptxOf(t, tgt, p, l.Kernel), l.Kernel, l.Shared)
	if err != nil {
		return err
	}
	words, copies, err := d.upload(l)
	if err != nil {
		return err
	}
	params := make([]unsafe.Pointer, len(words))
	for i := range words {
		params[i] = unsafe.Pointer(&words[i])
	}
	if err := d.call("cuLaunchKernel", function, uintptr(l.Blocks), 1, 1, uintptr(32*l.Warps), 1, 1, uintptr(l.Shared), 0, uintptr(unsafe.Pointer(&params[0])), 0); err != nil {
		return err
	}
	if err := d.call("cuCtxSynchronize"); err != nil {
		return err
	}
	runtime.KeepAlive(words)
	return d.download(copies)
}

// onDevice is a buffer's copy.
type onDevice struct {
	b  *simt.Buffer
	at uintptr
}

func (d *driver) upload(l simt.Launch) ([]uint64, []onDevice, error) {
	var words []uint64
	var copies []onDevice
	at := map[*simt.Buffer]uintptr{}
	for _, a := range l.Args {
		if a.Buffer == nil {
			words = append(words, a.Value)
			continue
		}
		if at[a.Buffer] == 0 {
			data := append(bytes.Clone(a.Buffer.Bytes), bytes.Repeat([]byte{0xa5}, guardBytes)...)
			var p uintptr
			if err := d.call("cuMemAlloc_v2", uintptr(unsafe.Pointer(&p)), uintptr(len(data))); err != nil {
				return nil, nil, err
			}
			if err := d.call("cuMemcpyHtoD_v2", p, uintptr(unsafe.Pointer(&data[0])), uintptr(len(data))); err != nil {
				return nil, nil, err
			}
			at[a.Buffer] = p
			copies = append(copies, onDevice{a.Buffer, p})
		}
		words = append(words, uint64(at[a.Buffer]))
	}
	return words, copies, nil
}

// download copies what may have changed back, and looks at the guards.
func (d *driver) download(copies []onDevice) error {
	var wrong []string
	for _, c := range copies {
		n := len(c.b.Bytes)
		data := make([]byte, n+guardBytes)
		if err := d.call("cuMemcpyDtoH_v2", uintptr(unsafe.Pointer(&data[0])), c.at, uintptr(len(data))); err != nil {
			return err
		}
		if err := d.call("cuMemFree_v2", c.at); err != nil {
			return err
		}
		if !bytes.Equal(data[n:], bytes.Repeat([]byte{0xa5}, guardBytes)) || c.b.Mode == simt.Input && !bytes.Equal(data[:n], c.b.Bytes) {
			wrong = append(wrong, c.b.Name)
		}
		copy(c.b.Bytes, data[:n])
	}
	if len(wrong) > 0 {
		return fmt.Errorf("wrote beyond, or into inputs: %s", strings.Join(wrong, ", "))
	}
	return nil
}
