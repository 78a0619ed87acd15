package packed

import "slices"

// orderPlane is i32 [1, K]: one for all rows.
var orderPlane = plane{elems: []string{"i32"}, shape: func(m *Matrix) []int64 { return []int64{1, int64(m.Cols)} }}

// Columns says which column of the file is each column of Decode's rows: those of group 0 in the file's order, then
// those of group 1 and so on. order is the array; without one it is nil, and so is the answer. Columns that are in
// order already give nil too.
func (m *Matrix) Columns(order []byte) ([]int, error) {
	if len(order) == 0 {
		return nil, nil
	}
	if len(order) != 4*m.Cols {
		return nil, wrong(Order, "%d bytes of groups, expected those of %d columns", len(order), m.Cols)
	}
	count := make([]int, m.countGroups())
	group := make([]int, m.Cols)
	for k := range group {
		g := int(int32(word(order, k)))
		if g < 0 || g >= len(count) {
			return nil, wrong(Order, "column %d is in group %d, expected one below %d", k, g, len(count))
		}
		group[k] = g
		count[g]++
	}
	for g, n := range count {
		if n != m.Group {
			return nil, wrong(Order, "group %d has %d columns, expected %d", g, n, m.Group)
		}
	}
	if slices.IsSorted(group) {
		return nil, nil
	}
	from := make([]int, m.Cols)
	for k := range from {
		from[k] = k
	}
	slices.SortStableFunc(from, func(a, b int) int { return group[a] - group[b] })
	return from, nil
}

// reorder sorts the codes of each row by group.
func (m *Matrix) reorder(codes, order []byte) error {
	from, err := m.Columns(order)
	if err != nil || from == nil {
		return err
	}
	row := make([]byte, m.Cols)
	for ; len(codes) > 0; codes = codes[m.Cols:] {
		copy(row, codes)
		for j, k := range from {
			codes[j] = row[k]
		}
	}
	return nil
}
