package golden

import (
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// concepts is what every rewrite of long contexts is asked about, and the golden of each that
// answers: a row a concept.
var concepts = []struct {
	concept                  string
	awq, duo, quest, kvquant string
}{
	{"groups of query heads", "not-absorbed-gqa", "split-gqa", "select-group", "quantise-gqa"},
	{"biases", "absorb-up", "split-biased", "biases", "biases"},
	{"a head tied to the embedding", "not-absorbed-tied-head", "split-tied-head", "tied-head", "tied-head"},
	{"prompts read in chunks", "fuse-three-bits", "chunked", "chunked-prefill", "chunked-prefill"},
	{"ragged batches", "absorb-values", "ragged-approximates", "ragged-approximates", "ragged-approximates"},
	{"layers that are exempt", "absorb-exempted-layer", "exempted-layer", "not-first-layers", "not-quantised-already"},
	{"windowed layers", "absorb-window", "not-window", "not-window", "quantise-window"},
	{"either order", "../duo/either-order-awq", "either-order-awq", "either-order-awq", "after-split"},
	{"the order that is a law", "not-absorbed-unfused", "not-after-quest", "not-after-specialise", "not-after-specialise"},
}

// lines that one concept may take.
const conceptLines = 60

// Every concept has a golden in every rewrite, short enough to be read at once.
func TestConcepts(t *testing.T) {
	for _, c := range concepts {
		for pass, name := range map[string]string{"awq": c.awq, "duo": c.duo, "quest": c.quest, "kvquant": c.kvquant} {
			b, err := os.ReadFile(filepath.Join("testdata", pass, name+".txt"))
			if err != nil {
				t.Errorf("%s: %v", c.concept, err)
			}
			if n := strings.Count(string(b), "\n"); n >= conceptLines {
				t.Errorf("%s/%s: %d lines, expected less than %d", pass, name, n, conceptLines)
			}
		}
	}
}
