package token

import "math/bits"

// pairMerge is what two neighbouring tokens become, and how early.
type pairMerge struct{ rank, id int32 }

// pairTable maps two ids to their merge: open addressing, one cache line a look-up, since merging does little else.
type pairTable struct {
	slots []pairSlot
	shift uint
}

type pairSlot struct {
	key uint64
	pairMerge
}

const emptyPair = ^uint64(0)

func pairKey(left, right int32) uint64 { return uint64(uint32(left))<<32 | uint64(uint32(right)) }

func newPairTable(n int) pairTable {
	size := 1 << bits.Len(uint(2*n)) // at most half full
	t := pairTable{slots: make([]pairSlot, size), shift: uint(64 - bits.TrailingZeros(uint(size)))}
	for i := range t.slots {
		t.slots[i].key = emptyPair
	}
	return t
}

// slot finds a key, or the empty slot where it belongs.
func (t *pairTable) slot(key uint64) *pairSlot {
	i := key * 0x9e3779b97f4a7c15 >> t.shift
	for {
		s := &t.slots[i]
		if s.key == key || s.key == emptyPair {
			return s
		}
		if i++; i == uint64(len(t.slots)) {
			i = 0
		}
	}
}

// add enters a merge unless the pair has one: the first of equal pairs counts.
func (t *pairTable) add(left, right int32, m pairMerge) {
	key := pairKey(left, right)
	if s := t.slot(key); s.key == emptyPair {
		*s = pairSlot{key, m}
	}
}

func (t *pairTable) find(left, right int32) (pairMerge, bool) {
	s := t.slot(pairKey(left, right))
	return s.pairMerge, s.key != emptyPair
}
