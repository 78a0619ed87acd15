package chat

import (
	"encoding/json"
	"fmt"
	"math"
	"slices"
	"strconv"
	"strings"

	"github.com/ardanlabs/jinja"
)

// jsonStyle is json.dumps's arguments.
type jsonStyle struct {
	indent     string
	pretty     bool
	item, pair string
	ascii      bool
	sorted     bool
}

// toJSON is the filter tojson as transformers sets it up: Python's json.dumps with ensure_ascii off.
func toJSON(args []jinja.Value, kw map[string]jinja.Value) (jinja.Value, error) {
	if len(args) == 0 {
		return jinja.Undefined(), fmt.Errorf("tojson: no value")
	}
	st := jsonStyle{item: ", ", pair: ": "}
	given := map[string]jinja.Value{}
	for i, name := range []string{"ensure_ascii", "indent", "separators", "sort_keys"} {
		if i+1 < len(args) {
			given[name] = args[i+1]
		}
		if v, ok := kw[name]; ok {
			given[name] = v
		}
	}
	if v := given["indent"]; v.IsInt() {
		if n := v.AsInt(); n >= 0 && n <= 64 {
			st.pretty, st.indent, st.item = true, strings.Repeat(" ", int(n)), ","
		}
	} else if v.IsString() && len(v.AsString()) <= 64 {
		st.pretty, st.indent, st.item = true, v.AsString(), ","
	}
	if v := given["separators"]; v.IsList() && v.AsList().Len() == 2 {
		st.item, st.pair = v.AsList().Get(0).String(), v.AsList().Get(1).String()
	}
	st.ascii, st.sorted = given["ensure_ascii"].IsTruthy(), given["sort_keys"].IsTruthy()
	var b strings.Builder
	if err := st.write(&b, args[0], 0); err != nil {
		return jinja.Undefined(), fmt.Errorf("tojson: %w", err)
	}
	return jinja.NewString(b.String()), nil
}

func (st *jsonStyle) write(b *strings.Builder, v jinja.Value, depth int) error {
	switch {
	case depth > 2*maxJSONDepth:
		return fmt.Errorf("value nests deeper than %d", 2*maxJSONDepth)
	case v.IsNone():
		b.WriteString("null")
	case v.IsBool():
		b.WriteString(strconv.FormatBool(v.AsBool()))
	case v.IsInt():
		b.WriteString(strconv.FormatInt(v.AsInt(), 10))
	case v.IsFloat():
		b.WriteString(pyFloat(v.AsFloat()))
	case v.IsString():
		st.quote(b, v.AsString())
	case v.IsList():
		items := v.AsList().Items
		return st.sequence(b, '[', ']', len(items), depth, func(i int) error { return st.write(b, items[i], depth+1) })
	case v.IsDict():
		d := v.AsDict()
		keys := d.OrderedKeys()
		if st.sorted {
			keys = slices.Clone(keys)
			slices.Sort(keys)
		}
		return st.sequence(b, '{', '}', len(keys), depth, func(i int) error {
			st.quote(b, keys[i])
			b.WriteString(st.pair)
			item, _ := d.Get(keys[i])
			return st.write(b, item, depth+1)
		})
	default:
		return fmt.Errorf("value is undefined or a function, expected data")
	}
	return nil
}

func (st *jsonStyle) sequence(b *strings.Builder, open, closing byte, n, depth int, item func(i int) error) error {
	b.WriteByte(open)
	line := func(depth int) {
		if st.pretty && n > 0 {
			b.WriteByte('\n')
			b.WriteString(strings.Repeat(st.indent, depth))
		}
	}
	for i := range n {
		if i > 0 {
			b.WriteString(st.item)
		}
		line(depth + 1)
		if err := item(i); err != nil {
			return err
		}
	}
	line(depth)
	b.WriteByte(closing)
	return nil
}

func (st *jsonStyle) quote(b *strings.Builder, s string) {
	var buf strings.Builder
	enc := json.NewEncoder(&buf)
	enc.SetEscapeHTML(false)
	enc.Encode(s) // a string always encodes
	q := strings.TrimSuffix(buf.String(), "\n")
	// Go escapes these two and U+007F not at all, Python neither.
	q = strings.NewReplacer(`\u2028`, "\u2028", `\u2029`, "\u2029").Replace(q)
	if !st.ascii {
		b.WriteString(q)
		return
	}
	for _, r := range q {
		switch {
		case r < 0x7f || r == 0x7f:
			b.WriteRune(r)
		case r > 0xffff:
			r -= 0x10000
			fmt.Fprintf(b, `\u%04x\u%04x`, 0xd800+r>>10, 0xdc00+r&0x3ff)
		default:
			fmt.Fprintf(b, `\u%04x`, r)
		}
	}
}

// pyFloat is Python's repr of a float.
func pyFloat(f float64) string {
	switch {
	case math.IsNaN(f):
		return "NaN"
	case math.IsInf(f, 1):
		return "Infinity"
	case math.IsInf(f, -1):
		return "-Infinity"
	}
	if a := math.Abs(f); a != 0 && (a < 1e-4 || a >= 1e16) {
		s := strconv.FormatFloat(f, 'e', -1, 64)
		return s
	}
	s := strconv.FormatFloat(f, 'f', -1, 64)
	if !strings.Contains(s, ".") {
		s += ".0"
	}
	return s
}
