package driver_test

import (
	"errors"
	"testing"
	"unsafe"

	"quire/runtime/cuda/driver"
)

// clusters writes the blocks of its cluster; tile copies the box at column x, row y of a map to
// shared memory, and its 8 rows of 32 words from there to out; store writes a word.
const extrasCode = `
.version 8.3
.target sm_90
.address_size 64
.visible .entry clusters(.param .u64 p) {
	.reg .u64 %rd<2>;
	.reg .u32 %r<2>;
	ld.param.u64 %rd1, [p];
	mov.u32 %r1, %cluster_nctaid.x;
	st.global.u32 [%rd1], %r1;
	ret;
}
.visible .entry store(.param .u64 p, .param .u64 word) {
	.reg .u64 %rd<3>;
	.reg .u32 %r<2>;
	ld.param.u64 %rd1, [p];
	ld.param.u64 %rd2, [word];
	cvt.u32.u64 %r1, %rd2;
	st.global.u32 [%rd1], %r1;
	ret;
}
.visible .entry tile(.param .u64 map, .param .u64 out, .param .u64 x, .param .u64 y) {
	.reg .u64 %rd<8>;
	.reg .u32 %r<12>;
	.reg .pred %p<3>;
	.shared .align 128 .b8 box[1024];
	.shared .align 8 .b8 bar[8];
	ld.param.u64 %rd1, [map];
	ld.param.u64 %rd2, [out];
	ld.param.u64 %rd3, [x];
	ld.param.u64 %rd4, [y];
	cvt.u32.u64 %r1, %rd3;
	cvt.u32.u64 %r2, %rd4;
	mov.u32 %r3, box;
	mov.u32 %r4, bar;
	mov.u32 %r5, %tid.x;
	setp.ne.u32 %p1, %r5, 0;
	@%p1 bra wait;
	mbarrier.init.shared::cta.b64 [%r4], 1;
	fence.mbarrier_init.release.cluster;
	fence.proxy.async;
	fence.proxy.tensormap::generic.acquire.sys [%rd1], 128;
	mbarrier.arrive.expect_tx.shared::cta.b64 _, [%r4], 1024;
	cp.async.bulk.tensor.2d.shared::cluster.global.mbarrier::complete_tx::bytes [%r3], [%rd1, {%r1, %r2}], [%r4];
wait:
	bar.sync 0;
again:
	mbarrier.try_wait.parity.shared::cta.b64 %p2, [%r4], 0;
	@!%p2 bra again;
	mov.u32 %r6, 0;
row:
	shl.b32 %r7, %r6, 7;
	shl.b32 %r8, %r5, 2;
	add.u32 %r7, %r7, %r8;
	add.u32 %r9, %r3, %r7;
	ld.shared.u32 %r10, [%r9];
	cvt.u64.u32 %rd5, %r7;
	add.u64 %rd6, %rd2, %rd5;
	st.global.u32 [%rd6], %r10;
	add.u32 %r6, %r6, 1;
	setp.lt.u32 %p1, %r6, 8;
	@%p1 bra row;
	ret;
}
`

// On a GPU: memory of a pool, clusters, a graph that is updated, a box by a tensor map.
func TestGPUExtras(t *testing.T) {
	d := onGPU(t)
	m, _, err := d.LoadModule([]byte(extrasCode))
	if err != nil {
		t.Fatal(err)
	}
	x := extras{d: d, s: must[driver.Stream](t)(d.NewStream()), m: m}
	x.pool = must[driver.Pool](t)(d.NewPool(1 << 20))
	x.host = must[[]byte](t)(d.AllocHost(1 << 16))
	for _, part := range []struct {
		name string
		run  func(*testing.T)
	}{{"pool", x.memory}, {"clusters", x.clusters}, {"update", x.update}, {"tensor map", x.tensorMap}} {
		t.Run(part.name, func(t *testing.T) { // on a thread of its own
			leave, err := d.Enter()
			if err != nil {
				t.Fatal(err)
			}
			defer leave()
			part.run(t)
		})
	}
	if err := errors.Join(d.FreeHost(x.host), d.ClosePool(x.pool), d.CloseModule(m), d.CloseStream(x.s), d.Close()); err != nil {
		t.Errorf("close: %v", err)
	}
}

type extras struct {
	d    *driver.Device
	s    driver.Stream
	m    driver.Module
	pool driver.Pool
	host []byte
}

func (x *extras) words() []uint32 {
	return unsafe.Slice((*uint32)(unsafe.Pointer(&x.host[0])), len(x.host)/4)
}

// read brings words from the device.
func (x *extras) read(t *testing.T, from driver.Pointer, n int) []uint32 {
	t.Helper()
	if err := errors.Join(x.d.Download(x.s, x.host[:4*n], from), x.d.Wait(t.Context(), x.s)); err != nil {
		t.Fatal(err)
	}
	return x.words()[:n]
}

func (x *extras) take(t *testing.T, n int64) driver.Pointer {
	t.Helper()
	return must[driver.Pointer](t)(x.d.AllocIn(x.s, x.pool, n))
}

