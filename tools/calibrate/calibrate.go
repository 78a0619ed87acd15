package calibrate

import (
	"context"
	"fmt"
	"maps"
	"os"
	"path/filepath"
	"slices"

	"quire/codegen"
	"quire/codegen/llc"
	"quire/frontends"
	"quire/frontends/checkpoint"
	"quire/frontends/decoder"
	"quire/ir"
	"quire/ir/target"
	"quire/ir/types/packed"
	"quire/passes"
	"quire/passes/awq"
	"quire/passes/canon"
)

// Options of Run. The zero value of a field is its default.
type Options struct {
	Frontend frontends.Options
	Tokens   []int32 // the calibration text

	Bits   int // 4 or 3; 0: 4
	Group  int // columns that share a scale; 0: the largest of 128, 64 and 32 that divides all linears' columns
	Search Search
	Clip   bool
	Seed   int64         // draws which windows of the text are read, where there are more
	Format packed.Format // AWQGemm or CompressedTensors; "": AWQGemm with 4 bits, else CompressedTensors

	Window  int // tokens of a sequence; 0: 512
	Windows int // sequences; 0: 64
	Sample  int // rows of inputs that losses are measured on; 0: 512

	Threads    int // 0: one
	CacheDir   string
	ShardBytes int64 // see checkpoint.Options
	// Progress, if set, is told how far a stage is: "observe" in tokens, "calibrate" in layers, "write" in weights.
	Progress func(stage string, done, total int64)
}

// Report is what a run found.
type Report struct {
	Bits, Group int
	Format      packed.Format
	Layers      []Layer
	Resumed     int      // layers that an earlier run had finished
	Notes       []string // what was chosen where the options leave it open
}

// Layer is one layer's outcome.
type Layer struct {
	Layer int     `json:"layer"`
	Sites []Scale `json:"sites"`
}

// Scale is the outcome of one site: linears that share an input.
type Scale struct {
	Linears []string `json:"linears"`
	Ratio   float64  `json:"ratio"`         // -1: no scale
	Nearest float64  `json:"nearest"`       // mean squared error of the products, rounded to nearest
	Loss    float64  `json:"loss"`          // with the scale
	Why     string   `json:"why,omitempty"` // no scale was looked for
	Clipped float64  `json:"clipped"`       // share of groups whose range was cut
}

// Run calibrates the model at path and writes the checkpoint into dir.
func Run(ctx context.Context, path, dir string, o Options) (*Report, error) {
	m, err := frontends.Load(path, o.Frontend)
	if err != nil {
		return nil, err
	}
	defer m.Close()
	r := &run{o: o, m: m, dir: dir, report: &Report{}, products: map[[3]int]*product{}}
	defer r.close()
	if err := r.complete(); err != nil {
		return nil, fmt.Errorf("%s: %w", path, err)
	}
	if err := os.MkdirAll(dir, 0o755); err != nil {
		return nil, err
	}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return nil, fmt.Errorf("%s: a model is there, expected an empty directory or one that a run was killed in", dir)
	}
	if r.state, err = openState(dir, r.key()); err != nil {
		return nil, err
	}
	if err := r.layers(ctx); err != nil {
		return nil, err
	}
	w := checkpoint.Options{Format: r.o.Format, Bits: r.o.Bits, Group: r.o.Group, ShardBytes: o.ShardBytes,
		Progress: func(done, total int64) { r.progress("write", done, total) }}
	if err := checkpoint.Write(ctx, dir, m, w, r.values); err != nil {
		return nil, err
	}
	return r.report, r.state.remove()
}

// run is the state of one Run.
type run struct {
	o      Options
	m      *frontends.Model
	dir    string
	report *Report
	state  *state

	module *ir.Module // fused, its weights as the file has them
	seen   map[string]*inputs
	code   codegen.Options
	held   *result // a layer read back, for values

	products map[[3]int]*product // by tokens, rows and columns: layers share them
}

// product gives a compiled matmul of a size.
func (r *run) product(ctx context.Context, tokens, rows, cols int) (*product, error) {
	k := [3]int{tokens, rows, cols}
	if r.products[k] == nil {
		p, err := newProduct(ctx, r.code, r.o.Threads, tokens, rows, cols)
		if err != nil {
			return nil, err
		}
		r.products[k] = p
	}
	return r.products[k], nil
}

func (r *run) close() {
	for _, p := range r.products {
		p.close()
	}
}

func (r *run) progress(stage string, done, total int64) {
	if r.o.Progress != nil {
		r.o.Progress(stage, done, total)
	}
}

