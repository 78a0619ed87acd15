package decoder

import (
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"quire/frontends/weights"
	"quire/ir/types/packed"
)

// packing is what a checkpoint's configuration says of its packed linears. Which modules are packed is told by the
// tensors that they have: a module that the configuration leaves out (modules_to_not_convert, ignore) has a plain
// weight.
type packing struct {
	format    packed.Format
	bits      int
	group     int  // columns of a group; 0: one for the row
	symmetric bool // zeros may be absent
}

// packingOf reads quantization_config of config.json, or the side file of older checkpoints; nil where there is none.
func packingOf(src *weights.Source) (*packing, error) {
	if src.Config != nil {
		f, err := newFields(filepath.Join(src.Path, "config.json"), src.Config)
		if err != nil {
			return nil, err
		}
		if p := f.packing(); p != nil || f.err() != nil {
			return p, f.err()
		}
	}
	if src.QuantizeConfig == nil {
		return nil, nil
	}
	f, err := newFields(filepath.Join(src.Path, "quantize_config.json"), src.QuantizeConfig)
	if err != nil {
		return nil, err
	}
	p := f.packer(f.sideMethod())
	return p, f.err()
}

// packing reads quantization_config, at the top or (larger models) in text_config.
func (f *fields) packing() *packing {
	if q := f.object("quantization_config"); q != nil {
		return q.packer(q.text("quant_method", ""))
	}
	if !f.has("text_config") {
		return nil
	}
	if inner := f.object("text_config"); inner != nil && inner.has("quantization_config") {
		return inner.packing()
	}
	return nil
}

// sideMethod tells whose a side file without quant_method is.
func (f *fields) sideMethod() string {
	switch {
	case f.has("quant_method"):
		return f.text("quant_method", "")
	case f.has("zero_point") || f.has("w_bit") || f.has("q_group_size"):
		return "awq"
	case f.has("desc_act") || f.has("sym"):
		return "gptq"
	}
	return ""
}

func (f *fields) packer(method string) *packing {
	p := &packing{}
	switch method {
	case "awq":
		f.awq(p)
	case "gptq":
		f.gptq(p)
	case "compressed-tensors":
		f.compressedTensors(p)
	default:
		f.errorf("quant_method", "%q, expected awq, gptq or compressed-tensors", method)
	}
	return p
}

// either reads a whole number under one of two names.
func (f *fields) either(a, b string, otherwise int) int { return f.integer(a, f.integer(b, otherwise)) }

// grouped reads a group: -1 is one for the row.
func (p *packing) grouped(f *fields, key string, n int) {
	if n == -1 {
		n = 0
	} else if n < 1 {
		f.errorf(key, "%d, expected a positive number of columns, or -1", n)
	}
	p.group = n
}

// versions of AutoAWQ, and of GPTQModel which writes them in capitals.
var awqVersions = map[string]packed.Format{
	"gemm": packed.AWQGemm, "gemv": packed.AWQGemv, "gemv_fast": packed.AWQGemvFast, "llm-awq": packed.AWQGemvFast, "llm_awq": packed.AWQGemvFast, "marlin": packed.Marlin,
}

func (f *fields) awq(p *packing) {
	p.bits = f.either("bits", "w_bit", 4)
	p.grouped(f, "group_size", f.either("group_size", "q_group_size", 128))
	p.symmetric = !f.boolean("zero_point", !f.boolean("sym", false))
	version := strings.ToLower(f.text("version", f.text("format", "gemm")))
	var ok bool
	if p.format, ok = awqVersions[version]; !ok {
		f.errorf("version", "%q, expected gemm, gemv, gemv_fast or marlin: the order of its codes is not known", version)
	}
	if p.format == packed.Marlin && !p.symmetric {
		f.errorf("zero_point", "true with version marlin, expected false")
	}
	f.widths(p, "bits", 4)
}

// gptqFormats are checkpoint_format's values.
var gptqFormats = map[string]packed.Format{"gptq": packed.GPTQ, "gptq_v2": packed.GPTQv2, "marlin": packed.Marlin}

func (f *fields) gptq(p *packing) {
	p.bits = f.integer("bits", 4)
	p.grouped(f, "group_size", f.integer("group_size", 128))
	p.symmetric = f.boolean("sym", true)
	name := f.text("checkpoint_format", f.text("format", "gptq"))
	if f.boolean("is_marlin_format", false) {
		name = "marlin"
	}
	var ok bool
	if p.format, ok = gptqFormats[name]; !ok {
		f.errorf("checkpoint_format", "%q, expected gptq, gptq_v2 or marlin: the order of its codes is not known", name)
	}
	f.widths(p, "bits", 4, 3)
}

func (f *fields) widths(p *packing, key string, of ...int) {
	if !slices.Contains(of, p.bits) {
		f.errorf(key, "%d, expected %s", p.bits, strings.Trim(strings.ReplaceAll(fmt.Sprint(of), " ", " or "), "[]"))
	}
}

// compressedTensors reads config_groups, which must all be the same kind of packed integers.
func (f *fields) compressedTensors(p *packing) {
	p.format = packed.CompressedTensors
	if format := f.text("format", ""); format != "pack-quantized" {
		f.errorf("format", "%q, expected pack-quantized: other kinds of codes cannot be read", format)
		return
	}
	groups := f.object("config_groups")
	if groups == nil || len(groups.m) == 0 {
		f.errorf("config_groups", "absent, expected a group of weights")
		return
	}
	for i, name := range groups.names() {
		g := groups.object(name)
		if g == nil {
			return
		}
		if g.has("input_activations") || g.has("output_activations") {
			g.errorf("input_activations", "quantised, expected weights alone")
		}
		w := g.object("weights")
		if w == nil {
			g.errorf("weights", "absent, expected num_bits and group_size")
			return
		}
		q := packing{format: p.format}
		w.compressedWeights(&q)
		if i > 0 && (q.bits != p.bits || q.group != p.group) {
			w.errorf("num_bits", "%d in groups of %d, expected the %d in groups of %d of the group before", q.bits, q.group, p.bits, p.group)
		}
		p.bits, p.group, p.symmetric = q.bits, q.group, p.symmetric || q.symmetric
	}
}

func (f *fields) compressedWeights(p *packing) {
	p.bits = f.integer("num_bits", 0)
	p.symmetric = f.boolean("symmetric", true)
	if t := f.text("type", "int"); t != "int" {
		f.errorf("type", "%q, expected int", t)
	}
	switch s := f.text("strategy", "group"); s {
	case "group":
		p.grouped(f, "group_size", f.integer("group_size", 0))
	case "channel":
	default:
		f.errorf("strategy", "%q, expected group or channel", s)
	}
	f.widths(p, "num_bits", 4, 3)
}
