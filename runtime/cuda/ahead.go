package cuda

import (
	"errors"
	"fmt"
	"math"
	"slices"
	"sync/atomic"
	"unsafe"

	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/device"
)

// advancePTX feeds a step's token to the next: it writes the token (0 for one that could not be
// chosen) where the next step reads it, moves position and length on by one, and shows the token
// to the host, in a ring of pinned memory: -1 where its logit is not finite. Operands: argmax
// i32[1], tok, pos, slot_len, ring i32[64], count i32[1], logits f32, null for a token that was
// drawn.
const advancePTX = `.version 7.0
.target sm_80
.address_size 64
.visible .entry quire_advance(.param .u64 argmax, .param .u64 tok, .param .u64 pos, .param .u64 len, .param .u64 ring, .param .u64 count, .param .u64 logits) {
	.reg .u64 %p<10>;
	.reg .u32 %r<10>;
	.reg .pred %q<3>;
	ld.param.u64 %p1, [argmax];
	ld.param.u64 %p2, [tok];
	ld.param.u64 %p3, [pos];
	ld.param.u64 %p4, [len];
	ld.param.u64 %p5, [ring];
	ld.param.u64 %p6, [count];
	ld.param.u64 %p8, [logits];
	ld.global.u32 %r1, [%p1];
	setp.eq.u64 %q1, %p8, 0;
	@%q1 bra known;
	mul.wide.s32 %p9, %r1, 4;
	add.u64 %p9, %p8, %p9;
	ld.global.u32 %r8, [%p9];
	and.b32 %r8, %r8, 0x7f800000;
	setp.eq.u32 %q2, %r8, 0x7f800000;
	selp.b32 %r1, -1, %r1, %q2;
known:
	max.s32 %r7, %r1, 0;
	st.global.u32 [%p2], %r7;
	ld.global.u32 %r2, [%p3];
	add.u32 %r2, %r2, 1;
	st.global.u32 [%p3], %r2;
	ld.global.u32 %r3, [%p4];
	add.u32 %r3, %r3, 1;
	st.global.u32 [%p4], %r3;
	ld.global.u32 %r4, [%p6];
	add.u32 %r5, %r4, 1;
	st.global.u32 [%p6], %r5;
	and.b32 %r6, %r4, 63;
	mul.wide.u32 %p7, %r6, 4;
	add.u64 %p7, %p5, %p7;
	st.volatile.global.u32 [%p7], %r1;
	membar.sys;
	ret;
}
`

const (
	ringSize = 64 // of advancePTX
	ahead    = 4  // steps in the stream at most; they are shorter than a look at the ring is late
	lookEach = 1 << 12
	notYet   = math.MinInt32 // in the ring
)

// advance is what Run needs beside a step.
type advance struct {
	module driver.Module
	launch *driver.Launch
	count  block
	ring   []byte // pinned; the device writes it
}

// slot i of the ring; notYet until the device wrote it.
func (a *advance) slot(i int) *int32 {
	return (*int32)(unsafe.Pointer(&a.ring[4*(i%ringSize)]))
}

// open loads the kernel, once.
func (a *advance) open(m *Model) (err error) {
	if a.launch != nil {
		return nil
	}
	if a.module == 0 {
		if a.module, err = m.load([]byte(advancePTX)); err != nil {
			return err
		}
	}
	if a.count.at == 0 {
		if err := m.take(&a.count, alignBytes); err != nil {
			return err
		}
	}
	if a.ring == nil {
		if a.ring, err = m.dev.AllocHost(4 * ringSize); err != nil {
			return err
		}
	}
	k, err := m.dev.Kernel(a.module, "quire_advance", 0)
	if err != nil {
		return err
	}
	a.launch = driver.NewLaunch(k, 1, 0, 7)
	a.launch.Blocks(1)
	return nil
}

func (a *advance) close(m *Model) error {
	return errors.Join(m.dev.CloseModule(a.module), m.dev.Free(a.count.at), m.dev.FreeHost(a.ring))
}

// Runs implements device.Runner.
func (m *Model) Runs() bool { return !m.opts.Profile }

