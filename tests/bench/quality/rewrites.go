package main

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io/fs"
	"math"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"

	"quire/ir/interp"
	"quire/ir/types/kvpage"
	"quire/runtime/device"
	"quire/tools/calibrate"
	"quire/tools/model"
)

// subset is a choice among the rewrites.
type subset struct {
	awq, duo, quest bool
	kv              string
}

func (s subset) String() string {
	var parts []string
	for _, p := range []struct {
		on   bool
		name string
	}{{s.awq, "awq"}, {s.duo, "duo"}, {s.quest, "quest"}, {true, s.kv}} {
		if p.on {
			parts = append(parts, p.name)
		}
	}
	return strings.Join(parts, "+")
}

// measured is a subset at one context.
type measured struct {
	Tokens            int
	Error, WorstError float64 // relative L2 of a row of logits, the mean and the largest
	Mass, LeastMass   float64 // kept by a head, the mean and that of the head that keeps least
	Same              float64 // part of the rows whose greatest logit is the plain model's
	Perplexity        float64 // of all tokens so far
}

// samples is how many rows of a context are compared.
const samples = 32

// contexts lists the lengths up to the longest, each twice the one before: 512, 1024, ...
func contexts(longest int) []int {
	var out []int
	for n := 512; n <= longest; n *= 2 {
		out = append(out, n)
	}
	if len(out) == 0 {
		out = []int{longest}
	}
	return out
}

// sampled lists the rows that are compared, context by context, evenly in its latter half.
func sampled(contexts []int) map[int]int {
	out := map[int]int{}
	for c, n := range contexts {
		for i := range samples {
			out[n/2+(i+1)*(n-n/2)/samples-1] = c
		}
	}
	return out
}

// rewrites prints the table of subsets.
func (b *bench) rewrites(ctx context.Context) error {
	ids, err := b.encode(b.test, 0)
	if err != nil {
		return err
	}
	at := contexts(b.tokens)
	if last := at[len(at)-1]; len(ids) < last {
		return fmt.Errorf("%s: %d tokens, expected %d", b.test, len(ids), last)
	}
	ids = ids[:at[len(at)-1]]
	plain := "" // what the plain model's logits are of
	fmt.Fprintf(b.out, "%-24s %8s  %10s %10s  %9s %9s  %6s  %10s\n", "rewrites", "context", "error", "worst", "mass", "least", "same", "perplexity")
	for _, s := range subsets(list(b.kv)) {
		rows, of, err := b.measure(ctx, s, ids, at, plain)
		if err != nil {
			return fmt.Errorf("%v: %w", s, err)
		}
		if plain == "" {
			plain = of
		}
		for _, r := range rows {
			fmt.Fprintf(b.out, "%-24s %8d  %10.3g %10.3g  %9.4f %9.4f  %6.2f  %10.3f\n", s, r.Tokens, r.Error, r.WorstError, r.Mass, r.LeastMass, r.Same, r.Perplexity)
		}
	}
	return nil
}

// subsets are the plain model, float32 caches and all, and every choice with each encoding.
func subsets(kv []string) []subset {
	out := []subset{{kv: "f32"}}
	for _, e := range kv {
		for i := range 8 {
			out = append(out, subset{i&1 != 0, i&2 != 0, i&4 != 0, e})
		}
	}
	return out
}

// measure runs a subset, unless it has been run, and says what it is of. The plain model, the
// first, leaves its logits for the others, whose errors are of them too.
func (b *bench) measure(ctx context.Context, s subset, ids []int32, at []int, plain string) (rows []measured, of string, err error) {
	ref := b.ref
	if s.awq {
		if ref, err = b.calibrated(ctx); err != nil {
			return nil, "", err
		}
	}
	duo, quest := "", ""
	if s.duo {
		duo = b.duo
	}
	if s.quest {
		quest = b.quest
	}
	o, err := b.options(s.kv, duo, quest)
	if err != nil {
		return nil, "", err
	}
	w, err := model.Watch(ctx, ref, o, len(ids), b.threads)
	if err != nil {
		return nil, "", err
	}
	defer w.Close()
	if of, err = digest(w.Program, ids, plain); err != nil {
		return nil, "", err
	}
	logits := filepath.Join(b.dir, "plain.logits")
	if _, err := os.Stat(logits); plain == "" && errors.Is(err, fs.ErrNotExist) {
		b.forget(s.String())
	}
	r := &walk{bench: b, Watched: w, name: s.String(), at: at, sampled: sampled(at), logits: logits, plain: plain == "",
		rows: make([]measured, len(at)), kept: make([][]float64, len(at))}
	rows, err = remember(b, s.String(), of, func() ([]measured, error) { return r.run(ctx, ids) })
	return rows, of, err
}

// calibrated is the checkpoint of AWQ at 4 bits in groups of 32, with clips, made if it is not there.
func (b *bench) calibrated(ctx context.Context) (model.Ref, error) {
	dir := filepath.Join(b.dir, "awq-w4-g32-clip")
	ref := model.Ref{Kind: model.Directory, Path: dir}
	if _, err := os.Stat(filepath.Join(dir, "config.json")); err == nil {
		return ref, nil
	}
	ids, err := b.encode(b.calibration, 0)
	if err != nil {
		return ref, err
	}
	fmt.Fprintln(b.log, "calibrating", dir)
	_, err = calibrate.Run(ctx, b.ref.Path, dir, calibrate.Options{Tokens: ids, Bits: 4, Group: 32, Search: calibrate.Activation, Clip: true, Windows: 32, Threads: b.threads, CacheDir: b.cache})
	return ref, err
}

