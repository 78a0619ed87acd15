package llc

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"testing"

	"quire/ir/target"
)

const addOne = `define i64 @add_one(i64 %x) {
  %y = add i64 %x, 1
  ret i64 %y
}
`

func tools(t *testing.T) Tools {
	t.Helper()
	x, err := Find(context.Background())
	if err != nil {
		t.Skip(err)
	}
	x.Cache = Cache{Dir: t.TempDir()}
	return x
}

func base(t *testing.T) target.Target {
	x, err := target.Parse("x86-64-v3")
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func TestSharedIsCachedAndDeterministic(t *testing.T) {
	tl, ctx := tools(t), context.Background()
	a, err := tl.Shared(ctx, base(t), []string{"a"}, []string{addOne})
	if err != nil {
		t.Fatal(err)
	}
	if !strings.HasPrefix(string(a), "\x7fELF") || !strings.Contains(string(a), "add_one") {
		t.Fatalf("no shared object with add_one in %d bytes", len(a))
	}
	broken := tl
	broken.Opt, broken.Llc, broken.Lld = "/nonexistent", "/nonexistent", "/nonexistent"
	b, err := broken.Shared(ctx, base(t), []string{"a"}, []string{addOne})
	if err != nil || string(a) != string(b) {
		t.Errorf("second compilation ran tools: %v", err)
	}
	tl.Cache = Cache{}
	c, err := tl.Shared(ctx, base(t), []string{"a"}, []string{addOne})
	if err != nil || string(a) != string(c) {
		t.Errorf("two compilations differ: %v", err)
	}
}

func TestDamagedCacheEntryIsMadeAgain(t *testing.T) {
	tl, ctx := tools(t), context.Background()
	a, err := tl.Object(ctx, base(t), "a", addOne)
	if err != nil {
		t.Fatal(err)
	}
	files, _ := filepath.Glob(filepath.Join(tl.Cache.Dir, "*.o"))
	if len(files) != 1 {
		t.Fatalf("cache holds %v, want one object", files)
	}
	raw, _ := os.ReadFile(files[0])
	raw[len(raw)-1] ^= 1
	if err := os.WriteFile(files[0], raw, 0o600); err != nil {
		t.Fatal(err)
	}
	b, err := tl.Object(ctx, base(t), "a", addOne)
	if err != nil || string(a) != string(b) {
		t.Errorf("damaged entry was used: %v", err)
	}
}

func TestErrorsNameTheKernel(t *testing.T) {
	tl := tools(t)
	_, err := tl.Object(context.Background(), base(t), "gemv", "define i64 @f() { ret i32 0 }")
	if err == nil || !strings.Contains(err.Error(), "llc: gemv: opt: ") {
		t.Errorf("error %v, want it to name gemv and opt", err)
	}
}

func TestFindSaysHowToInstall(t *testing.T) {
	t.Setenv("PATH", t.TempDir())
	t.Setenv("QUIRE_LLVM", "")
	if _, err := Find(context.Background()); err != nil {
		if !errors.Is(err, ErrMissing) || !strings.Contains(err.Error(), Install) {
			t.Errorf("error %v, want it to say %q", err, Install)
		}
	}
}

func TestUsages(t *testing.T) {
	log := `ptxas info    : (C7510) Potential Performance Loss: wgmma.mma_async instructions are serialized due to insufficient register resources for the wgmma pipeline in the function 'gemm' in line 7
ptxas info    : Compiling entry function 'norm' for 'sm_90a'
ptxas info    : Function properties for norm
    8 bytes stack frame, 4 bytes spill stores, 12 bytes spill loads
ptxas info    : Used 40 registers, used 0 barriers, 16 bytes cumulative stack size, 528 bytes smem
ptxas info    : Compiling entry function 'gemm' for 'sm_90a'
ptxas info    : Used 255 registers, used 1 barriers
ptxas info    : (C7517) wgmma.wait_group is injected in around line 855 by compiler to allow use of registers defined by GMMA in function 'late'
ptxas info    : Compiling entry function 'late' for 'sm_90a'
`
	got := usages(log)
	want := []Usage{{Kernel: "norm", Registers: 40, Stack: 8, SpillStores: 4, SpillLoads: 12, Shared: 528},
		{Kernel: "gemm", Registers: 255, Waits: "wgmma.mma_async instructions are serialized due to insufficient register resources for the wgmma pipeline"},
		{Kernel: "late", Waits: "wgmma.wait_group is injected in around line 855 by compiler to allow use of registers defined by GMMA"}}
	if !slices.Equal(got, want) {
		t.Errorf("usages: %+v, want %+v", got, want)
	}
}
