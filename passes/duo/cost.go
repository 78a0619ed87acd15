package duo

// CacheBytes is the memory of keys and values of n tokens: every retrieval head
// keeps all, every streaming head sink + recent; heads of dim elements of size
// bytes each. Pages round it up, the row under way comes on top.
func (m Mask) CacheBytes(n, sink, recent, dim int64, size float64) float64 {
	kept := min(n, sink+recent)
	return 2 * size * float64(dim) * float64(n*int64(m.Retrieval())+kept*int64(m.Streaming()))
}

// Pairs is how many (query, key) pairs a streaming head computes for a prompt of n
// tokens. A dense head computes n*(n+1)/2.
func (o Options) Pairs(n int64) int64 {
	if o.Prefill == Strict {
		whole := min(n, int64(o.Sink+o.Recent)+1) // rows that see everything before them
		return whole*(whole+1)/2 + (n-whole)*(int64(o.Sink+o.Recent)+1)
	}
	var pairs int64
	for at := int64(0); at < n; at += int64(o.Chunk) {
		rows := min(n-at, int64(o.Chunk))
		pairs += rows*min(at, int64(o.Sink+o.Recent)) + rows*(rows+1)/2
	}
	return pairs
}
