package kernel

import (
	"context"
	"strings"
	"testing"

	"quire/codegen/llc"
	"quire/ir/target"
)

func mustTarget(t *testing.T, name string) target.Target {
	t.Helper()
	x, err := target.Parse(name)
	if err != nil {
		t.Fatal(err)
	}
	return x
}

func tools(t *testing.T) llc.Tools {
	t.Helper()
	x, err := llc.Find(context.Background())
	if err != nil {
		t.Skip(err)
	}
	x.Cache = llc.Cache{}
	return x
}

func scale(k *Kernel) {
	x, y := Arg[F32](k, "x"), Arg[F32](k, "y")
	Row(k, 37, nil, func(l Lanes, _ []Vec) []Vec {
		l.Store(y, l.Load(x).Scale(2))
		return nil
	})
}

var xy = []Operand{{Name: "x"}, {Name: "y"}, {Name: "N", Dim: true}}

// One body becomes an object for each CPU and an entry for each GPU.
func TestOneBodyEveryTarget(t *testing.T) {
	tl := tools(t)
	for _, name := range []string{"x86-64-v3", "x86-64-v3+avx512", "sm_80", "sm_90a"} {
		m := NewModule(mustTarget(t, name))
		m.Define("scale", xy, Body{Main: scale})
		if m.Target().Arch == target.X86 {
			m.Driver()
		}
		text, err := m.Text()
		if err != nil {
			t.Fatal(err)
		}
		if m.Target().Arch == target.X86 {
			if _, err := tl.Object(context.Background(), m.Target(), name, text); err != nil {
				t.Error(err)
			}
			continue
		}
		ptx, err := tl.PTX(context.Background(), m.Target(), name, text)
		if err != nil {
			t.Error(err)
		}
		for _, want := range []string{".visible .entry scale(", ".target " + name, "ld.global"} {
			if !strings.Contains(ptx, want) {
				t.Errorf("%s: PTX lacks %q:\n%s", name, want, ptx)
			}
		}
	}
}

func TestErrorsNameTheAuthor(t *testing.T) {
	m := NewModule(mustTarget(t, "x86-64-v3"))
	m.Define("bad", xy, Body{Main: func(k *Kernel) {
		k.GPU()
		Arg[F32](k, "z")
		k.X86().Permute(k.Vec(0), k.VecI(0))
	}})
	_, err := m.Text()
	if err == nil {
		t.Fatal("no error")
	}
	for _, want := range []string{"kernel_test.go:", "kernel bad: gpu: the target is x86-64-v3", `operand "z": no such pointer`, "permute: needs avx512"} {
		if !strings.Contains(err.Error(), want) {
			t.Errorf("error lacks %q:\n%v", want, err)
		}
	}
}

func TestSameTextTwice(t *testing.T) {
	text := func() string {
		m := NewModule(mustTarget(t, "x86-64-v3+avx512"))
		m.Define("scale", xy, Body{Main: scale})
		m.Driver()
		s, err := m.Text()
		if err != nil {
			t.Fatal(err)
		}
		return s
	}
	if text() != text() {
		t.Error("two builds of one module differ")
	}
}
