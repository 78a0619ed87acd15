package program

import (
	"fmt"
	"slices"
	"strings"

	"quire/ir/types"
	"quire/ir/types/block"
	"quire/ir/types/layout"
	"quire/ir/types/packed"
	"quire/ir/work"
)

// Limits of a Program, far above any real one: what a device multiplies cannot overflow.
const (
	maxText  = 1 << 10 // bytes of a Dim text or a symbol
	maxBytes = 1 << 46 // of one weight, page or source
	maxCount = 1 << 24 // rows, columns, heads, tokens of a page
	maxVocab = 1 << 24
	maxSteps = 1 << 10
)

// Validate says what keeps the Program from running: indices out of range, args that
// are not what their kernel takes, sizes that disagree. A device may rely on what it
// checks. The machine code itself is trusted as its file's author is.
func (p *Program) Validate() error {
	v := validator{p: p}
	for _, check := range []func() error{v.head, v.kernels, v.memory, v.weights, v.steps} {
		if err := check(); err != nil {
			return fmt.Errorf("program: %w", err)
		}
	}
	return nil
}

type validator struct{ p *Program }

func (v validator) head() error {
	p := v.p
	if p.Vocab <= 0 || p.Vocab > maxVocab {
		return fmt.Errorf("vocabulary of %d, expected 1 to %d", p.Vocab, maxVocab)
	}
	if p.Context <= 0 || p.Context > 1<<31-1 {
		return fmt.Errorf("context of %d tokens, expected 1 to %d", p.Context, 1<<31-1)
	}
	if len(p.Steps) == 0 || len(p.Steps) > maxSteps {
		return fmt.Errorf("%d steps, expected 1 to %d", len(p.Steps), maxSteps)
	}
	return nil
}

func (v validator) kernels() error {
	for i, k := range v.p.Kernels {
		if k.Params == nil {
			return fmt.Errorf("kernel %d: no parameters", i)
		}
		if k.Symbol == "" || len(k.Symbol) > maxText || len(k.Last) > maxText {
			return fmt.Errorf("kernel %d: symbol of %d bytes, expected 1 to %d", i, len(k.Symbol), maxText)
		}
		if err := k.Params.Validate(); err != nil {
			return fmt.Errorf("kernel %d: %w", i, err)
		}
	}
	return nil
}

func (v validator) memory() error {
	p := v.p
	for i, text := range p.Slots {
		for part := range strings.SplitSeq(text, ", ") {
			if err := dim(part); err != nil {
				return fmt.Errorf("slot %d: %w", i, err)
			}
		}
	}
	for i, t := range p.Tables {
		if t.Page <= 0 || t.Page > maxCount || t.Sink < 0 || t.Sink > 1<<31-1 || t.Recent != nil && (*t.Recent < 0 || *t.Recent > 1<<31-1) || t.Chunk < 0 || t.Chunk > maxCount || t.Chunk > 0 && t.Recent == nil {
			return fmt.Errorf("table %d: page of %d, sink %d, expected a positive page and no negative sink or recent", i, t.Page, t.Sink)
		}
	}
	for i, c := range p.Caches {
		if c.Table < 0 || c.Table >= len(p.Tables) {
			return fmt.Errorf("cache %d: table %d, expected one of %d", i, c.Table, len(p.Tables))
		}
		if c.Heads <= 0 || c.Heads > maxCount || c.Dim <= 0 || c.Dim > maxCount {
			return fmt.Errorf("cache %d: %d heads of %d, expected positive sizes", i, c.Heads, c.Dim)
		}
		if c.PageBytes <= 0 || c.PageBytes > maxBytes {
			return fmt.Errorf("cache %d: pages of %d bytes, expected 1 to %d", i, c.PageBytes, int64(maxBytes))
		}
	}
	for i, s := range p.Sources {
		if s.Bytes < 0 || s.Bytes > maxBytes {
			return fmt.Errorf("source %d: %d bytes, expected 0 to %d", i, s.Bytes, int64(maxBytes))
		}
	}
	return nil
}

