package kernel

import (
	"context"
	"errors"
	"os"
	"strings"
	"testing"

	"quire/codegen/llc"
)

// assemble makes PTX of one kernel and, where ptxas is, a cubin without stack or spills.
func assemble(t *testing.T, target, name string, ops []Operand, body Body) string {
	t.Helper()
	m := NewModule(mustTarget(t, target))
	m.Define(name, ops, body)
	text, err := m.Text()
	if err != nil {
		t.Fatal(err)
	}
	ptx, err := tools(t).PTX(context.Background(), m.Target(), name, text)
	if err != nil {
		t.Fatalf("%v\n%s", err, text)
	}
	as, err := llc.FindPtxas()
	if err != nil {
		if !errors.Is(err, llc.ErrNoPtxas) || os.Getenv("QUIRE_REQUIRE_DATA") == "1" {
			t.Fatal(err)
		}
		t.Log(err)
		return ptx
	}
	_, use, err := as.Assemble(context.Background(), m.Target(), ptx)
	if err != nil {
		t.Fatalf("%v\n%s", err, ptx)
	}
	for _, u := range use {
		if u.Stack+u.SpillLoads+u.SpillStores != 0 {
			t.Errorf("%s %s: ptxas reports %+v, want neither stack nor spills", target, name, u)
		}
	}
	return ptx
}

// everyVerb calls all verbs that both compute capabilities have.
func everyVerb(k *Kernel) {
	g := k.GPU()
	x, y := Arg[F32](k, "x"), Arg[F32](k, "y")
	lane := g.Lane().I32()
	ints := SharedAt[I32](k, 0)
	bytes := As[U8](ints)
	CopyAsync(g, Address(bytes.At(g.Thread().Times(16))), x.At(g.Thread().Times(4)))
	CopySome(g, Address(bytes.Plus(4096).At(g.Thread().Times(16))), x, lane.And(15))
	g.Commit()
	g.WaitCopies(0)
	g.Sync()
	at := Address(bytes.At(g.Lane().Times(16)))
	a, b, c := g.LoadMatrices(at, false), g.LoadMatrices2(at, true), g.LoadMatrices2(at, false)
	w := LoadStream(g, x, g.Streamed())
	a[3] = g.Bytes(w[0], w[1], 0x4140)
	sum := g.Mma(Float16, a, [2]I32{b[0], g.FMAPair(Float16, c[1], c[0], k.Twice(0x3c00))}, g.NoSum())
	a[2] = g.Pack(BFloat16, sum[0], sum[1])
	sum = g.Mma(BFloat16, a, [2]I32{b[0], g.FMAPair(BFloat16, a[2], a[1], k.Twice(0x3f80))}, sum)
	p := g.MulPair(g.SubPair(g.AddPair(g.Pack(Float16, sum[2], sum[3]), a[0]), a[1]), a[2])
	v := g.Low(Float16, p).Add(g.High(Float16, p)).Add(g.Low(BFloat16, p)).Add(g.High(BFloat16, p))
	v = g.Sum(v, 32).Add(g.Max(v, 4)).Add(g.SumApart(v, 4, 8)).Add(g.Up(v, 1)).Add(g.FromLane(v, lane.And(3)))
	v = v.Add(g.Exp2F(v)).Add(g.Rcp(v)).Add(g.Rsqrt(v)).Add(g.Log2(v)).Add(g.Tanh(v))
	n := g.SumI32(lane).Add(g.MaxI32(lane)).Add(g.MinI32(lane)).Add(g.XorI(lane, 1)).Add(g.FromLaneI32(lane, lane)).Add(g.UpI32(lane, 1))
	n = n.Add(g.Ballot(v.Gt(k.Float(0)))).Add(g.AtomicAddShared(ints, lane)).Add(g.AtomicAdd(As[I32](y), lane)).Add(g.AtomicMax(As[I32](y), lane))
	v = v.Add(g.AtomicAddF32(y, v))
	n = n.Add(g.AtomicAdd64(As[I64](y), v.I64()).F64().F32().I64().I32())
	some := g.Any(v.Gt(k.Float(1))).And(g.All(v.Gt(k.Float(2))).Not())
	g.SyncSome(1, 64)
	g.ArriveSome(2, 64)
	g.SyncSome(2, 64)
	g.SyncWarp()
	g.Fence()
	next, more := g.Ahead(1)
	n = n.Add(Select(more.And(some), next.Add(g.Turn()), k.Int(0)).I32())
	StoreF32(y.Plus(8), v)
	StoreI32(As[I32](y).Plus(9), n)
}

func TestEveryVerbAssembles(t *testing.T) {
	body := Body{Main: everyVerb, Prep: func(k *Kernel) { k.GPU().Sync() },
		Grid: Grid{Warps: 2, Block: true, Shared: 8208, Resident: 2}}
	for _, target := range []string{"sm_80", "sm_90a"} {
		ptx := assemble(t, target, "verbs", xy, body)
		for _, want := range []string{".maxntid 64", ".minnctapersm 2", "mma.sync.aligned.m16n8k16.row.col.f32.bf16", "ld.global.nc.L1::no_allocate", "cp.async.cg"} {
			if !strings.Contains(ptx, want) {
				t.Errorf("%s: PTX lacks %q", target, want)
			}
		}
		if waits := strings.Contains(ptx, "griddepcontrol.wait"); waits != (target == "sm_90a") {
			t.Errorf("%s: waits for the launches before: %v", target, waits)
		}
	}
}

func TestEarlyPartsComeBeforeTheWait(t *testing.T) {
	bar := func(k *Kernel) Ptr[I64] { return SharedAt[I64](k, 1024) }
	body := Body{
		Start: func(k *Kernel) {
			g := k.GPU()
			When(k, g.Thread().Eq(k.Int(0)), func() {
				g.MBarrierInit(bar(k), 1)
				g.FenceMBarrier()
				g.MBarrierExpect(bar(k), k.Int32(1024))
				g.CopyBulk(SharedAt[U8](k, 0), Arg[U8](k, "x"), k.Int32(1024), bar(k), g.Streamed())
			})
			g.Sync()
		},
		Main: func(k *Kernel) {
			g := k.GPU()
			g.MBarrierWait(bar(k), g.Turn().And(k.Int(1)).I32())
			StoreF32(Arg[F32](k, "y").At(k.Item()), LoadF32(SharedAt[F32](k, 0).At(g.Lane())))
			g.FenceAsync()
		},
		Grid: Grid{Warps: 1, Block: true, Shared: 1032},
	}
	ptx := assemble(t, "sm_90a", "early", xy, body)
	wait, copied, used := strings.Index(ptx, "griddepcontrol.wait"), strings.Index(ptx, "cp.async.bulk"), strings.Index(ptx, "mbarrier.try_wait")
	if copied < 0 || wait < copied || used < wait {
		t.Errorf("copy at %d, wait at %d, use at %d: want them in this order:\n%s", copied, wait, used, ptx)
	}
	m := NewModule(mustTarget(t, "sm_80"))
	m.Define("early", xy, body)
	if _, err := m.Text(); err == nil || !strings.Contains(err.Error(), "mbar.expect: needs sm_90, the target is sm_80") {
		t.Errorf("sm_80: error %v, want that bulk copies need sm_90", err)
	}
}
