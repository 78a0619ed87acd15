package cpu

import (
	"context"
	"fmt"
	goruntime "runtime"
	"sync/atomic"

	"golang.org/x/sync/errgroup"

	"quire/runtime/weights"
)

// fill lays the weights out, or finds them in the Program's file.
func (m *Model) fill(ctx context.Context, o Options) error {
	n := len(m.p.Weights)
	m.weights.at = make([]int64, n)
	for i := range n {
		if o.Packed == nil {
			break
		}
		b := o.Packed(i)
		if int64(len(b)) != m.p.Weights[i].Bytes {
			return fmt.Errorf("cpu: weight %s: %d bytes, expected %d", m.p.Weights[i].Name, len(b), m.p.Weights[i].Bytes)
		}
		m.weights.at[i] = region{b}.base()
		m.mapped += int64(len(b))
	}
	if o.Packed != nil && o.Map {
		return nil
	}
	var size int64
	offset := make([]int64, n)
	for i, w := range m.p.Weights {
		offset[i] = size
		size += up(w.Bytes, lineBytes)
	}
	r, err := reserveHuge(size)
	if err != nil {
		return fmt.Errorf("cpu: weights: %w", err)
	}
	m.weights.region = r
	dst := func(i int) []byte { return r.data[offset[i]:][:m.p.Weights[i].Bytes] }
	for i := range n {
		m.weights.at[i] = r.base() + offset[i]
	}
	if o.Packed != nil {
		m.mapped = 0
		return m.copy(ctx, o, dst)
	}
	src, err := weights.Open(m.p)
	if err != nil {
		return err
	}
	defer src.Close()
	if o.Verify {
		if err := src.Verify(ctx); err != nil {
			return err
		}
	}
	return src.Fill(ctx, dst, min(m.threads, goruntime.GOMAXPROCS(0)), o.Progress)
}

// copy reads packed weights on all threads. Pages of their file that were copied are not
// this process's memory any more.
func (m *Model) copy(ctx context.Context, o Options, dst func(i int) []byte) error {
	var total int64
	var done atomic.Int64
	for _, w := range m.p.Weights {
		total += w.Bytes
	}
	g, ctx := errgroup.WithContext(ctx)
	g.SetLimit(min(m.threads, goruntime.GOMAXPROCS(0)))
	for i := range m.p.Weights {
		g.Go(func() error {
			src := region{o.Packed(i)}
			copy(dst(i), src.data)
			src.leave()
			if n := done.Add(src.size()); o.Progress != nil {
				o.Progress(n, total)
			}
			return ctx.Err()
		})
	}
	return g.Wait()
}

// Weight is weight i as it lies in memory, for who writes it to a file.
func (m *Model) Weight(i int) []byte {
	if m.weights.data == nil {
		return nil
	}
	at := m.weights.at[i] - m.weights.base()
	return m.weights.data[at:][:m.p.Weights[i].Bytes]
}
