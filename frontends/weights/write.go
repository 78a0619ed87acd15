package weights

import (
	"bytes"
	"encoding/binary"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"slices"
)

// KV is a key of GGUF metadata with its value: any type that Metadata may hold, with the same meaning.
type KV struct {
	Key   string
	Value any
}

// TensorData is a tensor to be written: the fields of Tensor, and its bytes.
type TensorData struct {
	Name  string
	Enc   string
	Shape []int64 // row-major, outermost first
	Data  []byte
}

// check is the size that the tensor's encoding and shape ask for, held against its data.
func (t TensorData) check() error {
	l, ok := layoutOf(t.Enc)
	if !ok {
		return fmt.Errorf("tensor %s: encoding %q, expected one that the format has", brief(t.Name), t.Enc)
	}
	if len(t.Shape) == 0 {
		return fmt.Errorf("tensor %s: no dimensions, expected 1 or more", brief(t.Name))
	}
	want, wrong := l.extent(t.Shape)
	if wrong != "" {
		return fmt.Errorf("tensor %s: %s", brief(t.Name), wrong)
	}
	if int64(len(t.Data)) != want {
		return fmt.Errorf("tensor %s: %d bytes, expected %d of %s%v", brief(t.Name), len(t.Data), want, t.Enc, t.Shape)
	}
	return nil
}

// WriteGGUF writes a GGUF file, version 3, with keys and tensors in the order given and the data of each tensor at a
// multiple of general.alignment (32 unless kv says otherwise). The same arguments give the same bytes.
func WriteGGUF(w io.Writer, kv []KV, tensors []TensorData) error {
	var head bytes.Buffer
	head.WriteString("GGUF")
	put(&head, uint32(3), uint64(len(tensors)), uint64(len(kv)))
	all := Metadata{}
	for _, p := range kv {
		putString(&head, p.Key)
		if err := putValue(&head, p.Value); err != nil {
			return fmt.Errorf("key %s: %w", brief(p.Key), err)
		}
		all[p.Key] = p.Value
	}
	align, err := alignment("alignment", all)
	if err != nil {
		return err
	}
	var offset int64
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return err
		}
		typ, ok := ggmlType(t.Enc)
		if !ok || len(t.Shape) > maxGGUFDims {
			return fmt.Errorf("tensor %s: %s%v, expected an encoding of ggml and at most %d dimensions", brief(t.Name), t.Enc, t.Shape, maxGGUFDims)
		}
		putString(&head, t.Name)
		put(&head, uint32(len(t.Shape)))
		for _, d := range slices.Backward(t.Shape) {
			put(&head, uint64(d))
		}
		put(&head, typ, uint64(offset))
		offset += roundUp(int64(len(t.Data)), align)
	}
	head.Write(make([]byte, roundUp(int64(head.Len()), align)-int64(head.Len())))
	if _, err := w.Write(head.Bytes()); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
		if _, err := w.Write(make([]byte, roundUp(int64(len(t.Data)), align)-int64(len(t.Data)))); err != nil {
			return err
		}
	}
	return nil
}

func roundUp(n, align int64) int64 { return (n + align - 1) / align * align }

// put writes fixed-size values, little-endian.
func put(b *bytes.Buffer, values ...any) {
	for _, v := range values {
		if err := binary.Write(b, binary.LittleEndian, v); err != nil {
			panic("BUG: " + err.Error()) // a type that binary.Write does not take
		}
	}
}

func putString(b *bytes.Buffer, s string) {
	put(b, uint64(len(s)))
	b.WriteString(s)
}

// putValue writes a value's type and then the value.
func putValue(b *bytes.Buffer, v any) error {
	switch v := v.(type) {
	case string:
		put(b, uint32(typeString))
		putString(b, v)
		return nil
	case []string:
		put(b, uint32(typeArray), uint32(typeString), uint64(len(v)))
		for _, s := range v {
			putString(b, s)
		}
		return nil
	}
	for _, typ := range slices.Sorted(maps.Keys(valueTypes)) {
		t := valueTypes[typ]
		zero := make([]byte, t.size)
		switch fmt.Sprintf("%T", v) {
		case fmt.Sprintf("%T", t.one(zero)):
			put(b, typ, v)
			return nil
		case fmt.Sprintf("%T", t.many(zero)):
			put(b, uint32(typeArray), typ, uint64(binary.Size(v))/t.size, v)
			return nil
		}
	}
	return fmt.Errorf("value of type %T, expected a number, bool, string or a slice of these", v)
}

// WriteSafetensors writes a safetensors file: tensors in the order given, metadata (nil for none) sorted by key, the
// data at a multiple of 8. The same arguments give the same bytes.
func WriteSafetensors(w io.Writer, metadata map[string]string, tensors []TensorData) error {
	var head bytes.Buffer
	sep := "{"
	if metadata != nil {
		text, err := json.Marshal(metadata) // sorts keys
		if err != nil {
			return err
		}
		fmt.Fprintf(&head, `%s"__metadata__":%s`, sep, text)
		sep = ","
	}
	var offset int64
	for _, t := range tensors {
		if err := t.check(); err != nil {
			return err
		}
		dtype, ok := safetensorsType(t.Enc)
		if !ok || len(t.Shape) > maxDims {
			return fmt.Errorf("tensor %s: %s%v, expected a dtype of safetensors and at most %d dimensions", brief(t.Name), t.Enc, t.Shape, maxDims)
		}
		name, err := json.Marshal(t.Name)
		if err != nil {
			return err
		}
		shape, err := json.Marshal(t.Shape)
		if err != nil {
			return err
		}
		end := offset + int64(len(t.Data))
		fmt.Fprintf(&head, `%s%s:{"dtype":%q,"shape":%s,"data_offsets":[%d,%d]}`, sep, name, dtype, shape, offset, end)
		offset, sep = end, ","
	}
	if sep == "{" {
		head.WriteString(sep)
	}
	head.WriteString("}")
	head.Write(bytes.Repeat([]byte{' '}, int(roundUp(int64(head.Len()), 8))-head.Len()))
	if err := binary.Write(w, binary.LittleEndian, uint64(head.Len())); err != nil {
		return err
	}
	if _, err := w.Write(head.Bytes()); err != nil {
		return err
	}
	for _, t := range tensors {
		if _, err := w.Write(t.Data); err != nil {
			return err
		}
	}
	return nil
}
