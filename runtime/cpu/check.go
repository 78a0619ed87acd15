package cpu

import (
	"errors"
	"fmt"

	"quire/ir/work"
	"quire/runtime/device"
)

// check proves that a Batch stays inside the memory that it names, and gives its dims.
func (m *Model) check(b *device.Batch) (work.Dims, error) {
	d := work.Dims{N: int64(len(b.Tok)), M: int64(len(b.Out)), S: int64(len(b.SlotStart))}
	if m.pool == nil {
		return d, errors.New("cpu: step after close")
	}
	var err error
	if d.C, err = b.Check(m.p.Vocab, m.tables); err != nil {
		return d, fmt.Errorf("cpu: %w", err)
	}
	return d, nil
}
