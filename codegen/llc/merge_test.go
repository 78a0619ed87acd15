package llc

import (
	"context"
	"strings"
	"testing"

	"quire/ir/target"
)

const store = `target triple = "nvptx64-nvidia-cuda"
@shared = external addrspace(3) global [0 x i8], align 16
define ptx_kernel void @NAME(i32 addrspace(1)* %p) {
  %s = load i8, i8 addrspace(3)* getelementptr inbounds ([0 x i8], [0 x i8] addrspace(3)* @shared, i64 0, i64 0)
  %v = zext i8 %s to i32
  store i32 %v, i32 addrspace(1)* %p
  ret void
}
`

// Modules join to one that ptxas takes: directives and shared memory once, every entry.
func TestModule(t *testing.T) {
	tl := tools(t)
	tgt, err := target.Parse("sm_80")
	if err != nil {
		t.Fatal(err)
	}
	texts := []string{strings.ReplaceAll(store, "NAME", "one"), strings.ReplaceAll(store, "NAME", "two")}
	ptx, err := tl.Module(context.Background(), tgt, []string{"one", "two"}, texts)
	if err != nil {
		t.Fatal(err)
	}
	for want, n := range map[string]int{".version ": 1, ".target ": 1, ".address_size": 1, ".extern .shared": 1, ".entry one(": 1, ".entry two(": 1} {
		if got := strings.Count(ptx, want); got != n {
			t.Errorf("%q stands %d times, want %d, in\n%s", want, got, n, ptx)
		}
	}
	as, err := FindPtxas()
	if err != nil {
		t.Skip("PTX is made but not assembled:", err)
	}
	cubin, err := as.Cubin(context.Background(), tl.Cache, tgt, ptx)
	if err != nil || !strings.HasPrefix(string(cubin), "\x7fELF") {
		t.Errorf("cubin of %d bytes, %v", len(cubin), err)
	}
}

// Texts that are no modules, or modules for other machines, do not join.
func TestNotMerged(t *testing.T) {
	const head = ".version 8.3\n.target sm_80\n.address_size 64\n"
	for _, c := range []struct{ a, b, want string }{
		{head, ".version 8.3\n.target sm_90a\n.address_size 64\n", `b: a module that begins with`},
		{head, ".version 8.3\n.visible .entry x()\n", `begins with ".visible .entry x()", expected .target`},
		{head, "", "PTX without .version"},
	} {
		if _, err := merge([]string{"a", "b"}, []string{c.a, c.b}); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("error %v, want %q", err, c.want)
		}
	}
}
