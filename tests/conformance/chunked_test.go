package conformance

import (
	"context"
	"math/rand/v2"
	"testing"

	"quire/frontends"
	"quire/ir/interp"
	"quire/passes/duo"
	"quire/passes/pipeline"
	"quire/runtime"
)

// session opens a session of a spec.
func session(t *testing.T, text string, o pipeline.Options, rows int) (*runtime.Session, *frontends.Model) {
	t.Helper()
	ctx := context.Background()
	prog, m := open(t, text, o, rows)
	sess, err := prog.NewSession(ctx)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { sess.Close(ctx) })
	return sess, m
}

func draw(n int) []int32 {
	rng := rand.New(rand.NewPCG(9, 9))
	ids := make([]int32, n)
	for i := range ids {
		ids[i] = rng.Int32N(83)
	}
	return ids
}

func prefill(t *testing.T, s *runtime.Session, ids []int32) []float64 {
	t.Helper()
	got, err := s.Prefill(context.Background(), ids)
	if err != nil {
		t.Fatal(err)
	}
	row := make([]float64, len(got))
	for i, x := range got {
		row[i] = float64(x)
	}
	return row
}

func chunked(mask duo.Mask, sink, recent, chunk int) pipeline.Options {
	return pipeline.Options{Duo: &duo.Options{Mask: mask, Sink: sink, Recent: recent, Prefill: duo.Chunked, Chunk: chunk}}
}

// A session cuts prompts at multiples of the chunk, wherever they begin and however many
// rows a step has room for: it says what the oracle says of those pieces, long after pages
// were given back (cases 17 and 24).
func TestChunkedSession(t *testing.T) {
	text := spec("llama", small)
	for name, o := range map[string]pipeline.Options{
		"both classes":  chunked(duo.Mask{{true, false}, {false, true}}, 3, 8, 32),
		"all streaming": chunked(duo.Mask{{false, false}, {false, false}}, 1, 2, 20),
		"long recent":   chunked(duo.Mask{{false, false}, {true, true}}, 0, 70, 24),
	} {
		t.Run(name, func(t *testing.T) {
			for _, rows := range []int{7, 256} {
				sess, m := session(t, text, o, rows)
				machine, state, step := interp.New(m.Module, m.Float32, interp.Options{}), interp.NewState(), m.Module.Func("step")
				ids, at := draw(245), 0
				for _, n := range []int{100, 1, 1, 120, 1, 7} {
					var want []float64
					for end := at + n; at < end; {
						piece := min(end-at, o.Duo.Chunk-at%o.Duo.Chunk)
						bind, in := interp.StepOf(state, 1, interp.Turn{Slot: 0, Tokens: ids[at : at+piece], Logits: 1})
						results, err := machine.Run(step, bind, in, state)
						if err != nil {
							t.Fatal(err)
						}
						want, at = interp.Named(step, results)["logits"].Row(0), at+piece
					}
					if d := interp.RelL2(prefill(t, sess, ids[at-n:at]), want); !(d <= 2e-5) {
						t.Fatalf("%d rows a step, at %d: %.3g from the oracle's", rows, at, d)
					}
				}
			}
		})
	}
}

// Case 19: a prompt of one chunk is dense for any mask; a later one is not.
func TestCase19OneChunkIsDense(t *testing.T) {
	text, ids := spec("llama", small), draw(64)
	dense, _ := session(t, text, pipeline.Options{}, 256)
	split, _ := session(t, text, chunked(duo.Mask{{false, false}, {false, true}}, 1, 4, 48), 256)
	if d := interp.RelL2(prefill(t, split, ids[:48]), prefill(t, dense, ids[:48])); !(d <= 1e-5) {
		t.Errorf("one chunk: %.3g from the dense model's", d)
	}
	if d := interp.RelL2(prefill(t, split, ids[48:]), prefill(t, dense, ids[48:])); !(d > 1e-3) {
		t.Errorf("beyond the chunk: %.3g from the dense model's, expected another result", d)
	}
}

// Case 20: retrieval heads do not care about the chunk, streaming heads do.
func TestCase20ChunkSize(t *testing.T) {
	text, ids := spec("llama", small), draw(16)
	row := func(mask duo.Mask, chunk int) []float64 {
		s, _ := session(t, text, chunked(mask, 1, 2, chunk), 256)
		return prefill(t, s, ids)
	}
	all, none := duo.Mask{{true, true}, {true, true}}, duo.Mask{{false, false}, {false, false}}
	if d := interp.RelL2(row(all, 4), row(all, 8)); d != 0 {
		t.Errorf("retrieval heads by 4 and by 8: %.3g apart", d)
	}
	if d := interp.RelL2(row(none, 4), row(none, 8)); !(d > 1e-3) {
		t.Errorf("streaming heads by 4 and by 8: %.3g apart, expected another result", d)
	}
}