func (v validator) weights() error {
	for i := range v.p.Weights {
		if err := v.weight(&v.p.Weights[i]); err != nil {
			return fmt.Errorf("weight %d %.128q: %w", i, v.p.Weights[i].Name, err)
		}
	}
	return nil
}

func (v validator) weight(w *Weight) error {
	if len(w.Segments) == 0 {
		return fmt.Errorf("no segments")
	}
	if w.Cols <= 0 || w.Cols > maxCount {
		return fmt.Errorf("%d columns, expected 1 to %d", w.Cols, maxCount)
	}
	var sum int64
	for i := range w.Segments {
		s := &w.Segments[i]
		if err := v.segment(w, s); err != nil {
			return fmt.Errorf("segment %d %.128q: %w", i, s.Tensor, err)
		}
		n, err := w.laid(s.Rows)
		if err != nil {
			return err
		}
		if sum += n; sum > maxBytes {
			return fmt.Errorf("more than %d bytes", int64(maxBytes))
		}
	}
	if w.Bytes != sum {
		return fmt.Errorf("%d bytes as laid out, the segments take %d", w.Bytes, sum)
	}
	return nil
}

// laid is the size of rows of w as laid out.
func (w *Weight) laid(rows int) (int64, error) {
	switch w.Layout {
	case LayoutPlain:
		if w.Elem != "f32" {
			return 0, fmt.Errorf("plain %q, expected f32", w.Elem)
		}
		return 4 * int64(rows) * int64(w.Cols), nil
	case LayoutLanes, LayoutFrag:
		return layout.Bytes(w.Layout, layout.Enc(w.Elem), rows, w.Cols)
	}
	return 0, fmt.Errorf("layout %.64q, expected %s, %s or %s", w.Layout, LayoutLanes, LayoutFrag, LayoutPlain)
}

// SegmentBytes is the size of segment i of the weight as laid out.
func (w *Weight) SegmentBytes(i int) (int64, error) { return w.laid(w.Segments[i].Rows) }

func (v validator) segment(w *Weight, s *Segment) error {
	if s.Rows <= 0 || s.Rows > maxCount || int64(s.Rows)*int64(w.Cols) > maxBytes/8 {
		return fmt.Errorf("%d rows of %d", s.Rows, w.Cols)
	}
	e, ok := block.Lookup(s.Elem)
	if !ok {
		return fmt.Errorf("encoding %.64q is not known", s.Elem)
	}
	row, err := e.RowBytes(int64(w.Cols))
	if err != nil {
		return err
	}
	if s.Packed != nil {
		return v.packed(w, s)
	}
	if s.Source < 0 {
		return nil
	}
	if s.Bytes != row*int64(s.Rows) {
		return fmt.Errorf("%d bytes, %d rows of %d %s take %d", s.Bytes, s.Rows, w.Cols, s.Elem, row*int64(s.Rows))
	}
	return v.within(s.Source, s.Offset, s.Bytes)
}

// packed checks a segment in several arrays.
func (v validator) packed(w *Weight, s *Segment) error {
	p := s.Packed
	if err := p.Check(); err != nil {
		return err
	}
	if p.Cols != w.Cols || p.First < 0 || p.First > p.Rows-s.Rows || p.Encoding().Name != s.Elem || w.Layout == LayoutPlain {
		return fmt.Errorf("rows %d to %d of %d x %d in %s, expected rows of %d in %s", p.First, p.First+s.Rows-1, p.Rows, p.Cols, p.Encoding().Name, w.Cols, s.Elem)
	}
	for r, a := range p.Parts {
		if a.Elem == "" {
			continue
		}
		if err := v.within(p.Places[r].Source, p.Places[r].Offset, a.Shape[0]*a.Shape[1]*a.Bytes()); err != nil {
			return fmt.Errorf("%s: %w", packed.Role(r), err)
		}
	}
	return nil
}

