package kernels

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"
	"unsafe"

	"quire/codegen/llc"
	"quire/ir/target"
	"quire/ir/types/layout"
	"quire/ir/work"
	gpu "quire/runtime/cuda/driver"
)

// speedCase is stages of products, repeated over weights of their own in one graph.
type speedCase struct {
	name   string
	stages []work.Params
	rows   int // of x
	repeat int
}

// file is a stage's code in the bundle.
func (c speedCase) file(i int) string {
	return filepath.Join(*bundle, fmt.Sprintf("%s.%d.cubin", c.name, i))
}

func linearOf(p work.Params) work.Linear {
	switch p := p.(type) {
	case work.GEMV:
		return p.Linear
	case work.GEMM:
		return p.Linear
	}
	return work.Linear{}
}

func weightBytes(p work.Params) int64 {
	l := linearOf(p)
	var n int64
	for _, rows := range l.Rows {
		size, err := layout.Bytes("frag", l.Enc, rows, l.Cols)
		if err != nil {
			panic(err)
		}
		n += size
	}
	return n
}

// Speed of a layer's products on a GPU, from a test binary that needs no compiler, of 25 launches each:
//
//	./kernels.test -test.run - -test.bench Products -bundle DIR                                      assembles, and fills DIR
//	./kernels.test -test.run - -test.bench Products -test.benchtime 25x -bundle DIR -device cuda  measures
func BenchmarkProducts(b *testing.B) {
	cases := speedCases()
	if *device == "cuda" {
		on, leave := newBench(b)
		defer leave()
		peak := on.readBandwidth()
		b.Logf("%s: reads %.0f GB/s", on.d.Info, peak/1e9)
		for _, c := range cases {
			b.Run(c.name, func(b *testing.B) {
				defer must[func()](b)(on.d.Enter())() // a goroutine of its own
				on.measure(b, c, peak)
			})
		}
		return
	}
	if *bundle == "" {
		b.Skip("no GPU: neither -device cuda nor a -bundle to fill")
	}
	tgt, err := target.Parse("sm_90a")
	if err != nil {
		b.Fatal(err)
	}
	tools, err := findTools()
	if err != nil {
		b.Fatal(err)
	}
	ptxas, err := llc.FindPtxas()
	if err != nil {
		b.Fatal(err)
	}
	for _, c := range cases {
		b.Run(c.name, func(b *testing.B) {
			for b.Loop() {
				if err := c.assemble(tgt, tools, ptxas); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}

// assemble puts the code of each stage into the bundle.
func (c speedCase) assemble(tgt target.Target, tools llc.Tools, ptxas llc.Ptxas) error {
	for i, p := range c.stages {
		text, err := Text(tgt, "k", p)
		if err != nil {
			return fmt.Errorf("%s: %w", c.name, err)
		}
		ptx, err := tools.PTX(context.Background(), tgt, "k", text)
		if err != nil {
			return err
		}
		cubin, _, err := ptxas.Assemble(context.Background(), tgt, ptx)
		if err != nil {
			return err
		}
		if err := os.WriteFile(c.file(i), cubin, 0o644); err != nil {
			return err
		}
	}
	return nil
}

// readCode reads n pieces of 16 bytes.
const readCode = `
.version 7.8
.target sm_90
.address_size 64
.visible .entry read(.param .u64 p, .param .u64 n, .param .u64 out) {
	.reg .u64 %rd<20>;
	.reg .u32 %r<40>;
	.reg .pred %p<4>;
	ld.param.u64 %rd1, [p];
	ld.param.u64 %rd2, [n];
	ld.param.u64 %rd3, [out];
	mov.u32 %r1, %tid.x;
	mov.u32 %r2, %ctaid.x;
	mov.u32 %r3, %ntid.x;
	mov.u32 %r4, %nctaid.x;
	mad.lo.u32 %r5, %r2, %r3, %r1;
	mul.lo.u32 %r6, %r3, %r4;
	cvt.u64.u32 %rd4, %r5;
	cvt.u64.u32 %rd5, %r6;
	shl.b64 %rd6, %rd5, 4;
	mul.lo.u64 %rd7, %rd6, 4;
	mul.lo.u64 %rd8, %rd5, 4;
	shl.b64 %rd9, %rd4, 4;
	add.u64 %rd9, %rd1, %rd9;
	mov.u32 %r7, 0;
$loop:
	setp.ge.u64 %p1, %rd4, %rd2;
	@%p1 bra $end;
	add.u64 %rd10, %rd9, %rd6;
	add.u64 %rd11, %rd10, %rd6;
	add.u64 %rd12, %rd11, %rd6;
	ld.global.nc.L1::no_allocate.v4.u32 {%r10,%r11,%r12,%r13}, [%rd9];
	ld.global.nc.L1::no_allocate.v4.u32 {%r14,%r15,%r16,%r17}, [%rd10];
	ld.global.nc.L1::no_allocate.v4.u32 {%r18,%r19,%r20,%r21}, [%rd11];
	ld.global.nc.L1::no_allocate.v4.u32 {%r22,%r23,%r24,%r25}, [%rd12];
	xor.b32 %r10, %r10, %r14;
	xor.b32 %r18, %r18, %r22;
	xor.b32 %r11, %r11, %r15;
	xor.b32 %r10, %r10, %r18;
	xor.b32 %r10, %r10, %r11;
	xor.b32 %r12, %r12, %r16;
	xor.b32 %r13, %r13, %r17;
	xor.b32 %r7, %r7, %r10;
	xor.b32 %r7, %r7, %r12;
	xor.b32 %r7, %r7, %r13;
	xor.b32 %r7, %r7, %r19;
	xor.b32 %r7, %r7, %r20;
	xor.b32 %r7, %r7, %r21;
	xor.b32 %r7, %r7, %r23;
	xor.b32 %r7, %r7, %r24;
	xor.b32 %r7, %r7, %r25;
	add.u64 %rd9, %rd9, %rd7;
	add.u64 %rd4, %rd4, %rd8;
	bra $loop;
$end:
	setp.ne.u32 %p2, %r7, 305419896;
	@%p2 bra $out;
	st.global.u32 [%rd3], %r7;
$out:
	ret;
}
`

// bench is a device with memory for measurements.
type bench struct {
	t       testing.TB
	d       *gpu.Device
	s       gpu.Stream
	weights gpu.Pointer
	others  map[string]gpu.Pointer
	host    []byte // pinned
	from    gpu.Event
	to      gpu.Event
}

const (
	arenaBytes = int64(6) << 30
	otherBytes = int64(1) << 30
)

func must[T any](t testing.TB) func(v T, err error) T {
	return func(v T, err error) T {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
		return v
	}
}

func newBench(t testing.TB) (*bench, func()) {
	lib, err := gpu.Open()
	if err != nil {
		t.Skip("no GPU: ", err)
	}
	d := must[*gpu.Device](t)(gpu.New(lib, 0))
	leave := must[func()](t)(d.Enter())
	b := &bench{t: t, d: d, others: map[string]gpu.Pointer{}}
	b.s = must[gpu.Stream](t)(d.NewStream())
	b.weights = must[gpu.Pointer](t)(d.Alloc(arenaBytes))
	b.from, b.to = must[gpu.Event](t)(d.NewEvent()), must[gpu.Event](t)(d.NewEvent())
	host := must[[]byte](t)(d.AllocHost(64 << 20))
	r := rand.New(rand.NewPCG(1, 2))
	words := unsafe.Slice((*uint64)(unsafe.Pointer(&host[0])), len(host)/8)
	for i := range words { // numbers of 16 bits below 2
		words[i] = r.Uint64() &^ 0x4000400040004000
	}
	b.ok(d.Upload(b.s, b.weights, host))
	for n := int64(len(host)); n < arenaBytes; n *= 2 {
		b.ok(d.Copy(b.s, b.weights+gpu.Pointer(n), b.weights, min(n, arenaBytes-n)))
	}
	b.wait()
	b.host = host
	return b, leave
}

func (b *bench) ok(err error) {
	b.t.Helper()
	if err != nil {
		b.t.Fatal(err)
	}
}

func (b *bench) wait() { b.t.Helper(); b.ok(b.d.Wait(context.Background(), b.s)) }

// other is memory of an operand that is no weight, of zeros, but x.
func (b *bench) other(name string, n int64) gpu.Pointer {
	if p, ok := b.others[name]; ok {
		return p
	}
	p := must[gpu.Pointer](b.t)(b.d.Alloc(n))
	b.ok(b.d.Zero(b.s, p, n))
	if name == "x" {
		b.ok(b.d.Copy(b.s, p, b.weights, n))
	}
	b.others[name] = p
	return p
}

// median is the time of work, put into a graph.
func (b *bench) median(reps int, work func() error) time.Duration {
	b.t.Helper()
	g := must[gpu.Graph](b.t)(b.d.Capture(b.s, work))
	defer func() { b.ok(b.d.CloseGraph(g)) }()
	var took []time.Duration
	for i := range reps + 3 {
		b.ok(errors.Join(b.d.Record(b.s, b.from), b.d.LaunchGraph(b.s, g), b.d.Record(b.s, b.to)))
		b.wait()
		if i >= 3 {
			took = append(took, must[time.Duration](b.t)(b.d.Elapsed(b.from, b.to)))
		}
	}
	slices.Sort(took)
	return took[len(took)/2]
}

// readBandwidth is the best of some launches that only read, in bytes a second.
func (b *bench) readBandwidth() float64 {
	m, _, err := b.d.LoadModule([]byte(readCode))
	b.ok(err)
	k := must[gpu.Kernel](b.t)(b.d.Kernel(m, "read", 0))
	const n = int64(2) << 30
	best := 0.0
	for _, threads := range []int{256, 512, 1024} {
		for _, blocks := range []int64{1, 2, 4, 8} {
			if int64(threads)*blocks > 2048 {
				continue
			}
			l := gpu.NewLaunch(k, threads, 0, 3)
			w := l.Words()
			w[0], w[1], w[2] = uint64(b.weights), uint64(n/16), uint64(b.other("out", 64))
			l.Blocks(blocks * int64(b.d.Multiprocessors))
			took := b.median(9, func() error { return b.d.Launch(b.s, l) })
			best = max(best, float64(n)/took.Seconds())
		}
	}
	b.ok(b.d.CloseModule(m))
	return best
}

// measure reports the median of t.N launches: a repetition's time and its share of peak.
func (b *bench) measure(t *testing.B, c speedCase, peak float64) {
	b.t = t
	var launches []*gpu.Launch
	var modules []gpu.Module
	var bytes, at int64
	flops := 0.0
	kernels := make([]gpu.Kernel, len(c.stages))
	for i, p := range c.stages {
		cubin := must[[]byte](t)(os.ReadFile(c.file(i)))
		m, _, err := b.d.LoadModule(cubin)
		b.ok(err)
		modules = append(modules, m)
		kernels[i] = must[gpu.Kernel](t)(b.d.Kernel(m, "k", work.GridOf(p).Shared))
	}
	dims := work.Dims{N: int64(c.rows), S: 1, P: int64(c.rows)/64 + 2}
	ints := map[string][]int32{"row_slot": make([]int32, c.rows), "slot_start": {0}, "slot_len": {0}, "pages": make([]int32, dims.P)}
	if c.rows <= 64 { // sequences of 1024 tokens
		dims.S, dims.P = dims.N, 32
		ints["slot_start"], ints["slot_len"], ints["pages"] = nil, nil, nil
		for i := range c.rows {
			ints["row_slot"][i] = int32(i)
			ints["slot_start"], ints["slot_len"] = append(ints["slot_start"], int32(i)), append(ints["slot_len"], 1024)
			for p := range int(dims.P) {
				ints["pages"] = append(ints["pages"], int32(i*17+p%17))
			}
		}
	}
	for name, list := range ints {
		copy(b.host, unsafe.Slice((*byte)(unsafe.Pointer(&list[0])), 4*len(list)))
		b.ok(b.d.Upload(b.s, b.other(name, 1<<20), b.host[:4*len(list)]))
		b.wait()
	}
	var caches int64
	for range c.repeat {
		for i, p := range c.stages {
			g, items, l := work.GridOf(p), p.Items(dims), linearOf(p)
			ops := p.Operands()
			la := gpu.NewLaunch(kernels[i], 32*g.Warps, g.Shared, len(ops)+1)
			w := la.Words()
			size := weightBytes(p)
			if at+size > arenaBytes {
				at = 0
			}
			for j, o := range ops {
				switch v, ok := dims.Value(o.Name); {
				case ok && o.Kind == work.Dim:
					w[j] = uint64(v)
				case o.Name == "w":
					w[j] = uint64(b.weights) + uint64(at)
				case o.Name == "cache":
					const layer = 17 << 18 // bytes of a sequence's pages
					if size := layer * dims.S; caches+size > 1<<30 {
						caches = 0
					}
					w[j] = uint64(b.other("cache", 2<<30)) + uint64(caches)
				default:
					w[j] = uint64(b.other(o.Name, otherBytes/2))
				}
			}
			w[len(ops)] = uint64(items)
			la.Blocks(g.Blocks(items, b.d.Multiprocessors))
			la.Overlaps(len(launches) > 0)
			launches = append(launches, la)
			if _, ok := p.(work.DecodeGPU); ok {
				caches += 17 << 18 * dims.S
			}
			at += size
			bytes += size
			flops += 2 * float64(l.R()) * float64(l.Cols) * float64(c.rows)
		}
	}
	took := b.median(t.N, func() error {
		for _, l := range launches {
			if err := b.d.Launch(b.s, l); err != nil {
				return err
			}
		}
		return nil
	}).Seconds()
	t.ReportMetric(took*1e9/float64(c.repeat), "ns/op")
	if c.rows > 16 {
		t.ReportMetric(flops/took/1e12, "TFLOP/s")
	} else {
		t.ReportMetric(100*float64(bytes)/took/peak, "%read")
	}
	for _, m := range modules {
		b.ok(b.d.CloseModule(m))
	}
}
