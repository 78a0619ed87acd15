package weights

import "math"

// Metadata is the keys and values of a GGUF file. Values are uint8 int8 uint16 int16 uint32 int32 uint64 int64
// float32 float64 bool string, or slices of these, as the file types them.
type Metadata map[string]any

// Int reads a whole number of any type. ok is false when the key is absent or holds no such number.
func (m Metadata) Int(key string) (n int64, ok bool) {
	switch v := m[key].(type) {
	case uint8:
		return int64(v), true
	case int8:
		return int64(v), true
	case uint16:
		return int64(v), true
	case int16:
		return int64(v), true
	case uint32:
		return int64(v), true
	case int32:
		return int64(v), true
	case int64:
		return v, true
	case uint64:
		return int64(v), v <= math.MaxInt64
	}
	return 0, false
}

// Float reads a number of any type.
func (m Metadata) Float(key string) (f float64, ok bool) {
	switch v := m[key].(type) {
	case float32:
		return float64(v), true
	case float64:
		return v, true
	}
	n, ok := m.Int(key)
	return float64(n), ok
}

// Bool reads a bool.
func (m Metadata) Bool(key string) (b, ok bool) {
	b, ok = m[key].(bool)
	return b, ok
}

// Text reads a string.
func (m Metadata) Text(key string) (s string, ok bool) {
	s, ok = m[key].(string)
	return s, ok
}

// Texts reads an array of strings. It is shared, not a copy.
func (m Metadata) Texts(key string) (s []string, ok bool) {
	s, ok = m[key].([]string)
	return s, ok
}

// Ints reads an array of whole numbers of any type, or of bools as 0 and 1 (a single number is an array of one: GGUF
// writers give per-layer values either way).
func (m Metadata) Ints(key string) (n []int64, ok bool) {
	switch v := m[key].(type) {
	case []uint8:
		return widen(v), true
	case []int8:
		return widen(v), true
	case []uint16:
		return widen(v), true
	case []int16:
		return widen(v), true
	case []uint32:
		return widen(v), true
	case []int32:
		return widen(v), true
	case []int64:
		return widen(v), true
	case []uint64:
		return widen(v), true
	case []bool:
		n = make([]int64, len(v))
		for i, b := range v {
			if b {
				n[i] = 1
			}
		}
		return n, true
	}
	one, ok := m.Int(key)
	if !ok {
		return nil, false
	}
	return []int64{one}, true
}

// Floats reads an array of floating-point numbers.
func (m Metadata) Floats(key string) (f []float64, ok bool) {
	switch v := m[key].(type) {
	case []float32:
		f = make([]float64, len(v))
		for i, x := range v {
			f[i] = float64(x)
		}
		return f, true
	case []float64:
		return v, true
	}
	return nil, false
}

func widen[T uint8 | int8 | uint16 | int16 | uint32 | int32 | uint64 | int64](v []T) []int64 {
	n := make([]int64, len(v))
	for i, x := range v {
		n[i] = int64(x)
	}
	return n
}
