package cpu

import (
	"fmt"
	"slices"

	"golang.org/x/sys/cpu"
)

// features are what a Program may ask of the processor, by the names of its Features;
// the target's baseline is always asked for.
var features = []struct {
	name string
	has  bool
}{
	{"avx512", cpu.X86.HasAVX512F && cpu.X86.HasAVX512BW && cpu.X86.HasAVX512CD && cpu.X86.HasAVX512DQ && cpu.X86.HasAVX512VL},
	{"avx512vnni", cpu.X86.HasAVX512VNNI},
	{"avxvnni", cpu.X86.HasAVXVNNI},
	{"avx512bf16", cpu.X86.HasAVX512BF16},
	{"amx-int8", cpu.X86.HasAMXTile && cpu.X86.HasAMXInt8},
	{"amx-bf16", cpu.X86.HasAMXTile && cpu.X86.HasAMXBF16},
	{baseline, cpu.X86.HasAVX2 && cpu.X86.HasFMA && cpu.X86.HasBMI2 && cpu.X86.HasPOPCNT},
}

const baseline = "x86-64-v3"

// checkFeatures refuses code that this processor cannot run.
func checkFeatures(target string, names []string) error {
	for _, n := range append([]string{baseline}, names...) {
		i := slices.IndexFunc(features, func(f struct {
			name string
			has  bool
		}) bool {
			return f.name == n
		})
		if i < 0 {
			return fmt.Errorf("cpu: program for %s needs %.64q, which this runtime does not know", target, n)
		}
		if !features[i].has {
			return fmt.Errorf("cpu: program for %s needs %s, which this processor lacks", target, n)
		}
	}
	return nil
}
