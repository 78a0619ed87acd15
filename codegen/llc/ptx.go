package llc

import (
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"

	"quire/ir/target"
)

// PTX compiles one module to PTX text.
func (t Tools) PTX(ctx context.Context, tgt target.Target, name, text string) (string, error) {
	if tgt.Arch != target.PTX {
		return "", fmt.Errorf("llc: PTX for %s, expected sm_80 or sm_90a", tgt)
	}
	b, err := t.Cache.get(t.key("ptx", tgt, text), func() ([]byte, error) { return t.compile(ctx, tgt, name, text) })
	return string(b), err
}

// ErrNoPtxas says that there is no assembler for PTX here.
var ErrNoPtxas = errors.New("ptxas is missing")

// Ptxas is NVIDIA's assembler.
type Ptxas struct{ Path string }

// FindPtxas looks at QUIRE_PTXAS, PATH and the cache (QUIRE_CACHE_DIR, else the user's)
// that tests/fetch/ptxas.sh fills.
func FindPtxas() (Ptxas, error) {
	if p := os.Getenv("QUIRE_PTXAS"); p != "" {
		return Ptxas{p}, nil
	}
	if p, err := exec.LookPath("ptxas"); err == nil {
		return Ptxas{p}, nil
	}
	dir := os.Getenv("QUIRE_CACHE_DIR")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Ptxas{}, fmt.Errorf("%w: %w", ErrNoPtxas, err)
		}
		dir = filepath.Join(user, "quire")
	}
	p := filepath.Join(dir, "cuda", "bin", "ptxas")
	if _, err := os.Stat(p); err == nil {
		return Ptxas{p}, nil
	}
	return Ptxas{}, fmt.Errorf("%w: run tests/fetch/ptxas.sh", ErrNoPtxas)
}

// Usage is what ptxas reports of one kernel.
type Usage struct {
	Kernel                         string
	Registers                      int
	Stack, SpillStores, SpillLoads int // bytes
	Shared                         int // bytes of static shared memory

	Waits string // what ptxas remarks of asynchronous products that wait for each other, "" if nothing
}

var (
	usageHead  = regexp.MustCompile(`Function properties for (\S+)|Compiling entry function '(\S+)'`)
	usageStack = regexp.MustCompile(`(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads`)
	usageRegs  = regexp.MustCompile(`Used (\d+) registers`)
	usageWaits = regexp.MustCompile(`((?:wgmma\S*|'setmaxnreg') .*(?:serialized|injected|ignored).*) in (?:the )?function '(\S+)'`)
	usageSmem  = regexp.MustCompile(`(\d+) bytes smem`)
)

// Release is the assembler's version.
func (p Ptxas) Release(ctx context.Context) (string, error) {
	out, err := exec.CommandContext(ctx, p.Path, "--version").Output()
	if err != nil {
		return "", fmt.Errorf("ptxas: %w", err)
	}
	m := ptxasVersion.FindSubmatch(out)
	if m == nil {
		return "", fmt.Errorf("ptxas: --version says %q, expected a release", firstLines(string(out), 6))
	}
	return string(m[1]), nil
}

var ptxasVersion = regexp.MustCompile(`release \S+, V(\S+)`)

// Cubin assembles as Assemble does, through a cache. A kernel that spills a register is slower
// and as right: a driver's assembler would spill it too, so it is no error here. Tests hold the
// kernels' own table of registers and spills.
func (p Ptxas) Cubin(ctx context.Context, c Cache, tgt target.Target, ptx string) ([]byte, error) {
	release, err := p.Release(ctx)
	if err != nil {
		return nil, err
	}
	h := sha256.New()
	fmt.Fprintf(h, "cubin\n%s\n%s\n%s", release, tgt.SM, ptx)
	return c.get(hex.EncodeToString(h.Sum(nil))+".cubin", func() ([]byte, error) {
		cubin, _, err := p.Assemble(ctx, tgt, ptx)
		return cubin, err
	})
}

// Assemble makes a cubin and reports each kernel's registers and spills.
func (p Ptxas) Assemble(ctx context.Context, tgt target.Target, ptx string) ([]byte, []Usage, error) {
	return p.AssembleFor(ctx, tgt.SM, ptx)
}

// AssembleFor is Assemble for a machine by its name ("sm_120"), which may be newer than the
// text's target.
func (p Ptxas) AssembleFor(ctx context.Context, sm, ptx string) ([]byte, []Usage, error) {
	dir, err := os.MkdirTemp("", "quire-ptxas-")
	if err != nil {
		return nil, nil, fmt.Errorf("ptxas: %w", err)
	}
	defer os.RemoveAll(dir)
	in, out := filepath.Join(dir, "k.ptx"), filepath.Join(dir, "k.cubin")
	if err := os.WriteFile(in, []byte(ptx), 0o600); err != nil {
		return nil, nil, fmt.Errorf("ptxas: %w", err)
	}
	msg, err := exec.CommandContext(ctx, p.Path, "-v", "-arch="+sm, "-o", out, in).CombinedOutput()
	if err != nil {
		return nil, nil, fmt.Errorf("ptxas: %w: %s", err, firstLines(string(msg), 6))
	}
	cubin, err := os.ReadFile(out)
	return cubin, usages(string(msg)), err
}

func usages(log string) []Usage {
	var out []Usage
	num := func(s string) int { n, _ := strconv.Atoi(s); return n }
	waits := map[string]string{} // they stand before their kernel, or far behind
	for line := range strings.Lines(log) {
		if m := usageWaits.FindStringSubmatch(line); m != nil {
			waits[m[2]] = m[1]
			continue
		}
		if m := usageHead.FindStringSubmatch(line); m != nil {
			name := m[1] + m[2]
			if len(out) == 0 || out[len(out)-1].Kernel != name {
				out = append(out, Usage{Kernel: name})
			}
		}
		if len(out) == 0 {
			continue
		}
		u := &out[len(out)-1]
		if m := usageStack.FindStringSubmatch(line); m != nil {
			u.Stack, u.SpillStores, u.SpillLoads = num(m[1]), num(m[2]), num(m[3])
		}
		if m := usageRegs.FindStringSubmatch(line); m != nil {
			u.Registers = num(m[1])
		}
		if m := usageSmem.FindStringSubmatch(line); m != nil {
			u.Shared = num(m[1])
		}
	}
	for i := range out {
		out[i].Waits = waits[out[i].Kernel]
	}
	return out
}
