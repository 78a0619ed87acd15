package kernels

import (
	"quire/codegen/kernel"
	"quire/ir/types/layout"
	"quire/ir/work"
)

// headGroups is attention of both classes of heads in one launch: items of long and of
// short caches fill the workers together.
func headGroups(p work.HeadGroups) kernel.Body {
	if p.Full.Phase == work.Prefill {
		return kernel.Body{Main: func(k *kernel.Kernel) {
			full, stream := newPrefiller(k, p.Full), newPrefiller(k, p.Stream)
			full.among, stream.among = amongOf(p)
			blocks := k.Dim("N").Plus(work.QueryBlock - 1).Over(work.QueryBlock)
			items := blocks.Times(int64(p.Full.KVHeads))
			stream.nth = stream.nth.Sub(items)
			either(k, k.Item().Lt(items), full.item, stream.item)
		}}
	}
	return kernel.Body{
		Main: func(k *kernel.Kernel) {
			full, stream := decoders(k, p)
			splits := full.splits()
			groups := k.Dim("N").Times(int64(p.Full.Lists()))
			group := k.Item().Div(splits)
			either(k, group.Lt(groups), full.item, func() {
				kernel.When(k, k.Item().Eq(group.Mul(splits)), func() { stream.window(group.Sub(groups)) })
			})
		},
		Last: func(k *kernel.Kernel) {
			full, stream := decoders(k, p)
			groups := k.Dim("N").Times(int64(p.Full.Lists()))
			either(k, k.Item().Lt(groups), full.merge, func() {
				g := k.Item().Sub(groups)
				n, h := stream.rowHead(g)
				stream.combine(n, h, stream.part(g), k.Int(1))
			})
		},
	}
}

func either(k *kernel.Kernel, c kernel.Bool, yes, no func()) {
	kernel.If(k, c, nil, func() []kernel.Vec { yes(); return nil }, func() []kernel.Vec { no(); return nil })
}

func amongOf(p work.HeadGroups) (full, stream *among) {
	return &among{heads: p.Heads()}, &among{heads: p.Heads(), first: p.Full.KVHeads, second: true}
}

// decoders are those of both classes; the parts of streaming heads lie behind the others.
func decoders(k *kernel.Kernel, p work.HeadGroups) (full, stream decoder) {
	full, stream = newDecoder(k, p.Full), newDecoder(k, p.Stream)
	full.among, stream.among = amongOf(p)
	stream.base = k.Dim("N").Times(int64(p.Full.Lists())).Mul(full.splits()).Times(p.Full.PartFloats())
	return full, stream
}

// window reads all that one row's kv head sees: the spans of the sink, then those of the
// window.
func (d decoder) window(gh kernel.I64) {
	k, p := d.k, d.p
	n, h := d.rowHead(gh)
	slot, i := cacheIndex(k, n)
	part := d.part(gh)
	d.start(n, h, part)
	end := i.Over(int64(d.span)).Plus(1)
	sink := end.Min(k.Int(int64((p.Sink + d.span - 1) / d.span)))
	first := i.Plus(int64(1 - p.Window)).Max(k.Int(0)).Over(int64(d.span)).Max(sink)
	span := func(j kernel.I64) kernel.I64 { return kernel.Select(j.Lt(sink), j, j.Sub(sink).Add(first)) }
	count := sink.Add(end).Sub(first)
	kernel.Each(k, k.Int(0), count, 1, func(j kernel.I64) {
		s := span(j)
		next := d.at(slot, h, span(j.Plus(1).Min(count.Plus(-1))))
		d.add(d.at(slot, h, s), next, s.Times(int64(d.span)), i, part)
	})
}

func newPrefiller(k *kernel.Kernel, p work.Attention) prefiller {
	f := prefiller{attn: newAttn(k, p)}
	f.rows, f.tokens = tiling(k.Target(), divisors(f.most()), f.span/layout.Lanes)
	_, f.dims = tiling(k.Target(), []int{f.rows}, f.pad/layout.Lanes)
	return f
}
