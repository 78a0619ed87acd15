package quest_test

import (
	"testing"

	"quire/ir"
	"quire/ir/types/layout"
	"quire/ir/work"
	"quire/passes/quest"
)

// Case 14 for the kernels: what a decode row's two launches read of a KV head is the
// formula's, less what is not there of the last page, which has no summary to read either.
func TestCase14Kernels(t *testing.T) {
	for _, per := range []ir.Per{ir.PerGroup, ir.PerHead} {
		for _, budget := range []int{64, 512, 4096} {
			o := quest.Options{Budget: budget, Page: 16, PhysicalPage: 64, Per: per}
			k := work.Attention{Phase: work.Decode, Heads: 9, KVHeads: 3, Dim: 64, Scale: 1, CacheEnc: layout.F16, Page: 64, Summary: 16, Split: 256, Budget: o.Pages(), PerHead: per == ir.PerHead}
			s := work.PageSelect{Heads: 9, KVHeads: 3, Dim: 64, Scale: 1, PerHead: k.PerHead, CacheEnc: layout.F16, Page: 64, Summary: 16, Budget: o.Pages()}
			for _, before := range []int{0, 63, 64, 511, 512, 1000, 4095, 8000, 8191} {
				a, _ := k.Read(int64(before), 1)
				b, _ := s.Read(int64(before), 1)
				group := 1
				if k.PerHead {
					group = 3
				}
				got, want := float64(a+b)/3, o.Traffic(before+1, group, 64, 2)
				less := want - got
				if before < budget && less != 0 || !k.PerHead && less < 0 || less > 2*64*2*float64(64*group+4) {
					t.Errorf("budget %d, per %d, %d tokens: %v bytes of a KV head, the formula has %v", budget, per, before+1, got, want)
				}
			}
			if a, _ := k.Read(1000, 20); a != 2*3*64*2*1020 {
				t.Errorf("a prompt reads %d bytes, expected all", a)
			}
		}
	}
}
