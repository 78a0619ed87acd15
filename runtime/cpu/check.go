package cpu

import (
	"errors"
	"fmt"

	"quire/ir/work"
	"quire/runtime/device"
)

// check proves that a Batch stays inside the memory that it names, and gives its dims.
func (m *Model) check(b *device.Batch) (work.Dims, error) {
	n, s := len(b.Tok), len(b.SlotStart)
	d := work.Dims{N: int64(n), M: int64(len(b.Out)), S: int64(s)}
	if m.pool == nil {
		return d, errors.New("cpu: step after close")
	}
	if n == 0 || len(b.Pos) != n || len(b.RowSlot) != n || s == 0 || len(b.SlotNew) != s || len(b.SlotLen) != s || len(b.Pages) != len(m.p.Tables) {
		return d, fmt.Errorf("cpu: batch of %d tokens, %d positions, %d row slots, %d %d %d slots and %d tables", n, len(b.Pos), len(b.RowSlot), s, len(b.SlotNew), len(b.SlotLen), len(b.Pages))
	}
	for i, t := range b.Tok {
		if t < 0 || int(t) >= m.p.Vocab || b.Pos[i] < 0 {
			return d, fmt.Errorf("cpu: row %d: token %d at position %d, the vocabulary has %d", i, t, b.Pos[i], m.p.Vocab)
		}
	}
	for i, r := range b.Out {
		if r < 0 || int(r) >= n {
			return d, fmt.Errorf("cpu: result %d is of row %d, the step has %d", i, r, n)
		}
	}
	row := 0
	for i := range s {
		if int(b.SlotStart[i]) != row || b.SlotNew[i] < 0 || int(b.SlotNew[i]) > n-row || b.SlotLen[i] < 0 {
			return d, fmt.Errorf("cpu: slot %d: %d rows from %d after %d tokens, expected them from %d", i, b.SlotNew[i], b.SlotStart[i], b.SlotLen[i], row)
		}
		for ; row < int(b.SlotStart[i]+b.SlotNew[i]); row++ {
			if int(b.RowSlot[row]) != i {
				return d, fmt.Errorf("cpu: row %d: slot %d, expected %d", row, b.RowSlot[row], i)
			}
		}
		d.C = max(d.C, int64(b.SlotLen[i])+int64(b.SlotNew[i]))
	}
	if row != n {
		return d, fmt.Errorf("cpu: %d rows in slots, the step has %d", row, n)
	}
	return d, m.checkPages(b)
}

func (m *Model) checkPages(b *device.Batch) error {
	for t, p := range b.Pages {
		if len(p.Entries) != p.Width*len(b.SlotLen) {
			return fmt.Errorf("cpu: table %d: %d entries, expected %d slots of %d", t, len(p.Entries), len(b.SlotLen), p.Width)
		}
		for s, n := range b.SlotLen {
			if used := int64(n) + int64(b.SlotNew[s]); used > int64(p.Width)*int64(m.p.Tables[t].Page) {
				return fmt.Errorf("cpu: table %d, slot %d: %d tokens in %d pages of %d", t, s, used, p.Width, m.p.Tables[t].Page)
			}
		}
		for i, e := range p.Entries {
			if e < -1 || int(e) >= m.limits[t] {
				return fmt.Errorf("cpu: table %d: entry %d is page %d of %d", t, i, e, m.limits[t])
			}
		}
	}
	return nil
}
