package kernels

import (
	"fmt"

	"quire/ir/types/layout"
	"quire/ir/work"
)

// speedCases are a layer of Llama-3-8B, its products alone, and each of them over some
// rows of x.
func speedCases() []speedCase {
	const meeting = 228 << 10
	var out []speedCase
	add := func(name string, rows, repeat int, p ...work.Params) {
		out = append(out, speedCase{name: name, stages: p, rows: rows, repeat: repeat})
	}
	attention := decodeGPU(128, layout.F16, 0)
	attention.Blocks, attention.Window, attention.Sink = 264, 0, 0
	names := []string{"qkv", "o", "glu", "down"}
	for _, enc := range []layout.Enc{layout.BF16, layout.Q4G128} {
		dot := work.F16
		if enc == layout.BF16 {
			dot = work.BF16
		}
		of := llama8B(enc, dot)
		for _, columns := range []int{1, 8} {
			p := func(name string) work.Params {
				return work.GEMV{Linear: of[name], Columns: columns, Shared: meeting}
			}
			add(fmt.Sprintf("layer%d_%s", columns, enc), columns, 12, p("qkv"), attention, p("o"), p("glu"), p("down"))
			add(fmt.Sprintf("chain%d_%s", columns, enc), columns, 12, p("qkv"), p("o"), p("glu"), p("down"))
		}
		for _, rows := range []int{16, 2048, 8192} {
			for _, name := range names {
				l := of[name]
				l.Norm, l.Tokens = nil, work.Many
				kind := func(k string) string { return fmt.Sprintf("%s_%d_%s_%s", k, rows, enc, name) }
				if rows == 16 {
					add(kind("rows"), rows, 16, work.GEMV{Linear: l, Columns: 16})
					add(kind("meet"), rows, 16, work.GEMV{Linear: l, Columns: 16, Shared: meeting})
					continue
				}
				add(kind("gemm"), rows, 2, work.GEMM{Linear: l, RowWarps: 4, Block: 128})
				add(kind("group4"), rows, 2, work.GEMM{Linear: l, RowWarps: 4, Block: 128, Groups: true})
			}
		}
	}
	return out
}
