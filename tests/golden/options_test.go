package golden

import (
	"fmt"
	"strconv"
	"strings"

	"quire/ir/target"
	"quire/passes"
	"quire/passes/awq"
	"quire/passes/duo"
	"quire/passes/kvquant"
	"quire/passes/pipeline"
	"quire/passes/quest"
)

// named returns the passes of a name, with the options that the directive gives.
func (r *runCase) named(name string) passes.Pipeline {
	duoOptions, questOptions, kv, t := r.duo(), r.quest(), r.kv(), r.target()
	switch {
	case name == "standard":
		return pipeline.Standard(pipeline.Options{Duo: duoOptions, Quest: questOptions, KV: kv, Target: t})
	case name == "duo.split-heads" && duoOptions != nil:
		return passes.Pipeline{duo.SplitHeads(*duoOptions)}
	case name == "awq.absorb-scales" && r.d.HasArg("sites"):
		return passes.Pipeline{awq.AbsorbScales(r.list("sites"))}
	case name == "kvquant.quantise-caches" && kv != 0:
		return passes.Pipeline{kvquant.QuantiseCaches(kv)}
	case name == "quest.select-pages" && questOptions != nil:
		return passes.Pipeline{quest.SelectPages(*questOptions)}
	}
	p, ok := pipeline.ByName(name, t)
	if !ok {
		r.d.Fatalf(r.t, "unknown pass %s", name)
	}
	return passes.Pipeline{p}
}

// target reads target=sm_90a; without it, any CPU.
func (r *runCase) target() target.Target {
	arg, ok := r.d.Arg("target")
	if !ok {
		return target.Target{}
	}
	t, err := target.Parse(arg.SingleVal(r.t))
	if err != nil {
		r.d.Fatalf(r.t, "%v", err)
	}
	return t
}

// kv reads kv=8; 0 without it.
func (r *runCase) kv() (bits kvquant.Bits) {
	if arg, ok := r.d.Arg("kv"); ok {
		n, err := strconv.Atoi(arg.SingleVal(r.t))
		if err != nil {
			r.d.Fatalf(r.t, "kv: %v", err)
		}
		bits = kvquant.Bits(n)
	}
	return bits
}

// duo reads duo=(mask=10/01, sink=1, recent=2, chunk=4); nil without it.
func (r *runCase) duo() *duo.Options {
	if !r.d.HasArg("duo") {
		return nil
	}
	o := duo.Defaults
	r.options("duo", map[string]func(string) error{
		"mask":   func(s string) (err error) { o.Mask, err = parseMask(s); return err },
		"sink":   number(&o.Sink),
		"recent": number(&o.Recent),
		"chunk":  func(s string) error { o.Prefill = duo.Chunked; return number(&o.Chunk)(s) },
	})
	return &o
}

// quest reads quest=(budget=4, page=2, physical-page=4, dense-layers=0, per=head).
func (r *runCase) quest() *quest.Options {
	if !r.d.HasArg("quest") {
		return nil
	}
	o := quest.Defaults
	r.options("quest", map[string]func(string) error{
		"budget":        number(&o.Budget),
		"page":          number(&o.Page),
		"physical-page": number(&o.PhysicalPage),
		"dense-layers":  number(&o.DenseLayers),
		"reselect":      number(&o.Reselect),
		"per":           func(s string) error { return o.Per.UnmarshalText([]byte(s)) },
	})
	return &o
}

// options hands every key=value of an argument to its reader.
func (r *runCase) options(arg string, read map[string]func(string) error) {
	for _, v := range r.list(arg) {
		key, value, _ := strings.Cut(v, "=")
		set := read[key]
		if set == nil {
			r.d.Fatalf(r.t, "%s: unknown option %q", arg, key)
		}
		if err := set(value); err != nil {
			r.d.Fatalf(r.t, "%s: %s: %v", arg, key, err)
		}
	}
}

func number(into *int) func(string) error {
	return func(s string) (err error) {
		*into, err = strconv.Atoi(s)
		return err
	}
}

// parseMask reads rows of 1 (retrieval) and 0 (streaming), a layer each: "10/01".
func parseMask(s string) (duo.Mask, error) {
	var m duo.Mask
	for _, row := range strings.Split(s, "/") {
		var heads []bool
		for _, c := range row {
			if c != '0' && c != '1' {
				return nil, fmt.Errorf("%q, expected rows of 0 and 1", s)
			}
			heads = append(heads, c == '1')
		}
		m = append(m, heads)
	}
	return m, nil
}
