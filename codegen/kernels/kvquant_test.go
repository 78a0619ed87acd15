package kernels

import (
	"fmt"
	"testing"

	"quire/ir/target"
	"quire/ir/types/kvpage"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// sameVectors holds what a cache has of the step's rows against x [row][heads][dim], of which
// it holds the heads listed, code by code.
func (c *cacheOf) sameVectors(t *testing.T, name string, half kvpage.Half, x []float32, heads int, list []int) {
	t.Helper()
	for n := range c.rows {
		slot, i := c.index(n)
		for h, from := range list {
			want := append([]float32(nil), x[(n*heads+from)*c.dim:][:c.dim]...)
			kvpage.Round(c.enc, want)
			for d, got := range c.vector(half, slot, i, h) {
				if got != want[d] {
					t.Fatalf("%s: row %d, head %d, half %d, channel %d is %v, expected %v of %v", name, n, h, half, d, got, want[d], x[(n*heads+from)*c.dim+d])
				}
			}
		}
	}
}

// A quantising append keeps what kvpage.Round says, wherever pages lie and whatever they
// held, also of vectors that are all one number.
func TestKVStoreQuantises(t *testing.T) {
	for _, tgt := range everywhere(t) {
		for _, c := range []struct {
			enc           layout.Enc
			kv, dim, page int
		}{{kvpage.Q4, 3, 64, 64}, {kvpage.Q8, 3, 64, 64}, {kvpage.Q4, 2, 128, 64}, {kvpage.Q4, 1, 80, 64}, {kvpage.Q8, 2, 24, 64}, {kvpage.Q4, 2, 7, 64}, {kvpage.Q8, 1, 100, 128}} {
			p := work.KVStore{KVHeads: c.kv, Dim: c.dim, CacheEnc: c.enc, Page: c.page}
			cache := newCacheOf(t, cacheOf{enc: c.enc, kv: c.kv, dim: c.dim, page: c.page, gpu: tgt.Arch == target.PTX}, []int{5, 60}, []int{20, 9})
			k, v := random(t, cache.rows*c.kv*c.dim, 2), random(t, cache.rows*c.kv*c.dim, 30)
			for d := range c.dim {
				k[d], v[d] = 0.25, 0
			}
			l := open(t, tgt, p)
			l.bind(t, 0, p, cache.dims(), cache.operands(map[string]uintptr{"k": addr(k), "v": addr(v)})).run(4)
			name := fmt.Sprintf("%s %s", tgt.Name, p.Key())
			all := []int{0, 1, 2}[:c.kv]
			cache.sameVectors(t, name+" keys", kvpage.Key, k, c.kv, all)
			cache.sameVectors(t, name+" values", kvpage.Value, v, c.kv, all)
		}
	}
}

// An append to two caches puts each head where its place says.
func TestKVStoreTwoCaches(t *testing.T) {
	for _, tgt := range everywhere(t) {
		for _, enc := range []layout.Enc{kvpage.Q4, kvpage.Q8} {
			p := work.KVStore{KVHeads: 5, Dim: 32, CacheEnc: enc, Page: 64, Stream: 2, Place: []int{0, 3, 1, 4, 2}}
			gpu := tgt.Arch == target.PTX
			first := newCacheOf(t, cacheOf{enc: enc, kv: 3, dim: 32, page: 64, gpu: gpu}, []int{60, 3}, []int{7, 1})
			second := newCacheOf(t, cacheOf{enc: enc, kv: 2, dim: 32, page: 64, gpu: gpu}, []int{60, 3}, []int{7, 1})
			k, v := random(t, first.rows*5*32, 1), random(t, first.rows*5*32, 1)
			place := alloc[int32](t, 5)
			for i, at := range p.Place {
				place[i] = int32(at)
			}
			l := open(t, tgt, p)
			l.bind(t, 0, p, first.dims(), first.operands(map[string]uintptr{"k": addr(k), "v": addr(v), "place": addr(place),
				"stream": addr(second.bytes), "stream_pages": addr(second.pages)})).run(3)
			for half, x := range [][]float32{k, v} {
				first.sameVectors(t, tgt.Name+" first", kvpage.Half(half), x, 5, []int{0, 2, 4})
				second.sameVectors(t, tgt.Name+" second", kvpage.Half(half), x, 5, []int{1, 3})
			}
		}
	}
}