func (x *extras) launch(t *testing.T, name string, threads int, words ...uint64) *driver.Launch {
	t.Helper()
	l := driver.NewLaunch(must[driver.Kernel](t)(x.d.Kernel(x.m, name, 0)), threads, 0, len(words))
	copy(l.Words(), words)
	l.Blocks(1)
	return l
}

// What is given back in a stream serves again without a wait.
func (x *extras) memory(t *testing.T) {
	seen := map[driver.Pointer]bool{}
	for range 50 {
		p := x.take(t, 1<<16)
		seen[p] = true
		if err := errors.Join(x.d.Zero(x.s, p, 1<<16), x.d.FreeIn(x.s, p)); err != nil {
			t.Fatal(err)
		}
	}
	if err := x.d.Wait(t.Context(), x.s); err != nil {
		t.Fatal(err)
	}
	if len(seen) > 2 {
		t.Errorf("%d addresses of 50 blocks one after the other", len(seen))
	}
}

func (x *extras) clusters(t *testing.T) {
	p := x.take(t, 64)
	l := x.launch(t, "clusters", 32, uint64(p))
	l.Blocks(8)
	for _, n := range []int{1, 2, 4} {
		for _, overlaps := range []bool{false, true} {
			l.Clusters(n)
			l.Overlaps(overlaps)
			if err := x.d.Launch(x.s, l); err != nil {
				t.Fatal(err)
			}
			if got := x.read(t, p, 1)[0]; got != uint32(n) {
				t.Errorf("clusters of %d blocks, want %d", got, n)
			}
		}
	}
	l.Clusters(3)
	var e *driver.Error
	if err := x.d.Launch(x.s, l); !errors.As(err, &e) || e.Sticky {
		t.Errorf("8 blocks in clusters of 3: %v", err)
	}
	if err := x.d.FreeIn(x.s, p); err != nil {
		t.Error(err)
	}
}

func (x *extras) update(t *testing.T) {
	p := x.take(t, 64)
	l := x.launch(t, "store", 1, uint64(p), 5)
	work := func() error { return x.d.Launch(x.s, l) }
	g := must[driver.Graph](t)(x.d.Capture(x.s, work))
	copy(l.Words(), []uint64{uint64(p) + 4, 6})
	err := errors.Join(x.d.Zero(x.s, p, 64), x.d.LaunchGraph(x.s, g), x.d.Update(x.s, g, work), x.d.LaunchGraph(x.s, g))
	if err != nil {
		t.Fatal(err)
	}
	if got := x.read(t, p, 2); got[0] != 5 || got[1] != 6 {
		t.Errorf("words %v, want 5 and 6", got)
	}
	err = x.d.Update(x.s, g, func() error { return errors.Join(work(), work()) })
	var e *driver.Error
	if !errors.As(err, &e) || e.Code != driver.NoUpdate || e.Sticky {
		t.Errorf("two launches in place of one: %v", err)
	}
	t.Log(err)
	if err := errors.Join(x.d.CloseGraph(g), x.d.FreeIn(x.s, p)); err != nil {
		t.Error(err)
	}
}

// A box of 32 x 8 words of an array of 40 x 20, part of it outside, which is zeros.
func (x *extras) tensorMap(t *testing.T) {
	const cols, rows, stride = 40, 20, 192
	a, at, out := x.take(t, rows*stride), x.take(t, 128), x.take(t, 1024)
	upload := func(to driver.Pointer, n int) {
		if err := errors.Join(x.d.Upload(x.s, to, x.host[:n]), x.d.Wait(t.Context(), x.s)); err != nil {
			t.Fatal(err)
		}
	}
	for i := range rows * stride / 4 {
		x.words()[i] = uint32(1000*(i/(stride/4)) + i%(stride/4) + 1)
	}
	upload(a, rows*stride)
	m, err := x.d.NewTensorMap(driver.Tiled{Type: driver.ElemU32, At: a, Dims: []uint64{cols, rows}, Strides: []uint64{stride}, Box: []uint32{32, 8}})
	if err != nil {
		t.Fatal(err)
	}
	copy(x.host, m[:])
	upload(at, len(m))
	for _, place := range [][2]int{{0, 0}, {8, 3}, {16, 15}} {
		if err := x.d.Launch(x.s, x.launch(t, "tile", 32, uint64(at), uint64(out), uint64(place[0]), uint64(place[1]))); err != nil {
			t.Fatal(err)
		}
		for i, got := range x.read(t, out, 256) {
			col, row, want := place[0]+i%32, place[1]+i/32, uint32(0)
			if col < cols && row < rows {
				want = uint32(1000*row + col + 1)
			}
			if got != want {
				t.Fatalf("box at %v: word %d is %d, want %d", place, i, got, want)
			}
		}
	}
	if _, err := x.d.NewTensorMap(driver.Tiled{Type: driver.ElemU32, At: a, Dims: []uint64{cols, rows}, Strides: []uint64{100}, Box: []uint32{32, 8}}); err == nil {
		t.Error("a stride of 100 bytes was taken")
	}
	if err := errors.Join(x.d.FreeIn(x.s, a), x.d.FreeIn(x.s, at), x.d.FreeIn(x.s, out)); err != nil {
		t.Error(err)
	}
}
