package ir

import (
	"reflect"

	"quire/ir/work"
)

// kernelByName fills the parameters of a family from attribute text.
func kernelByName(name string, fields []field, pos Pos) (work.Params, error) {
	zero, ok := work.Zero(name)
	if !ok {
		return nil, &SyntaxError{Pos: pos, Msg: "unknown kernel family \"" + clip(name) + "\""}
	}
	v := reflect.New(reflect.TypeOf(zero))
	if err := decodeFields(fields, v); err != nil {
		return nil, err
	}
	return v.Elem().Interface().(work.Params), nil
}
