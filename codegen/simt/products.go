package simt

// Products of warpgroups read shared memory from their start to their end: what a wait ends
// is judged then once more, so that a write in between, or a copy under way, is an error.

// StartGroup implements kernel.Warp.
func (w *warp) StartGroup(reads func()) { w.started = append(w.started, reads) }

// CommitGroup implements kernel.Warp.
func (w *warp) CommitGroup() {
	w.products, w.started = append(w.products, w.started), nil
}

// WaitGroups implements kernel.Warp.
func (w *warp) WaitGroups(groups int) {
	for len(w.products) > groups {
		for _, reads := range w.products[0] {
			reads()
		}
		w.products = w.products[1:]
	}
}
