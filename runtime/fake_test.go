package runtime

import (
	"context"
	"errors"
	"hash/fnv"
	"math"
	"sync/atomic"
	"testing"
	"time"

	"quire/runtime/device"
	"quire/runtime/program"
)

const fakeVocab = 50

// fake is a device in Go: its "model" hashes what a row can see, read through the page
// tables as a kernel would, so that a wrong page, position or length changes the tokens.
type fake struct {
	p     *program.Program
	pages []map[int32][]int32 // table, page: tokens
	delay time.Duration
	fail  atomic.Int64 // the step that fails, counted down
	hook  func(*device.Batch)
	spoil int32 // rows of this token have a NaN; 0: none

	steps   atomic.Int64
	largest atomic.Int64 // slots of a step
	rows    atomic.Int64 // rows of a step, most
	inside  atomic.Int64
	closed  atomic.Bool
	logits  []float32
	argmax  []int32
	lse     []float32
}

func fakeProgram(recent int) *program.Program {
	p := &program.Program{
		Model: "fake", Vocab: fakeVocab, Context: 1000,
		Tables:     []program.Table{{Name: "full", Page: 4}, {Name: "window", Page: 4, Sink: 2, Recent: &recent}},
		Caches:     []program.Cache{{Table: 0, PageBytes: 100}, {Table: 1, PageBytes: 10}},
		Generation: program.Generation{EOS: []int32{0}},
	}
	p.Steps = []program.Step{{Results: []program.Result{{Name: "logits"}, {Name: "argmax"}, {Name: "logsumexp"}}}}
	return p
}

// open makes a bound Program over a fake.
func open(t testing.TB, l limits) (*Program, *fake) {
	t.Helper()
	p := fakeProgram(9)
	f := &fake{p: p, pages: []map[int32][]int32{{}, {}}}
	if l.context == 0 {
		l.context = p.Context
	}
	if l.pages == nil {
		l.pages = []int{10000, 10000}
	}
	if l.slots == 0 {
		l.slots = 64
	}
	if l.chunk == 0 {
		l.chunk = 16
	}
	prog := newProgram(p, nil, f, l)
	t.Cleanup(func() {
		if err := prog.Close(context.Background()); err != nil {
			t.Error(err)
		}
		if !f.closed.Load() {
			t.Error("the device was not closed")
		}
	})
	return prog, f
}

func (f *fake) Step(b *device.Batch) (device.Output, error) {
	if f.inside.Add(1) != 1 {
		panic("BUG: two steps at once")
	}
	defer f.inside.Add(-1)
	f.steps.Add(1)
	f.largest.Store(max(f.largest.Load(), int64(len(b.SlotStart))))
	f.rows.Store(max(f.rows.Load(), int64(len(b.Tok))))
	if f.delay > 0 {
		time.Sleep(f.delay)
	}
	if f.hook != nil {
		f.hook(b)
	}
	if f.fail.Add(-1) == 0 {
		return device.Output{}, errors.New("device fault")
	}
	for r, tok := range b.Tok { // append
		s := b.RowSlot[r]
		at := b.SlotLen[s] + int32(r) - b.SlotStart[s]
		if b.Pos[r] != at {
			return device.Output{}, errors.New("position differs from the cache's")
		}
		for t, pages := range b.Pages {
			page := pages.Entries[int(s)*pages.Width+int(at)/4]
			if page < 0 {
				return device.Output{}, errors.New("no page to write to")
			}
			if f.pages[t][page] == nil {
				f.pages[t][page] = []int32{-1, -1, -1, -1}
			}
			f.pages[t][page][at%4] = tok
		}
	}
	var out device.Output
	f.logits, f.argmax, f.lse = f.logits[:0], f.argmax[:0], f.lse[:0]
	for _, r := range b.Out {
		h, err := f.hash(b, int(r))
		if err != nil {
			return out, err
		}
		row := fakeRow(h)
		if f.spoil != 0 && b.Tok[r] == f.spoil {
			for i := range row {
				row[i] = float32(math.NaN())
			}
		}
		best, sum := 0, 0.0
		for i, v := range row {
			if v > row[best] {
				best = i
			}
			sum += math.Exp(float64(v))
		}
		f.logits, f.argmax, f.lse = append(f.logits, row...), append(f.argmax, int32(best)), append(f.lse, float32(math.Log(sum)))
	}
	if b.Want&device.Logits != 0 {
		out.Logits = f.logits
	}
	if b.Want&device.ArgMax != 0 {
		out.ArgMax = f.argmax
	}
	if b.Want&device.LogSumExp != 0 {
		out.LogSumExp = f.lse
	}
	return out, nil
}

// hash reads what row r sees.
func (f *fake) hash(b *device.Batch, r int) (uint64, error) {
	s := b.RowSlot[r]
	at := b.SlotLen[s] + int32(r) - b.SlotStart[s]
	h := fnv.New64a()
	for t, tab := range f.p.Tables {
		for j := int32(0); j <= at; j++ {
			if tab.Recent != nil && int(j) >= tab.Sink && int(at-j) > *tab.Recent {
				continue
			}
			page := b.Pages[t].Entries[int(s)*b.Pages[t].Width+int(j)/4]
			if page < 0 {
				return 0, errors.New("a visible token has no page")
			}
			h.Write([]byte{byte(f.pages[t][page][j%4]), byte(j)})
		}
	}
	return h.Sum64(), nil
}

// fakeRow spreads a hash over logits; token 0, the end, is rare.
func fakeRow(h uint64) []float32 {
	row := make([]float32, fakeVocab)
	for i := range row {
		h = h*6364136223846793005 + 1442695040888963407
		row[i] = float32(h>>40) / (1 << 22)
	}
	row[0] -= 0.05
	return row
}

// reference is the greedy continuation of a prompt by definition.
func reference(prompt []int32, n int) []int32 {
	f := &fake{p: fakeProgram(9)}
	all := append([]int32{}, prompt...)
	var out []int32
	for range n {
		f.pages = []map[int32][]int32{{}, {}}
		pages := (len(all) + 3) / 4
		b := &device.Batch{Tok: all, SlotStart: []int32{0}, SlotNew: []int32{int32(len(all))}, SlotLen: []int32{0}, Out: []int32{int32(len(all) - 1)}, Want: device.ArgMax}
		for i := range all {
			b.Pos, b.RowSlot = append(b.Pos, int32(i)), append(b.RowSlot, 0)
		}
		for range 2 {
			var e []int32
			for i := range pages {
				e = append(e, int32(i))
			}
			b.Pages = append(b.Pages, device.Pages{Width: pages, Entries: e})
		}
		o, err := f.Step(b)
		if err != nil {
			panic(err)
		}
		out, all = append(out, o.ArgMax[0]), append(all, o.ArgMax[0])
	}
	return out
}

func (f *fake) CopyPage(table int, from, to int32) {
	f.pages[table][to] = append([]int32{}, f.pages[table][from]...)
}

func (f *fake) Discard(table int, pages []int32) {
	for _, p := range pages {
		delete(f.pages[table], p)
	}
}

func (f *fake) Memory() device.Memory    { return device.Memory{Steps: 1} }
func (f *fake) Profile() []device.Launch { return nil }
func (f *fake) Close() error             { f.closed.Store(true); return nil }
