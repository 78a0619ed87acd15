package spec

import (
	"flag"
	"os"
	"strings"
	"testing"
)

var rewrite = flag.Bool("rewrite", false, "write keys.md anew")

func TestMarkdown(t *testing.T) {
	text := Markdown()
	if *rewrite {
		if err := os.WriteFile("keys.md", []byte(text), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	old, err := os.ReadFile("keys.md")
	if err != nil {
		t.Fatal(err)
	}
	if string(old) != text {
		t.Fatal("keys.md is not what the table prints; run with -rewrite")
	}
}

// Every row can be set, says what it is for, and stands below a row that is a mapping.
func TestTable(t *testing.T) {
	groups := map[string]bool{"": true}
	seen := map[string]bool{}
	for _, k := range Keys() {
		parent := k.Path[:max(strings.LastIndex(k.Path, "."), 0)]
		if !groups[parent] {
			t.Errorf("%s: %q is no mapping before it", k.Path, parent)
		}
		if k.Doc == "" || k.Type == "" || !strings.HasSuffix(k.Doc, ".") {
			t.Errorf("%s: type %q, doc %q", k.Path, k.Type, k.Doc)
		}
		if k.set == nil && !k.group || seen[canonical(k.Path)] {
			t.Errorf("%s: cannot be set, or stands twice", k.Path)
		}
		groups[k.Path], seen[canonical(k.Path)] = k.group, true
	}
}
