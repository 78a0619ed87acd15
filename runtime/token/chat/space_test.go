package chat_test

import (
	"os"
	"strconv"
	"strings"
	"testing"

	"quire/runtime/token/chat"
)

// coin is splitmix64: the same templates on every machine.
type coin uint64

func (c *coin) toss(n int) int {
	*c += 0x9e3779b97f4a7c15
	z := uint64(*c)
	z = (z ^ z>>30) * 0xbf58476d1ce4e5b9
	z = (z ^ z>>27) * 0x94d049bb133111eb
	return int((z ^ z>>31) % uint64(n))
}

func (c *coin) pick(of ...string) string { return of[c.toss(len(of))] }

func (c *coin) space() string {
	var b strings.Builder
	for range c.toss(4) {
		b.WriteString(c.pick(" ", "\n", "  ", "\t", "\n\n", " \n", "x", "y\n", "{ ", "\u00a0", "\r\n", "\r"))
	}
	return b.String()
}

// body makes a template of tags with white space and signs between and in them.
func (c *coin) body(depth int) string {
	var b strings.Builder
	sign := func() string { return c.pick("", "", "-", "+") }
	plus := func() string { return c.pick("", "", "-") } // of an expression's end, where + would be an operator
	for range 1 + c.toss(4) {
		b.WriteString(c.space())
		switch k := c.toss(8); {
		case k < 2:
			b.WriteString("{{" + c.pick("", "-", "") + c.pick(" 'v' ", "'}}'", "{'a': {'b': 1}}['a']['b'] ", " \"%}\" ") + plus() + "}}")
		case k == 2:
			b.WriteString("{#" + sign() + " c'c " + sign() + "#}")
		case k == 3 && depth < 3:
			b.WriteString("{%" + sign() + " if 1 " + sign() + "%}" + c.body(depth+1) + "{%" + sign() + " endif " + sign() + "%}")
		case k == 4 && depth < 3:
			b.WriteString("{%" + sign() + " for i in [1, 2] " + sign() + "%}" + c.body(depth+1) + "{%" + sign() + " else " + sign() + "%}" +
				c.space() + "{%" + sign() + " endfor " + sign() + "%}")
		case k == 5:
			b.WriteString("{%" + sign() + " set x = 'w' " + sign() + "%}")
		case k == 6:
			b.WriteString("{%" + c.pick("", "-") + " raw " + c.pick("", "-") + "%}" + c.space() + "{{ r }}" + c.space() +
				"{%" + c.pick("", "-") + " endraw " + c.pick("", "-") + "%}")
		}
	}
	return b.String() + c.space()
}

// White space around tags of all signs, in random templates, against Python's jinja2: four hexadecimal digits each.
func TestWhiteSpaceEqualsJinja2(t *testing.T) {
	const count = 3000
	c := coin(1)
	templates := make([]string, count)
	for i := range templates {
		templates[i] = c.body(0)
	}
	const file = "testdata/space.txt"
	if *jinjaOracle != "" {
		var sums strings.Builder
		for i, a := range renderAll(t, templates) {
			sums.WriteString(a.digest()[:4])
			if i%32 == 31 || i == count-1 {
				sums.WriteByte('\n')
			}
		}
		if err := os.WriteFile(file, []byte(sums.String()), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	raw, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	sums := strings.ReplaceAll(string(raw), "\n", "")
	if len(sums) != 4*count {
		t.Fatalf("%d digests for %d templates", len(sums)/4, count)
	}
	unequal := 0
	for i, text := range templates {
		want := sums[4*i : 4*i+4]
		if want == failed[:4] {
			continue
		}
		tpl, err := chat.Trusted(text, markers)
		got := ""
		if err == nil {
			got, err = tpl.Render(chat.Input{})
		}
		if err == nil && digest(got)[:4] == want {
			continue
		}
		if unequal++; unequal > 5 {
			continue
		}
		t.Errorf("%s became %q (%v)", strconv.Quote(text), got, err)
		if *jinjaOracle != "" {
			t.Logf("expected %q", renderAll(t, []string{text})[0].any)
		}
	}
	t.Logf("%d of %d equal", count-unequal, count)
}

// FuzzCompile feeds any text as a template: an error or a template, no panic, soon.
func FuzzCompile(f *testing.F) {
	c := coin(2)
	for range 20 {
		f.Add(c.body(0))
	}
	for _, h := range hostile {
		if len(h.text) < 1000 {
			f.Add(h.text)
		}
	}
	for _, name := range chat.BuiltinNames() {
		tpl, err := chat.Builtin(name, markers)
		if err != nil {
			f.Fatal(err)
		}
		f.Add(tpl.Text())
	}
	f.Fuzz(func(t *testing.T, text string) {
		if tpl, err := chat.Trusted(text, markers); err == nil && tpl.Text() != chat.Normalize(text) {
			t.Fatalf("%q became %q", text, tpl.Text())
		}
		chat.Family(text)
		chat.Known(text)
	})
}
