package target

import (
	"fmt"
	"sort"
	"strings"
)

// Arch is an instruction set family.
type Arch string

// The families.
const (
	X86 Arch = "x86-64"
	PTX Arch = "ptx"
)

// Feature is an instruction set extension beyond the family's baseline, in LLVM's
// spelling of -mattr.
type Feature string

// The x86-64 features that kernels choose by; the baseline (v3) has AVX2, FMA and F16C.
const (
	AVX512  Feature = "avx512" // f, bw, cd, dq, vl together
	VNNI    Feature = "avx512vnni"
	AVXVNNI Feature = "avxvnni"
	BF16    Feature = "avx512bf16"
	AMXInt8 Feature = "amx-int8"
	AMXBF16 Feature = "amx-bf16"
)

// Target is one machine.
type Target struct {
	Name     string // canonical: "x86-64-v3", "x86-64-v3+avx512+avx512vnni", "sm_90a"
	Arch     Arch
	Features []Feature // sorted

	// x86-64
	Registers   int // vector registers
	VectorBytes int // width of one
	L1, L2      int // bytes of data cache a core may count on

	// PTX
	SM              string // "sm_80"
	Warp            int    // lanes
	SharedBytes     int    // of a block
	Multiprocessors int    // of the architecture's usual device; a real one may have others
}

// Has says whether the target has a feature.
func (t Target) Has(f Feature) bool {
	i := sort.Search(len(t.Features), func(i int) bool { return t.Features[i] >= f })
	return i < len(t.Features) && t.Features[i] == f
}

func (t Target) String() string { return t.Name }

// baseline is x86-64-v3 as LLVM spells it.
var baseline = []string{"avx", "avx2", "bmi", "bmi2", "cx16", "f16c", "fma", "lzcnt", "movbe", "popcnt", "sahf", "sse3", "sse4.1", "sse4.2", "ssse3", "xsave"}

// attrs lists what a feature adds to -mattr.
var attrs = map[Feature][]string{
	AVX512:  {"avx512f", "avx512bw", "avx512cd", "avx512dq", "avx512vl", "evex512"},
	VNNI:    {"avx512vnni"},
	AVXVNNI: {"avxvnni"},
	BF16:    {"avx512bf16"},
	AMXInt8: {"amx-tile", "amx-int8"},
	AMXBF16: {"amx-tile", "amx-bf16"},
}

// needs lists what a feature cannot be without.
var needs = map[Feature]Feature{VNNI: AVX512, BF16: AVX512, AMXInt8: AVX512, AMXBF16: AVX512}

// ptx lists the GPU targets.
var ptx = map[string]Target{
	"sm_80":  {Name: "sm_80", Arch: PTX, SM: "sm_80", Warp: 32, SharedBytes: 163 << 10, Multiprocessors: 108},
	"sm_90a": {Name: "sm_90a", Arch: PTX, SM: "sm_90a", Warp: 32, SharedBytes: 227 << 10, Multiprocessors: 132},
}

// Parse reads a target's name: "host", "x86-64-v3" with features joined by "+", or a GPU's.
func Parse(name string) (Target, error) {
	if name == "host" {
		return Host()
	}
	if t, ok := ptx[name]; ok {
		return t, nil
	}
	base, rest, _ := strings.Cut(name, "+")
	if base != "x86-64-v3" {
		return Target{}, fmt.Errorf("target %q: expected host, x86-64-v3[+feature...], sm_80 or sm_90a", name)
	}
	var fs []Feature
	for f := range strings.SplitSeq(rest, "+") {
		if f == "" {
			continue
		}
		if _, ok := attrs[Feature(f)]; !ok {
			return Target{}, fmt.Errorf("target %q: feature %q, expected one of %v", name, f, features())
		}
		fs = append(fs, Feature(f))
	}
	return x86(fs)
}

func features() []Feature {
	var out []Feature
	for f := range attrs {
		out = append(out, f)
	}
	sort.Slice(out, func(i, j int) bool { return out[i] < out[j] })
	return out
}

// x86 makes a target of the baseline and features.
func x86(fs []Feature) (Target, error) {
	t := Target{Name: "x86-64-v3", Arch: X86, Registers: 16, VectorBytes: 32, L1: 32 << 10, L2: 256 << 10}
	set := map[Feature]bool{}
	for _, f := range fs {
		set[f] = true
	}
	for f := range set {
		if n, ok := needs[f]; ok && !set[n] {
			return Target{}, fmt.Errorf("target: feature %s without %s", f, n)
		}
		t.Features = append(t.Features, f)
	}
	sort.Slice(t.Features, func(i, j int) bool { return t.Features[i] < t.Features[j] })
	for _, f := range t.Features {
		t.Name += "+" + string(f)
	}
	if set[AVX512] {
		t.Registers, t.VectorBytes, t.L2 = 32, 64, 1<<20
	}
	return t, nil
}

// Triple is LLVM's name of the target's machine.
func (t Target) Triple() string {
	if t.Arch == PTX {
		return "nvptx64-nvidia-cuda"
	}
	return "x86_64-unknown-linux-gnu"
}

// MAttr is the explicit list for -mattr.
func (t Target) MAttr() string {
	if t.Arch == PTX {
		return "+ptx83"
	}
	all := append([]string(nil), baseline...)
	for _, f := range t.Features {
		all = append(all, attrs[f]...)
	}
	return "+" + strings.Join(all, ",+")
}