// walk feeds one subset token by token.
type walk struct {
	*bench
	*model.Watched
	name    string
	at      []int
	sampled map[int]int // context of each sampled row
	logits  string      // file of the plain model's sampled logits
	plain   bool        // this is the plain model

	keys []*interp.Tensor // of each layer, so far
	rows []measured
	kept [][]float64 // of each context, the mass that each head of each layer keeps, summed
}

func (r *walk) run(ctx context.Context, ids []int32) ([]measured, error) {
	mode := os.O_RDONLY
	if r.plain {
		mode = os.O_RDWR | os.O_CREATE | os.O_TRUNC
	}
	f, err := os.OpenFile(r.logits, mode, 0o644)
	if err != nil {
		return nil, err
	}
	defer f.Close()
	nll := 0.0
	for i, id := range ids {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		out, err := r.Feed([]int32{id}, device.Logits|device.LogSumExp|device.Taps)
		if err != nil {
			return nil, err
		}
		if err := r.grow(out.Taps); err != nil {
			return nil, err
		}
		if c, ok := r.sampled[i]; ok {
			if err := r.compare(c, out, f); err != nil {
				return nil, err
			}
		}
		for c, n := range r.at {
			if i == n-1 {
				r.rows[c].Tokens, r.rows[c].Perplexity = n, math.Exp(nll/float64(n-1))
			}
		}
		if i+1 < len(ids) {
			nll += float64(out.LogSumExp[0]) - float64(out.Logits[ids[i+1]])
		}
		if i%512 == 511 {
			fmt.Fprintf(r.log, "%s: %d tokens\n", r.name, i+1)
		}
	}
	return r.means(), nil
}

// grow keeps the step's keys, as the cache does.
func (r *walk) grow(taps map[string][]float32) error {
	if r.keys == nil {
		for _, l := range r.Layers {
			r.keys = append(r.keys, interp.Floats(nil, 0, l.Heads, l.Dim))
		}
	}
	for i, l := range r.Layers {
		row := taps["k."+l.Cache]
		if len(row) != l.Heads*l.Dim || len(taps["q."+l.Cache]) == 0 {
			return fmt.Errorf("layer %d shows keys of %d, expected %d heads of %d", i, len(row), l.Heads, l.Dim)
		}
		k, row := r.keys[i], slices.Clone(row)
		for h := range l.Heads {
			if !kvpage.Round(l.Enc, row[h*l.Dim:(h+1)*l.Dim]) {
				return fmt.Errorf("layer %d: a cache of %s", i, l.Enc)
			}
		}
		for _, x := range row {
			k.Data = append(k.Data, float64(x))
		}
		k.Shape[0]++
	}
	return nil
}

// compare adds a sampled row to its context's sums.
func (r *walk) compare(c int, out device.Output, f *os.File) error {
	row, want := make([]float64, len(out.Logits)), make([]float32, len(out.Logits))
	for i, x := range out.Logits {
		row[i] = float64(x)
	}
	if r.plain {
		copy(want, out.Logits)
		if err := binary.Write(f, binary.LittleEndian, want); err != nil {
			return err
		}
	} else if err := binary.Read(f, binary.LittleEndian, want); err != nil {
		return err
	}
	ref := interp.Floats(want, len(want)).Data
	m := &r.rows[c]
	e := interp.RelL2(row, ref)
	m.Error += e / samples
	m.WorstError = max(m.WorstError, e)
	if greatest(row) == greatest(ref) {
		m.Same += 1. / samples
	}
	masses, err := r.masses(out.Taps)
	if err != nil {
		return err
	}
	if r.kept[c] == nil {
		r.kept[c] = make([]float64, len(masses))
	}
	for i, x := range masses {
		r.kept[c][i] += x
	}
	return nil
}

// masses is what each head of each layer keeps in this row, layers side by side.
func (r *walk) masses(taps map[string][]float32) ([]float64, error) {
	parts, errs := make([][]float64, len(r.Layers)), make([]error, len(r.Layers))
	var wg sync.WaitGroup
	turn := make(chan struct{}, max(1, r.threads))
	for i, l := range r.Layers {
		turn <- struct{}{}
		wg.Go(func() {
			defer func() { <-turn }()
			q := taps["q."+l.Cache]
			parts[i], errs[i] = interp.MassKept(interp.Floats(q, len(q)).Data, r.keys[i], l.Attrs, l.Kept)
		})
	}
	wg.Wait()
	var out []float64
	for _, p := range parts {
		out = append(out, p...)
	}
	return out, errors.Join(errs...)
}

// means ends the sums.
func (r *walk) means() []measured {
	for c := range r.rows {
		m := &r.rows[c]
		m.LeastMass = 1
		for _, x := range r.kept[c] {
			m.Mass += x / samples / float64(len(r.kept[c]))
			m.LeastMass = min(m.LeastMass, x/samples)
		}
	}
	return r.rows
}

func greatest(row []float64) int {
	at := 0
	for i, x := range row {
		if x > row[at] {
			at = i
		}
	}
	return at
}
