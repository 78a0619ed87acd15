package cuda

import (
	"fmt"
	"math"
	"slices"

	"quire/ir/types/layout"
	"quire/ir/types/noise"
	"quire/ir/work"
	"quire/runtime/cuda/driver"
	"quire/runtime/program"
)

// onDevice is what the device makes of the weights: which, how many bytes, and what its kernels
// are told, which is there until they are done.
type onDevice struct {
	is    []bool
	bytes int64
	how   block
}

// random puts launches into the stream that make the random weights for whose every segment the
// Program has a kernel of family noise: the bytes that a host would lay out.
func (m *Model) random() (out onDevice, err error) {
	ws := m.p.Weights
	out.is = make([]bool, len(ws))
	if m.opts.Packed != nil {
		return out, nil
	}
	var words []int32
	for i := range ws {
		if out.is[i] = m.makes(&ws[i]); !out.is[i] {
			continue
		}
		out.bytes += ws[i].Bytes
		for _, s := range ws[i].Segments {
			for _, w := range [work.NoiseHow]uint64{work.NoiseSeed: uint64(s.Seed), work.NoiseMean: math.Float64bits(s.Mean), work.NoiseScale: math.Float64bits(noise.Scale(s.Std))} {
				words = append(words, int32(w), int32(w>>32))
			}
		}
	}
	if err := m.upload(&out.how, words); err != nil {
		return out, err
	}
	how := out.how.at
	for i := range ws {
		if !out.is[i] {
			continue
		}
		at := m.at[i]
		for j, s := range ws[i].Segments {
			if err := m.makeRows(&ws[i], &s, at, how); err != nil {
				return out, fmt.Errorf("%s: %w", ws[i].Name, err)
			}
			n, err := ws[i].SegmentBytes(j)
			if err != nil {
				return out, err
			}
			at, how = at+driver.Pointer(n), how+8*work.NoiseHow
		}
	}
	return out, nil
}

// makes says whether the device makes a weight.
func (m *Model) makes(w *program.Weight) bool {
	for i := range w.Segments {
		if _, k := m.noiseOf(w, &w.Segments[i]); k < 0 {
			return false
		}
	}
	return w.Layout == program.LayoutFrag
}

// noiseOf finds the kernel that makes a segment, or -1.
func (m *Model) noiseOf(w *program.Weight, s *program.Segment) (work.Noise, int) {
	p, ok := work.NoiseOf(layout.Enc(w.Elem), layout.Enc(s.Elem), w.Cols)
	if !ok || s.Source >= 0 {
		return p, -1
	}
	return p, slices.IndexFunc(m.p.Kernels, func(k program.Kernel) bool { return k.Params == work.Params(p) })
}

// makeRows launches the kernel of a segment.
func (m *Model) makeRows(w *program.Weight, s *program.Segment, at, how driver.Pointer) error {
	p, i := m.noiseOf(w, s)
	rows := int64(s.Rows)
	items, grid := p.Items(work.Dims{N: rows}), work.GridOf(p)
	l := driver.NewLaunch(m.kernels[i], 32*grid.Warps, grid.Shared, 4)
	copy(l.Words(), []uint64{uint64(how), uint64(at), uint64(rows), uint64(items)})
	l.Blocks(grid.Blocks(items, m.dev.Multiprocessors))
	return m.dev.Launch(m.stream, l)
}
