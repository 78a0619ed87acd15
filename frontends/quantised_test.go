package frontends

import (
	"bytes"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quire/ir"
	"quire/ir/interp"
	"quire/ir/types/block"
)

// quantised is expected.json of a packed checkpoint: what its format's own package makes of it.
type quantised struct {
	SHA256    map[string]string // of each matrix, dequantised to float16; or the same with its type:
	Matrices  map[string]struct{ DType, SHA256 string }
	Reference struct {
		InputIDs   []int32   `json:"input_ids"`
		LastLogits []float32 `json:"last_logits_f32"`
		Greedy24   []int32   `json:"greedy24_f32"`
		Greedy     []int32   `json:"greedy_f32"`
	}
}

func readQuantised(t *testing.T, dir string) *quantised {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "expected.json"))
	if err != nil {
		t.Fatal(err)
	}
	q := &quantised{}
	if err := json.Unmarshal(text, q); err != nil {
		t.Fatal(err)
	}
	q.Reference.Greedy = append(q.Reference.Greedy, q.Reference.Greedy24...)
	if q.Matrices == nil {
		q.Matrices = map[string]struct{ DType, SHA256 string }{}
	}
	for name, digest := range q.SHA256 {
		q.Matrices[name] = struct{ DType, SHA256 string }{"float16", digest}
	}
	return q
}

// inFileOrder puts columns back where the file has them.
func inFileOrder(x []float32, columns []int) []float32 {
	out := slices.Clone(x)
	for i := range out {
		if n := len(columns); n > 0 {
			out[i/n*n+columns[i%n]] = x[i]
		}
	}
	return out
}

// narrow gives values in the type in which a package dequantises.
func narrow(dtype string, x []float32) []byte {
	enc := map[string]string{"float16": "f16", "bfloat16": "bf16"}[dtype]
	data := make([]byte, 2*len(x))
	if err := block.Encode(enc, x, data); err != nil {
		panic("BUG: " + err.Error()) // sizes and names are ours
	}
	return data
}

func packedCheckpoints(t *testing.T) []string {
	t.Helper()
	configs, _ := filepath.Glob(filepath.Join(reference, "quantised", "*", "config.json"))
	if len(configs) < 14 {
		t.Fatalf("%d packed checkpoints, expected 14 or more", len(configs))
	}
	var dirs []string
	for _, c := range configs {
		dirs = append(dirs, filepath.Dir(c))
	}
	return dirs
}

// Every matrix of a packed checkpoint has the values that its own package gives it: the float16 of (code - zero) *
// scale, compared by digest.
func TestPackedMatrices(t *testing.T) {
	for _, dir := range packedCheckpoints(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			m := load(t, dir, Options{})
			want := readQuantised(t, dir).Matrices
			if len(want) < 7 {
				t.Fatalf("%d digests, expected 7 or more", len(want))
			}
			for name, w := range want {
				x, err := m.Float32(strings.TrimSuffix(name, ".weight"))
				if err != nil {
					t.Fatal(err)
				}
				x = inFileOrder(x, m.Bindings[strings.TrimSuffix(name, ".weight")].Columns)
				if sum := sha256.Sum256(narrow(w.DType, x)); hex.EncodeToString(sum[:]) != w.SHA256 {
					t.Errorf("%s: sha256 %x, expected %s", name, sum, w.SHA256)
				}
			}
		})
	}
}

// The oracle's logits and greedy ids of a packed checkpoint are those of its matrices dequantised to float16, which is
// what the packages compute with; without that rounding logits differ by about 1e-3, and the ids are the same. The
// logits of the two-layer models were computed before norms and embeddings were rounded to the file's float16
// (transformers on the file is as far from them as the oracle is, 5e-4).
func TestPackedLogits(t *testing.T) {
	for _, dir := range packedCheckpoints(t) {
		t.Run(filepath.Base(dir), func(t *testing.T) {
			t.Parallel()
			m := load(t, dir, Options{})
			if err := ir.Verify(m.Module); err != nil {
				t.Fatal(err)
			}
			q, exact := readQuantised(t, dir), cached(m)
			rounded := func(name string) ([]float32, error) {
				x, err := exact(name)
				if err != nil || m.Bindings[name].Packed == nil {
					return x, err
				}
				x = slices.Clone(x)
				enc := map[string]string{"float16": "f16", "bfloat16": "bf16"}[q.Matrices[name+".weight"].DType]
				return x, block.Decode(enc, narrow(q.Matrices[name+".weight"].DType, x), x)
			}
			want, limit := q.Reference, 2e-6
			if q.SHA256 != nil {
				limit = 1e-3
			}
			follow(t, m, rounded, want.InputIDs, want.Greedy, want.LastLogits, limit)
			follow(t, m, exact, want.InputIDs, want.Greedy, want.LastLogits, 4e-3) // bfloat16 is eight times coarser
		})
	}
}

// follow feeds a prompt and then each greedy id: the logits of the prompt lie within limit of those wanted, the ids
// are the same.
func follow(t *testing.T, m *Model, weights interp.Weights, prompt, greedy []int32, logits []float32, limit float64) {
	t.Helper()
	mach := interp.New(m.Module, weights, interp.Options{})
	step, state, next := m.Module.Func("step"), interp.NewState(), prompt
	for i, id := range greedy {
		bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: next, Logits: 1})
		out, err := mach.Run(step, bind, in, state)
		if err != nil {
			t.Fatal(err)
		}
		row := interp.Named(step, out)["logits"].Data
		if i == 0 {
			if d := distance(row, logits); !(d < limit) {
				t.Errorf("logits differ by %.3g (relative L2), expected less than %.3g", d, limit)
			}
		}
		if got := int32(slices.Index(row, slices.Max(row))); got != id {
			t.Fatalf("token %d is %d, expected %d", i, got, id)
		}
		next = []int32{id}
	}
}

// What a segment says of its arrays is what the arrays hold: its rows by windows are the matrix.
func TestPackedSegments(t *testing.T) {
	for _, dir := range packedCheckpoints(t) {
		m := load(t, dir, Options{})
		seg, err := m.Segment("model.layers.0.self_attn.k_proj")
		if err != nil || seg.Packed == nil {
			t.Fatalf("%s: segment %+v, %v, expected a packed one", dir, seg, err)
		}
		for r, a := range seg.Packed.Parts {
			if a.Elem == "" {
				continue
			}
			p := seg.Packed.Places[r]
			file, err := os.ReadFile(m.Source.Files[p.Source].Path)
			if err != nil {
				t.Fatal(err)
			}
			n := a.Shape[0] * a.Shape[1] * a.Bytes()
			tensor := m.Bindings["model.layers.0.self_attn.k_proj"].Packed.Tensors[r]
			if !bytes.Equal(file[p.Offset:][:n], tensor.Data()) {
				t.Errorf("%s: %s: other bytes at %d", dir, tensor.Name, p.Offset)
			}
		}
	}
}
