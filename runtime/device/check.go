package device

import "fmt"

// Table is what a batch must keep to of one page table.
type Table struct {
	Page  int // tokens
	Pages int // physical
}

// Check proves that a batch stays inside the memory that it names. Longest is the number of
// tokens of the longest slot after the step.
func (b *Batch) Check(vocab int, tables []Table) (longest int64, err error) {
	n, s := len(b.Tok), len(b.SlotStart)
	if n == 0 || len(b.Pos) != n || len(b.RowSlot) != n || s == 0 || len(b.SlotNew) != s || len(b.SlotLen) != s || len(b.Pages) != len(tables) {
		return 0, fmt.Errorf("batch of %d tokens, %d positions, %d row slots, %d %d %d slots and %d tables", n, len(b.Pos), len(b.RowSlot), s, len(b.SlotNew), len(b.SlotLen), len(b.Pages))
	}
	for i, t := range b.Tok {
		if t < 0 || int(t) >= vocab || b.Pos[i] < 0 {
			return 0, fmt.Errorf("row %d: token %d at position %d, the vocabulary has %d", i, t, b.Pos[i], vocab)
		}
	}
	for i, r := range b.Out {
		if r < 0 || int(r) >= n {
			return 0, fmt.Errorf("result %d is of row %d, the step has %d", i, r, n)
		}
	}
	row := 0
	for i := range s {
		if int(b.SlotStart[i]) != row || b.SlotNew[i] < 0 || int(b.SlotNew[i]) > n-row || b.SlotLen[i] < 0 {
			return 0, fmt.Errorf("slot %d: %d rows from %d after %d tokens, expected them from %d", i, b.SlotNew[i], b.SlotStart[i], b.SlotLen[i], row)
		}
		for ; row < int(b.SlotStart[i]+b.SlotNew[i]); row++ {
			if int(b.RowSlot[row]) != i {
				return 0, fmt.Errorf("row %d: slot %d, expected %d", row, b.RowSlot[row], i)
			}
		}
		longest = max(longest, int64(b.SlotLen[i])+int64(b.SlotNew[i]))
	}
	if row != n {
		return 0, fmt.Errorf("%d rows in slots, the step has %d", row, n)
	}
	return longest, b.checkPages(tables)
}

func (b *Batch) checkPages(tables []Table) error {
	for t, p := range b.Pages {
		if len(p.Entries) != p.Width*len(b.SlotLen) {
			return fmt.Errorf("table %d: %d entries, expected %d slots of %d", t, len(p.Entries), len(b.SlotLen), p.Width)
		}
		for s, n := range b.SlotLen {
			if used := int64(n) + int64(b.SlotNew[s]); used > int64(p.Width)*int64(tables[t].Page) {
				return fmt.Errorf("table %d, slot %d: %d tokens in %d pages of %d", t, s, used, p.Width, tables[t].Page)
			}
		}
		for i, e := range p.Entries {
			if e < -1 || int(e) >= tables[t].Pages {
				return fmt.Errorf("table %d: entry %d is page %d of %d", t, i, e, tables[t].Pages)
			}
		}
	}
	return nil
}
