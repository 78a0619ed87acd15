package decoder

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"maps"
	"math"
	"slices"
	"strconv"

	"quire/frontends/weights"
)

// fields reads one JSON object by key. A key that is absent or null takes its default; one of the wrong kind is an
// error, collected with the object's path.
type fields struct {
	file string
	path string // "rope_scaling." for an inner object
	m    map[string]json.RawMessage
	errs *[]error
}

// newFields parses a whole JSON object, whose file is named in errors.
func newFields(file string, text []byte) (*fields, error) {
	f := &fields{file: file, errs: new([]error)}
	if err := json.Unmarshal(text, &f.m); err != nil {
		return nil, &weights.Error{File: file, Msg: "expected a JSON object", Err: err}
	}
	if f.m == nil {
		return nil, &weights.Error{File: file, Msg: "null, expected a JSON object"}
	}
	return f, nil
}

func (f *fields) err() error { return errors.Join(*f.errs...) }

func (f *fields) errorf(key, format string, a ...any) {
	*f.errs = append(*f.errs, &weights.Error{File: f.file, Key: f.path + key, Msg: fmt.Sprintf(format, a...)})
}

// has reports whether a key is there and not null.
func (f *fields) has(key string) bool {
	v, ok := f.m[key]
	return ok && !bytes.Equal(bytes.TrimSpace(v), []byte("null"))
}

// get parses the value of a key into p; on failure it collects an error.
func (f *fields) get(key, kind string, p any) bool {
	if !f.has(key) {
		return false
	}
	if json.Unmarshal(f.m[key], p) == nil {
		return true
	}
	f.errorf(key, "%s, expected %s", clip(f.m[key]), kind)
	return false
}

// clip is JSON as errors show it.
func clip(v json.RawMessage) string {
	const most = 60
	if len(v) > most {
		return fmt.Sprintf("%q...", v[:most])
	}
	return string(v)
}

// integer reads a whole number, 4096 or 4096.0.
func (f *fields) integer(key string, otherwise int) int {
	var n json.Number // which would take a number in quotes as well
	if !f.get(key, "a whole number", &n) {
		return otherwise
	}
	if bytes.HasPrefix(bytes.TrimSpace(f.m[key]), []byte(`"`)) {
		f.errorf(key, "%s, expected a whole number", clip(f.m[key]))
		return otherwise
	}
	if i, err := strconv.Atoi(string(n)); err == nil {
		return i
	}
	x, err := n.Float64()
	if err != nil || x != math.Trunc(x) || math.Abs(x) > 1<<53 {
		f.errorf(key, "%s, expected a whole number", clip(f.m[key]))
		return otherwise
	}
	return int(x)
}

func (f *fields) number(key string, otherwise float64) float64 {
	var x float64
	if f.get(key, "a number", &x) {
		return x
	}
	return otherwise
}

func (f *fields) boolean(key string, otherwise bool) bool {
	var b bool
	if f.get(key, "true or false", &b) {
		return b
	}
	return otherwise
}

func (f *fields) text(key, otherwise string) string {
	var s string
	if f.get(key, "a string", &s) {
		return s
	}
	return otherwise
}

func (f *fields) texts(key string) []string {
	var s []string
	f.get(key, "a list of strings", &s)
	return s
}

// object returns an inner object, nil when it is absent.
func (f *fields) object(key string) *fields {
	in := &fields{file: f.file, path: f.path + key + ".", errs: f.errs}
	if !f.get(key, "an object", &in.m) {
		return nil
	}
	return in
}

// names lists the keys in alphabetical order.
func (f *fields) names() []string { return slices.Sorted(maps.Keys(f.m)) }

// under returns f with the keys of defaults (a JSON object) where f has none at all; a key that is null stays null.
func (f *fields) under(defaults string) *fields {
	var m map[string]json.RawMessage
	if err := json.Unmarshal([]byte(defaults), &m); err != nil {
		panic("BUG: defaults of a family: " + err.Error())
	}
	for k, v := range f.m {
		m[k] = v
	}
	return &fields{f.file, f.path, m, f.errs}
}
