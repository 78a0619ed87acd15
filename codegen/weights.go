package codegen

import (
	"fmt"

	"quire/ir/types/layout"
	"quire/runtime/program"
)

// weightIndex returns the number of a weight in the Program.
func (b *builder) weightIndex(name string) (int, error) {
	if i, ok := b.weight[name]; ok {
		return i, nil
	}
	w := b.m.Weight(name)
	out := program.Weight{Name: name, Layout: w.Layout, Elem: w.Type.Elem.String(), Cols: 1}
	if len(w.Type.Shape) == 2 {
		c, _ := w.Type.Shape[1].IsConst()
		out.Cols = int(c)
	}
	for _, s := range b.m.Sources(w) {
		seg, err := b.o.Segments(s.Name)
		if err != nil {
			return 0, err
		}
		rows, _ := s.Type.Shape[0].IsConst()
		if int64(seg.Rows) != rows {
			return 0, fmt.Errorf("weight @%s: %d rows in the file, %d in the module", s.Name, seg.Rows, rows)
		}
		out.Segments = append(out.Segments, seg)
		n, err := laidOut(out, int(rows))
		if err != nil {
			return 0, fmt.Errorf("weight @%s: %w", s.Name, err)
		}
		out.Bytes += n
	}
	i := len(b.p.Weights)
	b.p.Weights = append(b.p.Weights, out)
	b.weight[name] = i
	return i, nil
}

// laidOut is the size of a segment's rows in memory.
func laidOut(w program.Weight, rows int) (int64, error) {
	switch w.Layout {
	case program.LayoutPlain:
		return int64(rows) * 4, nil
	case program.LayoutLanes, program.LayoutFrag:
		return layout.Bytes(w.Layout, layout.Enc(w.Elem), rows, w.Cols)
	}
	return 0, fmt.Errorf("layout %q, expected lanes, frag or plain", w.Layout)
}
