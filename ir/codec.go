package ir

import (
	"encoding"
	"fmt"
	"reflect"
	"strconv"
	"strings"

	"quire/ir/types"
)

// The codec of attributes: a struct's exported fields become "{name = value, ...}"
// in declaration order, zero fields left out; the name is the `ir` tag, or the
// field's own in lower case. It serves op attributes and kernel parameters alike.

var (
	dtypeType = reflect.TypeFor[types.DType]()
	elemType  = reflect.TypeFor[types.Elem]()
)

// encodeFields returns the text of a struct, "" when every field is zero.
func encodeFields(v reflect.Value) string {
	if v.Kind() == reflect.Pointer {
		v = v.Elem()
	}
	var parts []string
	for _, a := range Attributes(v.Interface()) {
		parts = append(parts, a.Name+" = "+a.Value)
	}
	if len(parts) == 0 {
		return ""
	}
	return "{" + strings.Join(parts, ", ") + "}"
}

// Attribute is one attribute as text shows it.
type Attribute struct{ Name, Value string }

// Attributes returns the attributes of an op ([Attrs]) or the parameters of a
// kernel (work.Params) as text shows them, nil for none.
func Attributes(a any) []Attribute {
	v := reflect.ValueOf(a)
	if !v.IsValid() || v.Kind() != reflect.Struct {
		return nil
	}
	var out []Attribute
	for i := range v.NumField() {
		if name := fieldName(v.Type().Field(i)); name != "" && !v.Field(i).IsZero() {
			out = append(out, Attribute{name, encodeValue(v.Field(i))})
		}
	}
	return out
}

// fieldName is the name of a field in text, "" for one that has none.
func fieldName(f reflect.StructField) string {
	if !f.IsExported() {
		return ""
	}
	if n := f.Tag.Get("ir"); n != "" {
		return n
	}
	return strings.ToLower(f.Name)
}

func encodeValue(v reflect.Value) string {
	switch x := v.Interface().(type) {
	case types.DType:
		return x.String()
	case types.Elem:
		return x.String()
	case encoding.TextMarshaler:
		b, err := x.MarshalText()
		if err != nil {
			panic("BUG: attribute without text: " + err.Error())
		}
		return string(b)
	}
	switch v.Kind() {
	case reflect.Bool:
		return strconv.FormatBool(v.Bool())
	case reflect.Int, reflect.Int32, reflect.Int64:
		return strconv.FormatInt(v.Int(), 10)
	case reflect.Float32:
		return strconv.FormatFloat(v.Float(), 'g', -1, 32)
	case reflect.Float64:
		return strconv.FormatFloat(v.Float(), 'g', -1, 64)
	case reflect.String:
		if validName(v.String()) {
			return v.String()
		}
		return strconv.Quote(v.String())
	case reflect.Slice:
		parts := make([]string, v.Len())
		for i := range parts {
			parts[i] = encodeValue(v.Index(i))
		}
		return "[" + strings.Join(parts, ", ") + "]"
	case reflect.Pointer:
		return encodeValue(v.Elem())
	case reflect.Struct:
		if s := encodeFields(v); s != "" {
			return s
		}
		return "{}"
	}
	panic(fmt.Sprintf("BUG: attribute of type %s", v.Type()))
}

// literal is parsed attribute text: exactly one of its forms.
type literal struct {
	text   string // number, word or quoted string as written
	list   []literal
	fields []field
	kind   byte // 't' text, 'l' list, 'f' fields
	pos    Pos
}

type field struct {
	name string
	val  literal
}

// decodeFields fills the struct that v points to. Unknown names and bad values
// are errors with the place of the value.
func decodeFields(fields []field, v reflect.Value) error {
	v = v.Elem()
	seen := map[string]bool{}
	for _, f := range fields {
		dst, ok := fieldByTag(v, f.name)
		if !ok {
			return &SyntaxError{Pos: f.val.pos, Msg: fmt.Sprintf("unknown attribute %q", clip(f.name))}
		}
		if seen[f.name] {
			return &SyntaxError{Pos: f.val.pos, Msg: fmt.Sprintf("attribute %q given twice", f.name)}
		}
		seen[f.name] = true
		if err := decodeValue(f.val, dst); err != nil {
			return err
		}
	}
	return nil
}

func fieldByTag(v reflect.Value, name string) (reflect.Value, bool) {
	for i := range v.NumField() {
		if fieldName(v.Type().Field(i)) == name {
			return v.Field(i), true
		}
	}
	return reflect.Value{}, false
}

func decodeValue(l literal, dst reflect.Value) error {
	bad := func(want string) error {
		return &SyntaxError{Pos: l.pos, Msg: fmt.Sprintf("attribute value %s, expected %s", l.describe(), want)}
	}
	if dst.Kind() == reflect.Pointer {
		p := reflect.New(dst.Type().Elem())
		if err := decodeValue(l, p.Elem()); err != nil {
			return err
		}
		dst.Set(p)
		return nil
	}
	switch dst.Type() {
	case dtypeType:
		d, ok := types.ParseDType(l.text)
		if !ok || l.kind != 't' {
			return bad("an element type")
		}
		dst.Set(reflect.ValueOf(d))
		return nil
	case elemType:
		if l.kind != 't' {
			return bad("an element type")
		}
		dst.Set(reflect.ValueOf(parseElem(l.text)))
		return nil
	}
	if u, ok := dst.Addr().Interface().(encoding.TextUnmarshaler); ok {
		if l.kind != 't' {
			return bad("a word")
		}
		if err := u.UnmarshalText([]byte(l.text)); err != nil {
			return bad(strings.TrimPrefix(err.Error(), strconv.Quote(l.text)+" is none of "))
		}
		return nil
	}
	switch dst.Kind() {
	case reflect.Bool:
		b, err := strconv.ParseBool(l.text)
		if err != nil || l.kind != 't' {
			return bad("true or false")
		}
		dst.SetBool(b)
	case reflect.Int, reflect.Int32, reflect.Int64:
		n, err := strconv.ParseInt(l.text, 10, 48)
		if err != nil || l.kind != 't' {
			return bad("an integer")
		}
		dst.SetInt(n)
	case reflect.Float32, reflect.Float64:
		x, err := strconv.ParseFloat(l.text, dst.Type().Bits())
		if err != nil || l.kind != 't' {
			return bad("a number")
		}
		dst.SetFloat(x)
	case reflect.String:
		s, err := l.text, error(nil)
		if !validName(s) {
			s, err = strconv.Unquote(s)
		}
		if err != nil || l.kind != 't' {
			return bad("a word or a quoted string")
		}
		dst.SetString(s)
	case reflect.Slice:
		if l.kind != 'l' {
			return bad("a list")
		}
		s := reflect.MakeSlice(dst.Type(), len(l.list), len(l.list))
		for i := range l.list {
			if err := decodeValue(l.list[i], s.Index(i)); err != nil {
				return err
			}
		}
		dst.Set(s)
	case reflect.Struct:
		if l.kind != 'f' {
			return bad("{...}")
		}
		return decodeFields(l.fields, dst.Addr())
	default:
		panic(fmt.Sprintf("BUG: attribute of type %s", dst.Type()))
	}
	return nil
}

func (l literal) describe() string {
	switch l.kind {
	case 'l':
		return "[...]"
	case 'f':
		return "{...}"
	}
	return clip(l.text)
}

// clip shortens untrusted text for an error message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "..."
	}
	return s
}

func parseElem(s string) types.Elem {
	if d, ok := types.ParseDType(s); ok {
		return types.Plain(d)
	}
	return types.Quantised(s)
}
