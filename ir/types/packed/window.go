package packed

// Window is the part of an array that some rows need: Rows of its rows from Row on, and of each Wide bytes from byte
// At on. Every array has two dimensions.
type Window struct {
	Row, Rows int64
	At, Wide  int64 // bytes
	Stride    int64 // bytes from one row of the array to the next
}

// Size is the bytes of the window when its rows are put one after the other.
func (w Window) Size() int64 { return w.Rows * w.Wide }

// Window says which part of an array the rows first..first+rows need. first is a multiple of Unit; rows is too, unless
// they end the weight. The weight was checked.
func (m *Matrix) Window(r Role, first, rows int) Window {
	a := m.Parts[r]
	if a.Elem == "" {
		return Window{}
	}
	if r == Order {
		return Window{Rows: 1, Wide: a.Shape[1] * a.Bytes(), Stride: a.Shape[1] * a.Bytes()}
	}
	p, size := formats[m.Format].planes[r], a.Bytes()
	step := int64(p.step(m))
	begin := int64(first/p.rows) * step
	end := min(int64((first+rows+p.rows-1)/p.rows)*step, a.Shape[p.dim])
	w := Window{Row: 0, Rows: a.Shape[0], At: 0, Wide: a.Shape[1] * size, Stride: a.Shape[1] * size}
	if p.dim == 0 {
		w.Row, w.Rows = begin, end-begin
	} else {
		w.At, w.Wide = begin*size, (end-begin)*size
	}
	return w
}

// Around widens rows first..first+rows to those that a window may have.
func (m *Matrix) Around(first, rows int) (from, count int) {
	from = first / Unit * Unit
	return from, min((first+rows+Unit-1)/Unit*Unit, m.Rows) - from
}

// Cut copies a window out of a whole array.
func (w Window) Cut(array []byte) []byte {
	out := make([]byte, 0, w.Size())
	for r := range w.Rows {
		out = append(out, array[(w.Row+r)*w.Stride+w.At:][:w.Wide]...)
	}
	return out
}

// order is the nibble in which AWQ keeps each of eight neighbours: the inverse of 0 2 4 6 1 3 5 7.
var order = [8]int{0, 4, 1, 5, 2, 6, 3, 7}

// one steps to the neighbour: a code that straddles words goes on in the next one of its row.
func one(int) int { return 1 }

// below steps to the word below.
func below(wide int) int { return wide }

// words is the words that n codes of b bits fill.
func words(n, b int) int64 { return int64((n*b + 31) / 32) }

// padded is AutoAWQ's count of words for the zeros of a row in gemv layouts (its calculate_zeros_width).
func padded(m *Matrix) int64 {
	m8 := (m.countGroups() + 7) / 8
	by := 1
	switch {
	case m.Group < 64:
		by = 4
	case m.Group < 128:
		by = 2
	}
	return int64((m8 + by - 1) / by * by)
}

// low is a mask of b bits.
func low(b int) uint32 { return 1<<b - 1 }
