package bandwidth

import "testing"

func TestRead(t *testing.T) {
	if testing.Short() {
		t.Skip("reads 1.5 GB")
	}
	if r := Read(1); r < 0.5 || r > 10_000 {
		t.Errorf("one thread reads %.1f GB/s, expected a machine's rate", r)
	}
}

func TestSumReadsEveryLine(t *testing.T) {
	v := make([]uint64, 256)
	for i := 0; i < len(v); i += 8 {
		v[i] = 1
	}
	if got := sum(v); got != 32 {
		t.Errorf("sum of 32 lines is %d", got)
	}
}
