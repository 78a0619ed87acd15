package program

import (
	"bytes"
	"encoding/json"
	"fmt"
	"reflect"

	"quire/ir/work"
)

// kernelJSON is a Kernel in a file's header: the family says how to read Params.
type kernelJSON struct {
	Symbol string
	Last   string `json:",omitempty"`
	Family string
	Params json.RawMessage
}

// MarshalJSON writes the kernel's family beside its parameters.
func (k Kernel) MarshalJSON() ([]byte, error) {
	if k.Params == nil {
		return nil, fmt.Errorf("kernel %s: no parameters", k.Symbol)
	}
	params, err := json.Marshal(k.Params)
	if err != nil {
		return nil, fmt.Errorf("kernel %s: %w", k.Symbol, err)
	}
	return json.Marshal(kernelJSON{k.Symbol, k.Last, k.Params.Family(), params})
}

// UnmarshalJSON reads what MarshalJSON wrote; a family that package work does not
// have and a field that the family does not have are errors.
func (k *Kernel) UnmarshalJSON(text []byte) error {
	var j kernelJSON
	if err := strict(text, &j); err != nil {
		return err
	}
	zero, ok := work.Zero(j.Family)
	if !ok {
		return fmt.Errorf("kernel %.64q: family %.64q is not known", j.Symbol, j.Family)
	}
	p := reflect.New(reflect.TypeOf(zero))
	if err := strict(j.Params, p.Interface()); err != nil {
		return fmt.Errorf("kernel %.64q: %w", j.Symbol, err)
	}
	*k = Kernel{Symbol: j.Symbol, Last: j.Last, Params: p.Elem().Interface().(work.Params)}
	return nil
}

// strict decodes exactly one JSON value and knows every field of it.
func strict(text []byte, into any) error {
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(into); err != nil {
		return err
	}
	if d.More() {
		return fmt.Errorf("text after the JSON value")
	}
	return nil
}