// within checks that bytes lie in a source.
func (v validator) within(source int, offset, bytes int64) error {
	if source < 0 || source >= len(v.p.Sources) {
		return fmt.Errorf("source %d, expected one of %d", source, len(v.p.Sources))
	}
	if size := v.p.Sources[source].Bytes; offset < 0 || offset > size || bytes > size-offset {
		return fmt.Errorf("bytes %d to %d of source %d, which has %d", offset, offset+bytes, source, size)
	}
	return nil
}

func (v validator) steps() error {
	for i := range v.p.Steps {
		if err := v.step(&v.p.Steps[i]); err != nil {
			return fmt.Errorf("step %d %.64q: %w", i, v.p.Steps[i].Name, err)
		}
	}
	return nil
}

func (v validator) step(s *Step) error {
	for _, g := range s.When {
		for _, text := range []string{g.Lhs, g.Rhs} {
			if err := dim(text, "N", "M", "S"); err != nil {
				return fmt.Errorf("guard: %w", err)
			}
		}
	}
	for i, r := range s.Results {
		if r.Slot < 0 || r.Slot >= len(v.p.Slots) {
			return fmt.Errorf("result %.64q: slot %d, expected one of %d", r.Name, r.Slot, len(v.p.Slots))
		}
		if r.Elem != "f32" && r.Elem != "i32" || r.Cols < 0 || r.Cols > maxCount {
			return fmt.Errorf("result %d: %d columns of %.64q, expected f32 or i32", i, r.Cols, r.Elem)
		}
		if err := dim(r.Rows); err != nil {
			return fmt.Errorf("result %d: %w", i, err)
		}
	}
	for i := range s.Launch {
		if err := v.launch(s, &s.Launch[i]); err != nil {
			return fmt.Errorf("launch %d %.64q: %w", i, s.Launch[i].Name, err)
		}
	}
	return nil
}

func (v validator) launch(s *Step, l *Launch) error {
	if l.Kernel < 0 || l.Kernel >= len(v.p.Kernels) {
		return fmt.Errorf("kernel %d, expected one of %d", l.Kernel, len(v.p.Kernels))
	}
	ops := v.p.Kernels[l.Kernel].Params.Operands()
	if len(l.Args) != len(ops) {
		return fmt.Errorf("%d args, %s takes %d", len(l.Args), v.p.Kernels[l.Kernel].Params.Family(), len(ops))
	}
	if !slices.Contains([]string{"", "N", "M"}, l.Rows) {
		return fmt.Errorf("rows %.64q, expected N or M", l.Rows)
	}
	page := 0 // tokens of a page: all tables of a launch are as wide
	for i, a := range l.Args {
		if err := v.arg(l, a, ops[i]); err != nil {
			return fmt.Errorf("arg %d (%s): %w", i, ops[i].Name, err)
		}
		if a.Kind == ArgPages {
			if t := &v.p.Tables[a.Index]; page != 0 && page != t.Page {
				return fmt.Errorf("arg %d (%s): pages of %d tokens beside pages of %d", i, ops[i].Name, t.Page, page)
			} else {
				page = t.Page
			}
		}
		if ops[i].Kind == work.Weight {
			if err := fits(v.p.Kernels[l.Kernel].Params, &v.p.Weights[a.Index]); err != nil {
				return fmt.Errorf("arg %d (%s): %w", i, ops[i].Name, err)
			}
		}
	}
	for _, r := range l.For {
		if r < 0 || r >= len(s.Results) {
			return fmt.Errorf("serves result %d, expected one of %d", r, len(s.Results))
		}
	}
	for _, text := range []string{l.Bytes, l.Flops} {
		if text == "" {
			continue
		}
		if err := dim(text); err != nil {
			return err
		}
	}
	return nil
}

