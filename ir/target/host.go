package target

import (
	"fmt"
	"runtime"

	"golang.org/x/sys/cpu"
)

// Host is the processor that runs us. It is an error below x86-64-v3.
func Host() (Target, error) {
	if runtime.GOARCH != "amd64" {
		return Target{}, fmt.Errorf("target host: %s, expected amd64", runtime.GOARCH)
	}
	x := cpu.X86
	for _, need := range []struct {
		name string
		has  bool
	}{{"avx2", x.HasAVX2}, {"fma", x.HasFMA}, {"bmi2", x.HasBMI2}, {"popcnt", x.HasPOPCNT}} {
		if !need.has {
			return Target{}, fmt.Errorf("target host: the processor lacks %s, expected x86-64-v3", need.name)
		}
	}
	var fs []Feature
	if x.HasAVX512F && x.HasAVX512BW && x.HasAVX512CD && x.HasAVX512DQ && x.HasAVX512VL {
		fs = append(fs, AVX512)
		tiles := x.HasAMXTile && mayUseTiles()
		for _, f := range []struct {
			f   Feature
			has bool
		}{{VNNI, x.HasAVX512VNNI}, {BF16, x.HasAVX512BF16}, {AMXInt8, x.HasAMXInt8 && tiles}, {AMXBF16, x.HasAMXBF16 && tiles}} {
			if f.has {
				fs = append(fs, f.f)
			}
		}
	}
	if x.HasAVXVNNI {
		fs = append(fs, AVXVNNI)
	}
	return x86(fs)
}
