package target

import (
	"strings"
	"testing"
)

func TestParseRoundTrip(t *testing.T) {
	for _, name := range []string{"x86-64-v3", "x86-64-v3+avx512", "x86-64-v3+avx512+avx512bf16+avx512vnni", "x86-64-v3+avxvnni", "sm_80", "sm_90a"} {
		got, err := Parse(name)
		if err != nil {
			t.Fatal(err)
		}
		if got.Name != name {
			t.Errorf("Parse(%q).Name is %q", name, got.Name)
		}
	}
	a, _ := Parse("x86-64-v3+avx512vnni+avx512")
	if a.Name != "x86-64-v3+avx512+avx512vnni" || !a.Has(VNNI) || a.Has(BF16) {
		t.Errorf("features are not canonical: %v", a)
	}
}

func TestParseErrors(t *testing.T) {
	for name, want := range map[string]string{
		"x86-64-v2":            "expected host",
		"x86-64-v3+avx1024":    `feature "avx1024"`,
		"x86-64-v3+avx512vnni": "without avx512",
		"":                     "expected host",
	} {
		if _, err := Parse(name); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("Parse(%q): %v, want it to say %q", name, err, want)
		}
	}
}

func TestHostParses(t *testing.T) {
	h, err := Host()
	if err != nil {
		t.Skip(err)
	}
	p, err := Parse(h.Name)
	if err != nil || p.Name != h.Name || p.MAttr() != h.MAttr() {
		t.Errorf("host %q parses to %q, %v", h, p, err)
	}
}