// fits says whether a weight is what its kernel reads.
func fits(p work.Params, w *Weight) error {
	var enc layout.Enc
	var rows []int
	cols, want := 0, LayoutLanes
	switch p := p.(type) {
	case work.Linear:
		enc, rows, cols = p.Enc, p.Rows, p.Cols
	case work.GEMV:
		enc, rows, cols, want = p.Enc, p.Rows, p.Cols, LayoutFrag
	case work.GEMM:
		enc, rows, cols, want = p.Enc, p.Rows, p.Cols, LayoutFrag
	case work.Embed:
		enc, rows, cols = p.Enc, []int{p.Vocab}, p.Dim
		if w.Layout == LayoutFrag {
			want = LayoutFrag // a GPU's
		}
	default:
		return fmt.Errorf("%s takes no weight", p.Family())
	}
	size := int64(0)
	for _, r := range rows {
		if r > maxCount || cols > maxCount {
			return fmt.Errorf("%d rows of %d", r, cols)
		}
		n, err := layout.Bytes(want, enc, r, cols)
		if err != nil {
			return err
		}
		size += n
	}
	if w.Layout != want || w.Elem != string(enc) || w.Cols != cols || w.Bytes != size {
		return fmt.Errorf("%s %s of %d bytes in rows of %d, the kernel reads %s %s of %d in rows of %d", w.Layout, w.Elem, w.Bytes, w.Cols, want, enc, size, cols)
	}
	return nil
}

// inputs are the step inputs by name; dimNames the dims that an arg may be.
var (
	inputs   = []string{"tok", "pos", "out", "row_slot", "slot_start", "slot_new", "slot_len"}
	dimNames = []string{"N", "M", "S", "P", "C"}
)

func (v validator) arg(l *Launch, a Arg, op work.Operand) error {
	count, kinds := 0, []work.Kind(nil)
	name := op.Name
	if name == "N" && l.Rows != "" {
		name = l.Rows
	}
	switch a.Kind {
	case ArgSlot:
		count, kinds = len(v.p.Slots), []work.Kind{work.Float, work.Int, work.Codes}
	case ArgWeight:
		count, kinds = len(v.p.Weights), []work.Kind{work.Weight, work.Vector}
	case ArgCache:
		count, kinds = len(v.p.Caches), []work.Kind{work.Cache}
	case ArgPages:
		count, kinds = len(v.p.Tables), []work.Kind{work.Int}
	case ArgTemp:
		count, kinds = 1, []work.Kind{work.Float, work.Int, work.Codes}
	case ArgInput:
		count, kinds = 1, []work.Kind{work.Int}
		if !slices.Contains(inputs, a.Name) {
			return fmt.Errorf("input %.64q, expected one of %v", a.Name, inputs)
		}
	case ArgDim:
		count, kinds = 1, []work.Kind{work.Dim}
		if a.Name != name || !slices.Contains(dimNames, a.Name) {
			return fmt.Errorf("dim %.64q, expected %s", a.Name, name)
		}
	case ArgConst:
		count, kinds = 1, []work.Kind{work.Const}
		k, ok := v.p.Kernels[l.Kernel].Params.(work.Constants)
		if !ok {
			return fmt.Errorf("a list for %s, which takes none", v.p.Kernels[l.Kernel].Params.Family())
		}
		if err := k.CheckConstant(op.Name, a.Ints); err != nil {
			return err
		}
	default:
		return fmt.Errorf("kind %.64q is not known", a.Kind)
	}
	if !slices.Contains(kinds, op.Kind) {
		return fmt.Errorf("a %s, the kernel takes a %s", a.Kind, op.Kind)
	}
	if a.Index < 0 || a.Index >= count {
		return fmt.Errorf("%s %d, expected one of %d", a.Kind, a.Index, count)
	}
	if (a.Kind == ArgTemp) != (op.Mode == work.Temp) {
		return fmt.Errorf("a %s for an operand of mode %s", a.Kind, op.Mode)
	}
	return nil
}

// dim checks a Dim text over the given symbols, over all of a step's without any.
func dim(text string, symbols ...string) error {
	if len(text) > maxText {
		return fmt.Errorf("dim of %d bytes, expected at most %d", len(text), maxText)
	}
	d, err := types.ParseDim(text)
	if err != nil {
		return err
	}
	if len(symbols) == 0 {
		symbols = dimNames
	}
	for _, s := range d.Symbols() {
		if !slices.Contains(symbols, s) {
			return fmt.Errorf("dim %q: symbol %s, expected one of %v", text, s, symbols)
		}
	}
	return nil
}