// Run implements device.Runner: the step's graph ends with the kernel that makes the next
// step's inputs, so that the next step is in the stream before the host has seen the token.
func (m *Model) Run(b *device.Batch, steps int, yield func(token int32) bool) error {
	if err := m.checkRun(b, steps); err != nil {
		return fmt.Errorf("cuda: %w", err)
	}
	leave, err := m.dev.Enter()
	if err != nil {
		return err
	}
	defer leave()
	if err := m.advance.open(m); err != nil {
		return err
	}
	want := b.Want
	b.Want = device.ArgMax
	if len(b.Choices) == 1 && b.Choices[0].Draw() {
		b.Want = device.Chosen
	}
	index, sh, err := m.prepare(b)
	drawn := b.Want == device.Chosen
	b.Want = want
	if err != nil {
		return err
	}
	s := m.steps[index]
	if drawn {
		if err := m.chooses(b, s, steps, m.advance.count.at); err != nil {
			return err
		}
		sh.moves = m.moves
	}
	if err := m.aim(s, drawn); err != nil {
		return err
	}
	for i := range ringSize {
		atomic.StoreInt32(m.advance.slot(i), notYet)
	}
	if err := m.dev.Zero(m.stream, m.advance.count.at, alignBytes); err != nil {
		return err
	}
	if err := errors.Join(m.pump(index, s, sh, steps, yield), m.wait()); err != nil {
		return fmt.Errorf("cuda: step %q: %w", s.def.Name, err)
	}
	return nil
}

// pump keeps the stream filled and hands tokens over.
func (m *Model) pump(index int, s *bound, sh shape, steps int, yield func(token int32) bool) error {
	for queued, read, more := 0, 0, true; more && read < steps || read < queued; {
		for ; more && queued < steps && queued-read < ahead; queued++ {
			if err := m.ahead(index, s, sh); err != nil {
				return err
			}
		}
		token, err := m.look(read)
		if err != nil {
			return err
		}
		read++
		more = yield(token) && more
	}
	return nil
}

// look waits for the token of a step of the run.
func (m *Model) look(i int) (int32, error) {
	slot := m.advance.slot(i)
	for turn := 1; ; turn++ {
		if t := atomic.LoadInt32(slot); t != notYet {
			atomic.StoreInt32(slot, notYet)
			return t, nil
		}
		if turn%lookEach != 0 {
			continue
		}
		done, err := m.dev.Done(m.stream)
		if err = errors.Join(err, m.life.Err()); err != nil {
			return 0, err
		}
		if done && atomic.LoadInt32(slot) == notYet {
			return 0, fmt.Errorf("step %d of a run came to its end without a token", i)
		}
	}
}

// ahead puts a step and what follows it into the stream.
func (m *Model) ahead(index int, s *bound, sh shape) error {
	return m.graph(graphKey{index, true, sh}, func() error {
		err := m.launch(s)
		if sh.want&device.Chosen != 0 {
			err = errors.Join(err, m.choose.launch(m))
		}
		return errors.Join(err, m.dev.Launch(m.stream, m.advance.launch))
	})
}

// aim points the kernel at a step's token, drawn or of the greatest logit, and at its inputs.
func (m *Model) aim(s *bound, drawn bool) error {
	token, logits := m.choose.tokens.at, driver.Pointer(0)
	if !drawn {
		i := slices.IndexFunc(s.launches, func(l launch) bool { r, ok := l.params.(work.Reduce); return ok && r.Op == work.ArgMax })
		if i < 0 {
			return fmt.Errorf("cuda: step %q: no argmax", s.def.Name)
		}
		l := &s.launches[i]
		logits, token = m.address(l.def.Args[0], l.lists[0]), m.address(l.def.Args[1], l.lists[1])
	}
	input := func(name string) uint64 { return uint64(m.inputs.address(slices.Index(inputNames, name))) }
	copy(m.advance.launch.Words(), []uint64{uint64(token), input("tok"), input("pos"), input("slot_len"),
		uint64(uintptr(unsafe.Pointer(&m.advance.ring[0]))), uint64(m.advance.count.at), uint64(logits)})
	return nil
}

// checkRun proves that all steps of a run have pages.
func (m *Model) checkRun(b *device.Batch, steps int) error {
	if len(b.Tok) != 1 || len(b.Out) != 1 || len(b.SlotStart) != 1 || steps < 1 || m.opts.Profile {
		return fmt.Errorf("a run of %d steps from %d rows of %d slots, expected one row that wants its result, and no profile", steps, len(b.Tok), len(b.SlotStart))
	}
	for t, p := range b.Pages {
		for at := int64(b.SlotLen[0]); t < len(m.tables) && at < int64(b.SlotLen[0])+int64(steps); at++ {
			if i := at / int64(m.tables[t].Page); i >= int64(len(p.Entries)) || p.Entries[i] < 0 {
				return fmt.Errorf("table %d: no page for token %d of a run", t, at)
			}
		}
	}
	return nil
}