// complete fills what the options leave open, and refuses what cannot be.
func (r *run) complete() error {
	o, c := &r.o, &r.m.Config
	if r.m.Source == nil {
		return fmt.Errorf("random weights, expected a model with its own")
	}
	for _, n := range c.Needs() {
		if b := r.m.Bindings[n.Name]; b.Packed != nil {
			return fmt.Errorf("%s: already in %s, expected floats or ggml's encodings", n.Name, b.Packed.Format)
		}
	}
	if o.Bits == 0 {
		o.Bits = 4
	}
	if o.Group == 0 {
		o.Group = defaultGroup(c)
		r.report.Notes = append(r.report.Notes, fmt.Sprintf("awq: %d bits in groups of %d", o.Bits, o.Group))
	}
	if o.Search == "" {
		o.Search = Activation
	}
	if o.Format == "" {
		o.Format = packed.AWQGemm
		if o.Bits == 3 {
			o.Format = packed.CompressedTensors
		}
	}
	if !slices.Contains([]int{32, 64, 128}, o.Group) {
		return fmt.Errorf("groups of %d, expected 32, 64 or 128: what kernels read", o.Group)
	}
	if o.Bits == 3 && o.Format == packed.AWQGemm {
		return fmt.Errorf("3 bits in format awq, expected compressed-tensors: AutoAWQ's layouts have 4 bits")
	}
	if len(o.Tokens) < 2 {
		return fmt.Errorf("%d tokens of text, expected some to calibrate on", len(o.Tokens))
	}
	for at, n := range map[*int]int{&o.Window: 512, &o.Windows: 64, &o.Sample: 512} {
		if *at == 0 {
			*at = n
		}
	}
	o.Window = min(o.Window, c.MaxContext)
	r.report.Bits, r.report.Group, r.report.Format = o.Bits, o.Group, o.Format
	return checkpoint.Options{Format: o.Format, Bits: o.Bits, Group: o.Group}.Check(c)
}

// defaultGroup is the largest group that divides all linears' columns; 128 where none does, for the message.
func defaultGroup(c *decoder.Config) int {
	for _, g := range []int{128, 64, 32} {
		if !slices.ContainsFunc(c.Needs(), func(n decoder.Need) bool { return n.Linear() && n.Cols%g != 0 }) {
			return g
		}
	}
	return 128
}

// layers calibrates what an earlier run did not finish.
func (r *run) layers(ctx context.Context) error {
	if err := r.prepare(ctx); err != nil {
		return err
	}
	for i := range r.m.Config.Layers {
		done, err := r.state.load(i)
		if err != nil {
			return err
		}
		if done != nil {
			r.report.Resumed++
		} else {
			if r.seen == nil {
				if err := r.observe(ctx); err != nil {
					return err
				}
			}
			if done, err = r.layer(ctx, i); err != nil {
				return fmt.Errorf("layer %d: %w", i, err)
			}
			if err := r.state.save(i, done); err != nil {
				return err
			}
		}
		r.report.Layers = append(r.report.Layers, done.Layer)
		r.progress("calibrate", int64(i+1), int64(r.m.Config.Layers))
	}
	return nil
}

// prepare fuses a copy of the module and finds the tools.
func (r *run) prepare(ctx context.Context) error {
	r.module = r.m.Module.Clone()
	if _, err := (passes.Pipeline{canon.Simplify(), awq.FuseDequantGemm(), canon.Simplify()}).Run(r.module); err != nil {
		return err
	}
	t, err := target.Host()
	if err != nil {
		return err
	}
	sources, err := r.m.Sources()
	if err != nil {
		return err
	}
	r.code = codegen.Options{Target: t, Segments: r.m.Segment, Sources: sources}
	if r.code.Tools, err = llc.Find(ctx); err != nil {
		return err
	}
	if r.o.CacheDir != "" {
		r.code.Tools.Cache.Dir = filepath.Join(r.o.CacheDir, "llc")
	}
	return nil
}

func (r *run) observe(ctx context.Context) (err error) {
	w := windowsOf(r.o.Tokens, r.o.Window, r.o.Windows, r.o.Seed)
	r.seen, err = observe(ctx, r.m, r.code, r.o.Threads, w, r.o.Sample, r.o.Seed, func(done, total int64) { r.progress("observe", done, total) })
	return err
}

// values gives the writer what the layers became, and the rest as it was.
func (r *run) values(n decoder.Need) (rows []byte, x []float32, err error) {
	if n.Layer() < 0 {
		x, err = r.m.Float32(n.Name)
		return nil, x, err
	}
	if r.held == nil || r.held.Layer.Layer != n.Layer() {
		if r.held, err = r.state.load(n.Layer()); err != nil {
			return nil, nil, err
		}
	}
	if n.Linear() {
		return r.held.Rows[n.Name], nil, nil
	}
	if x, ok := r.held.Floats[n.Name]; ok {
		return nil, x, nil
	}
	x, err = r.m.Float32(n.Name)
	return nil, x, err
}

// sorted lists the keys of a map in order.
func sorted[V any](m map[string]V) []string { return slices.Sorted(maps.Keys(m)) }
