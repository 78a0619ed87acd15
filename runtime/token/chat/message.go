package chat

import (
	"bytes"
	"encoding/json"
	"fmt"
	"io"
	"time"

	"github.com/ardanlabs/jinja"
)

// Message is one turn of a conversation. Empty fields are left out of what the template sees, but for content.
type Message struct {
	Role       string // "system", "user", "assistant", "tool"
	Content    string
	Parts      []Part     // content as a list, instead of Content
	Reasoning  string     // reasoning_content
	ToolCalls  []ToolCall // of an assistant
	ToolCallID string     // of a tool's answer
	Name       string
}

// Part is a piece of content.
type Part struct {
	Type string // "text", "image", ...
	Text string
}

// ToolCall is a call that an assistant made. Arguments is JSON: an object as a rule, and shown to the template as one.
type ToolCall struct {
	ID, Name  string
	Arguments json.RawMessage
}

// Input is what a template renders.
type Input struct {
	Messages            []Message
	Tools               []json.RawMessage // function schemas; the order of their keys is kept
	AddGenerationPrompt bool
	Now                 time.Time      // for strftime_now; the zero value is the present
	Vars                map[string]any // what else the template takes: enable_thinking, ... (bool, string, int, float64 or nil)
}

// maxJSONDepth bounds schemas and arguments.
const maxJSONDepth = 64

func (in *Input) values() (map[string]jinja.Value, error) {
	msgs := make([]jinja.Value, len(in.Messages))
	for i, m := range in.Messages {
		v, err := m.value()
		if err != nil {
			return nil, fmt.Errorf("message %d: %w", i, err)
		}
		msgs[i] = v
	}
	out := map[string]jinja.Value{
		"messages":              jinja.NewList(msgs),
		"tools":                 jinja.None(),
		"documents":             jinja.None(),
		"add_generation_prompt": jinja.NewBool(in.AddGenerationPrompt),
	}
	if len(in.Tools) > 0 {
		tools := make([]jinja.Value, len(in.Tools))
		for i, raw := range in.Tools {
			v, err := ordered(raw)
			if err != nil {
				return nil, fmt.Errorf("tool %d: %w", i, err)
			}
			tools[i] = v
		}
		out["tools"] = jinja.NewList(tools)
	}
	for k, v := range in.Vars {
		out[k] = jinja.FromGoValue(v)
	}
	return out, nil
}

// dict is an ordered object under construction.
type dict struct{ jinja.Value }

func newDict() dict { return dict{jinja.NewDict()} }

func (d dict) set(key string, v jinja.Value) { d.AsDict().Set(key, v) }

func (d dict) text(key, s string) {
	if s != "" {
		d.set(key, jinja.NewString(s))
	}
}

func (m *Message) value() (jinja.Value, error) {
	d := newDict()
	d.set("role", jinja.NewString(m.Role))
	if m.Parts == nil {
		d.set("content", jinja.NewString(m.Content))
	} else {
		parts := make([]jinja.Value, len(m.Parts))
		for i, p := range m.Parts {
			part := newDict()
			part.set("type", jinja.NewString(p.Type))
			part.text("text", p.Text)
			parts[i] = part.Value
		}
		d.set("content", jinja.NewList(parts))
	}
	d.text("reasoning_content", m.Reasoning)
	if len(m.ToolCalls) > 0 {
		calls := make([]jinja.Value, len(m.ToolCalls))
		for i, c := range m.ToolCalls {
			v, err := c.value()
			if err != nil {
				return v, fmt.Errorf("tool call %d: arguments: %w", i, err)
			}
			calls[i] = v
		}
		d.set("tool_calls", jinja.NewList(calls))
	}
	d.text("tool_call_id", m.ToolCallID)
	d.text("name", m.Name)
	return d.Value, nil
}

func (c *ToolCall) value() (jinja.Value, error) {
	args := jinja.NewString(string(c.Arguments))
	if b := bytes.TrimSpace(c.Arguments); len(b) > 0 && b[0] == '{' {
		v, err := ordered(b)
		if err != nil {
			return v, err
		}
		args = v
	}
	fn := newDict()
	fn.set("name", jinja.NewString(c.Name))
	fn.set("arguments", args)
	d := newDict()
	d.text("id", c.ID)
	d.set("type", jinja.NewString("function"))
	d.set("function", fn.Value)
	return d.Value, nil
}

// ordered reads JSON and keeps the order of keys, which templates print.
func ordered(raw []byte) (jinja.Value, error) {
	dec := json.NewDecoder(bytes.NewReader(raw))
	dec.UseNumber()
	v, err := orderedValue(dec, 0)
	if err != nil {
		return jinja.Undefined(), err
	}
	if _, err := dec.Token(); err != io.EOF {
		return jinja.Undefined(), fmt.Errorf("more than one JSON value")
	}
	return v, nil
}

func orderedValue(dec *json.Decoder, depth int) (jinja.Value, error) {
	if depth > maxJSONDepth {
		return jinja.Undefined(), fmt.Errorf("JSON nests deeper than %d", maxJSONDepth)
	}
	tok, err := dec.Token()
	if err != nil {
		return jinja.Undefined(), err
	}
	switch t := tok.(type) {
	case bool:
		return jinja.NewBool(t), nil
	case string:
		return jinja.NewString(t), nil
	case json.Number:
		if n, err := t.Int64(); err == nil {
			return jinja.NewInt(n), nil
		}
		f, err := t.Float64()
		return jinja.NewFloat(f), err
	case json.Delim:
		if t == '[' {
			return orderedList(dec, depth)
		}
		return orderedDict(dec, depth)
	}
	return jinja.None(), nil
}

func orderedList(dec *json.Decoder, depth int) (jinja.Value, error) {
	var items []jinja.Value
	for dec.More() {
		v, err := orderedValue(dec, depth+1)
		if err != nil {
			return v, err
		}
		items = append(items, v)
	}
	_, err := dec.Token()
	return jinja.NewList(items), err
}

func orderedDict(dec *json.Decoder, depth int) (jinja.Value, error) {
	d := newDict()
	for dec.More() {
		key, err := dec.Token()
		if err != nil {
			return d.Value, err
		}
		name, ok := key.(string)
		if !ok {
			return d.Value, fmt.Errorf("key %v is not a string", key)
		}
		v, err := orderedValue(dec, depth+1)
		if err != nil {
			return v, err
		}
		d.set(name, v)
	}
	_, err := dec.Token()
	return d.Value, err
}
