package llc

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"quire/ir/target"
)

// passes is opt's pipeline. Kernels come unrolled and vectorised by their authors, so
// the loop transforms of -O2 would only take time and registers.
const passes = "function(early-cse<memssa>,instcombine<no-verify-fixpoint>,simplifycfg,loop-simplify,lcssa," +
	"loop-mssa(loop-rotate,licm),gvn,instcombine<no-verify-fixpoint>,simplifycfg,adce)"

func optFlags(target.Target) []string {
	return []string{"-passes=" + passes, "-o", "-", "-"}
}

func llcFlags(t target.Target) []string {
	if t.Arch == target.PTX {
		return []string{"-O3", "-mtriple=" + t.Triple(), "-mcpu=" + t.SM, "-mattr=" + t.MAttr(), "-nvptx-short-ptr", "-o", "-", "-"}
	}
	return []string{"-O3", "-mtriple=" + t.Triple(), "-mcpu=x86-64-v3", "-mattr=" + t.MAttr(),
		"-relocation-model=pic", "-filetype=obj", "-fp-contract=off", "-o", "-", "-"}
}

// Shared compiles modules, each its own translation unit, in parallel and links them to
// one shared object, the bytes of an ELF file. Names say which text an error is about.
func (t Tools) Shared(ctx context.Context, tgt target.Target, names, texts []string) ([]byte, error) {
	if tgt.Arch != target.X86 {
		return nil, fmt.Errorf("llc: shared object for %s, expected x86-64", tgt)
	}
	key := t.key("so", tgt, texts...)
	return t.Cache.get(key, func() ([]byte, error) {
		objs := make([][]byte, len(texts))
		g, group := errgroup.WithContext(ctx)
		g.SetLimit(runtime.GOMAXPROCS(0))
		for i := range texts {
			g.Go(func() (err error) {
				objs[i], err = t.Object(group, tgt, names[i], texts[i])
				return err
			})
		}
		if err := g.Wait(); err != nil {
			return nil, err
		}
		return t.link(ctx, objs)
	})
}

// Object compiles one module to a relocatable object.
func (t Tools) Object(ctx context.Context, tgt target.Target, name, text string) ([]byte, error) {
	return t.Cache.get(t.key("o", tgt, text), func() ([]byte, error) { return t.compile(ctx, tgt, name, text) })
}

// compile is opt, then llc.
func (t Tools) compile(ctx context.Context, tgt target.Target, name, text string) ([]byte, error) {
	bc, err := pipe(ctx, t.Opt, optFlags(tgt), []byte(text))
	if err != nil {
		return nil, fmt.Errorf("llc: %s: opt: %w", name, err)
	}
	out, err := pipe(ctx, t.Llc, llcFlags(tgt), bc)
	if err != nil {
		return nil, fmt.Errorf("llc: %s: llc: %w", name, err)
	}
	return out, nil
}

func pipe(ctx context.Context, prog string, flags []string, in []byte) ([]byte, error) {
	cmd := exec.CommandContext(ctx, prog, flags...)
	var out, msg bytes.Buffer
	cmd.Stdin, cmd.Stdout, cmd.Stderr = bytes.NewReader(in), &out, &msg
	if err := cmd.Run(); err != nil {
		return nil, fmt.Errorf("%w: %s", err, firstLines(msg.String(), 6))
	}
	return out.Bytes(), nil
}

func firstLines(s string, n int) string {
	lines := strings.Split(strings.TrimSpace(s), "\n")
	return strings.Join(lines[:min(n, len(lines))], "\n")
}

func (t Tools) link(ctx context.Context, objs [][]byte) ([]byte, error) {
	dir, err := os.MkdirTemp("", "quire-link-")
	if err != nil {
		return nil, fmt.Errorf("llc: link: %w", err)
	}
	defer os.RemoveAll(dir)
	out := filepath.Join(dir, "out.so")
	args := []string{"-shared", "--build-id=none", "-z", "noexecstack", "-o", out}
	for i, o := range objs {
		p := filepath.Join(dir, fmt.Sprintf("%d.o", i))
		if err := os.WriteFile(p, o, 0o600); err != nil {
			return nil, fmt.Errorf("llc: link: %w", err)
		}
		args = append(args, p)
	}
	if _, err := pipe(ctx, t.Lld, args, nil); err != nil {
		return nil, fmt.Errorf("llc: link: %w", err)
	}
	return os.ReadFile(out)
}
