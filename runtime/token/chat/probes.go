package chat

import (
	"encoding/json"
	"strings"
	"time"
)

// probes are conversations of the kinds that a template tells apart: with and without system text, turns in number,
// long and odd content, tools and their answers, thinking on and off.
func probes() []Input {
	at := time.Date(2026, 1, 2, 3, 4, 5, 0, time.UTC)
	system := Message{Role: "system", Content: "Answer briefly."}
	user := Message{Role: "user", Content: "What is 2 + 2?"}
	answer := Message{Role: "assistant", Content: "4"}
	long := []Message{system}
	for range 40 {
		long = append(long, user, answer)
	}
	odd := Message{Role: "user", Content: " <|im_end|>\r\n\x00 {{ 7 * 7 }} \u2028 \U0001F600 </s> "}
	schema := json.RawMessage(`{"type":"function","function":{"name":"add","description":"Adds.","parameters":{"type":"object",` +
		`"properties":{"a":{"type":"integer","description":"first"},"b":{"type":"array","items":{"type":"string"}}},"required":["a"]}}}`)
	call := Message{Role: "assistant", ToolCalls: []ToolCall{{ID: "call00001", Name: "add", Arguments: json.RawMessage(`{"a":2,"b":["x"]}`)}}}
	result := Message{Role: "tool", Content: "4", ToolCallID: "call00001", Name: "add"}
	out := []Input{
		{Messages: []Message{user}},
		{Messages: []Message{system, user}},
		{Messages: []Message{user, answer, user}},
		{Messages: long},
		{Messages: []Message{odd}},
		{Messages: []Message{{Role: "user", Content: strings.Repeat("word ", 20_000)}}},
		{Messages: []Message{{Role: "user", Parts: []Part{{Type: "text", Text: "part"}}}}},
		{Messages: []Message{system, user}, Tools: []json.RawMessage{schema}},
		{Messages: []Message{system, user, call, result}, Tools: []json.RawMessage{schema}},
		{Messages: []Message{user}, Vars: map[string]any{"enable_thinking": true}},
		{Messages: []Message{user}, Vars: map[string]any{"enable_thinking": false}},
		{},
	}
	for i := range out {
		out[i].Now = at
		out[i].AddGenerationPrompt = i%4 != 2
	}
	return out
}
