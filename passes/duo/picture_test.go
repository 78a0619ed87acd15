package duo

import (
	"encoding/xml"
	"errors"
	"io"
	"strings"
	"testing"
)

// The picture is XML with a square a gate and a dot a retrieval head, the same each
// time.
func TestPicture(t *testing.T) {
	g, _ := published(t, llama31)
	m, err := g.BySparsity(0.5)
	if err != nil {
		t.Fatal(err)
	}
	text := Picture("a < b & c", g, m)
	if text != Picture("a < b & c", g, m) {
		t.Error("two pictures differ")
	}
	n := map[string]int{}
	for d := xml.NewDecoder(strings.NewReader(text)); ; {
		tok, err := d.Token()
		if errors.Is(err, io.EOF) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		if s, ok := tok.(xml.StartElement); ok {
			n[s.Name.Local]++
		}
	}
	if n["title"] != 256 || n["rect"] != 256+1+11 || n["circle"] != 128+1 {
		t.Errorf("elements %v", n)
	}
	for _, want := range []string{"a &lt; b &amp; c", "retrieval head: 128 of 256", "layer 30, head 7: "} {
		if !strings.Contains(text, want) {
			t.Errorf("no %q", want)
		}
	}
	if shade(0) != "#f2f4f7" || shade(1) != "#1f4e8c" || shade(-1) != shade(0) || shade(2) != shade(1) {
		t.Errorf("shades %s to %s", shade(0), shade(1))
	}
}
