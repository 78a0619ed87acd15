package weights

import (
	"fmt"
	"strconv"
)

// Error says that a model file cannot be used: where, and in Msg what was seen and what was expected.
type Error struct {
	File   string // path of the file or directory
	Tensor string // name of the tensor at fault, or empty
	Key    string // metadata key at fault, or empty
	Msg    string
	Err    error // the cause, or nil
}

func (e *Error) Error() string {
	s := e.File
	if e.Tensor != "" {
		s += ": tensor " + brief(e.Tensor)
	}
	if e.Key != "" {
		s += ": key " + brief(e.Key)
	}
	if e.Msg != "" {
		s += ": " + e.Msg
	}
	if e.Err != nil {
		s += ": " + e.Err.Error()
	}
	return s
}

func (e *Error) Unwrap() error { return e.Err }

// at returns an Error about a whole file.
func at(file, format string, args ...any) *Error {
	return &Error{File: file, Msg: fmt.Sprintf(format, args...)}
}

// inTensor and inKey complete an Error (or wrap another error) with the tensor or key being read.
func inTensor(name string, err *Error) *Error {
	err.Tensor = name
	return err
}

func inKey(key string, err *Error) *Error {
	err.Key = key
	return err
}

// brief quotes a name from a file for a message: escapes made visible, 80 bytes at most.
func brief(s string) string {
	if len(s) > 80 {
		return strconv.Quote(s[:80]) + "..."
	}
	return strconv.Quote(s)
}
