package model

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"hash"
	"io"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"quire/codegen/llc"
	"quire/frontends/spec"
	"quire/ir/target"
)

// headerBytes is how much of a weight file the key reads: its list of tensors, as a rule. What follows is told by the
// file's size and time.
const headerBytes = 1 << 20

// entry is the name of a Program in the cache. The subject says what was compiled, the state what it was at that time
// and by which compiler; a new state replaces the old ones of its subject.
type entry struct{ subject, state string }

func (e entry) name() string { return e.subject + "-" + e.state + ".quire" }

// key hashes all that a Program depends on.
func (o Options) key(ref Ref) (entry, error) {
	abs, err := filepath.Abs(ref.Path)
	if err != nil {
		return entry{}, err
	}
	subject := sha256.New()
	f := o.Frontend
	if random, err := isRandom(ref); err != nil {
		return entry{}, err
	} else if !random {
		f.Seed = 0 // it changes nothing
	}
	options, err := json.Marshal(f.Options)
	if err != nil {
		return entry{}, err
	}
	fmt.Fprintf(subject, "%s\n%s\ntarget %s\ndot %d\nctx %d\ncompute %d\nseed %d\noptions %s\n",
		ref.Kind, abs, o.Target, o.Dot, f.Context, f.Compute, f.Seed, options)
	state := sha256.New()
	id, err := buildID()
	if err != nil {
		return entry{}, err
	}
	fmt.Fprintf(state, "%s\n", id)
	if err := hashModel(state, ref, abs); err != nil {
		return entry{}, err
	}
	if o.Target.Arch == target.PTX {
		if err := hashPtxas(state); err != nil {
			return entry{}, err
		}
	}
	if f.Duo != nil {
		if err := hashFile(state, f.Duo.Heads); err != nil {
			return entry{}, err
		}
	}
	base := strings.TrimSuffix(filepath.Base(abs), filepath.Ext(abs))
	return entry{plain(base) + "-" + short(subject), short(state)}, nil
}

// hashPtxas adds the assembler that is at hand: with another one, or where there was none, a Program has another cubin.
func hashPtxas(h hash.Hash) error {
	a, err := llc.FindPtxas()
	if errors.Is(err, llc.ErrNoPtxas) {
		fmt.Fprintln(h, "no ptxas")
		return nil
	}
	if err != nil {
		return err
	}
	return hashFile(h, a.Path)
}

// isRandom says whether a model's weights come from a seed.
func isRandom(ref Ref) (bool, error) {
	if ref.Kind != Spec {
		return false, nil
	}
	s, err := spec.Read(ref.Path)
	if err != nil {
		return false, err
	}
	return s.Weights == "", nil
}

func short(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil))[:16] }

// plain keeps a name short and free of what file names do not like.
func plain(s string) string {
	s = strings.Map(func(r rune) rune {
		if r == '.' || r == '_' || '0' <= r && r <= '9' || 'a' <= r && r <= 'z' || 'A' <= r && r <= 'Z' {
			return r
		}
		return '_'
	}, s)
	return s[:min(len(s), 48)]
}

// hashModel adds the state of all files that ref is made of.
func hashModel(h hash.Hash, ref Ref, abs string) error {
	switch ref.Kind {
	case Directory:
		entries, err := os.ReadDir(abs)
		if err != nil {
			return err
		}
		for _, e := range entries {
			if slices.Contains([]string{".json", ".safetensors", ".jinja"}, filepath.Ext(e.Name())) {
				if err := hashFile(h, filepath.Join(abs, e.Name())); err != nil {
					return err
				}
			}
		}
		return nil
	case Spec:
		if err := hashFile(h, abs); err != nil {
			return err
		}
		s, err := spec.Read(ref.Path)
		if err == nil && s.Options.Duo != nil {
			err = hashFile(h, s.Options.Duo.Heads)
		}
		if err != nil || s.Weights == "" {
			return err
		}
		weights, err := Resolve(s.Weights, "")
		if err != nil {
			return nil // loading says so, with the spec's line
		}
		return hashModel(h, weights, weights.Path)
	}
	return hashFile(h, abs)
}

func hashFile(h hash.Hash, path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	defer f.Close()
	st, err := f.Stat()
	if err != nil {
		return err
	}
	fmt.Fprintf(h, "%s\n%d\n%d\n", path, st.Size(), st.ModTime().UnixNano())
	if !st.Mode().IsRegular() {
		return nil
	}
	_, err = io.CopyN(h, f, headerBytes)
	if err == io.EOF {
		err = nil
	}
	return err
}
