package main

import (
	"strings"
	"testing"
)

// What go test -json printed of a package with one test of each outcome.
const printed = `{"Action":"run","Package":"p","Test":"TestPass"}
{"Action":"output","Package":"p","Test":"TestPass","Output":"=== RUN   TestPass\n"}
{"Action":"output","Package":"p","Test":"TestPass","Output":"    p_test.go:3: quiet\n"}
{"Action":"pass","Package":"p","Test":"TestPass"}
{"Action":"output","Package":"p","Test":"TestGPU","Output":"=== RUN   TestGPU\n"}
{"Action":"output","Package":"p","Test":"TestGPU","Output":"    p_test.go:5: no GPU:  none\n"}
{"Action":"output","Package":"p","Test":"TestGPU","Output":"--- SKIP: TestGPU (0.00s)\n"}
{"Action":"skip","Package":"p","Test":"TestGPU"}
{"Action":"output","Package":"p","Test":"TestData/model","Output":"    p_test.go:7: m.gguf is missing: run fetch.sh\n"}
{"Action":"skip","Package":"p","Test":"TestData/model"}
{"Action":"skip","Package":"p","Test":"TestDumb"}
{"Action":"output","Package":"p","Test":"TestFail","Output":"=== RUN   TestFail\n"}
{"Action":"output","Package":"p","Test":"TestFail","Output":"    p_test.go:9: 1, expected 2\n"}
{"Action":"output","Package":"p","Test":"TestFail","Output":"--- FAIL: TestFail (0.00s)\n"}
{"Action":"fail","Package":"p","Test":"TestFail"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"output","Package":"p","Output":"FAIL\tp\t0.1s\n"}
{"Action":"fail","Package":"p"}
{"Action":"skip","Package":"empty"}
`

func TestRead(t *testing.T) {
	var out strings.Builder
	skips, err := read(strings.NewReader(printed), &out)
	if err != nil {
		t.Fatal(err)
	}
	want := []struct {
		line    string
		allowed bool
	}{
		{"SKIP\tp\tTestGPU: no GPU: none", true},
		{"SKIP\tp\tTestData/model: m.gguf is missing: run fetch.sh", false},
		{"SKIP\tp\tTestDumb: no reason given", false},
	}
	if len(skips) != len(want) {
		t.Fatalf("skips are %v, expected %d", skips, len(want))
	}
	for i, w := range want {
		if skips[i].String() != w.line || skips[i].allowed() != w.allowed {
			t.Errorf("skip %d is %q (allowed %t), expected %q (%t)", i, skips[i], skips[i].allowed(), w.line, w.allowed)
		}
	}
	const shown = "    p_test.go:9: 1, expected 2\n--- FAIL: TestFail (0.00s)\nFAIL\nFAIL\tp\t0.1s\n"
	if out.String() != shown {
		t.Errorf("printed %q, expected %q", out.String(), shown)
	}
}
