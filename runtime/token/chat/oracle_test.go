package chat_test

import (
	"bytes"
	"encoding/json"
	"errors"
	"os"
	"os/exec"
	"testing"

	"quire/runtime/token/chat"
)

// answer is what the oracle rendered: a string, false or nil.
type answer struct{ any }

func (a *answer) UnmarshalJSON(b []byte) error { return json.Unmarshal(b, &a.any) }

func (a answer) digest() string {
	switch v := a.any.(type) {
	case string:
		return digest(v)
	case bool:
		return refused
	}
	return failed
}

// fits says whether a rendering is what the oracle's digest asks for.
func fits(want, text string, err error) bool {
	if want == refused {
		var raised *chat.RaisedError
		return errors.As(err, &raised)
	}
	return want == failed || err == nil && digest(text) == want
}

// render asks the oracle for a template's text of every input.
func render(t *testing.T, template string) []answer {
	t.Helper()
	raws, _ := inputs(t)
	var jobs []job
	for _, raw := range raws {
		jobs = append(jobs, job{template, markers.BOS, markers.EOS, raw})
	}
	return ask(t, jobs)
}

// renderAll asks the oracle for every template's text of no messages at all.
func renderAll(t *testing.T, templates []string) []answer {
	t.Helper()
	var jobs []job
	for _, text := range templates {
		jobs = append(jobs, job{text, markers.BOS, markers.EOS, json.RawMessage(`{"messages":[]}`)})
	}
	return ask(t, jobs)
}

type job struct {
	Template string          `json:"template"`
	BOS      string          `json:"bos_token"`
	EOS      string          `json:"eos_token"`
	Input    json.RawMessage `json:"input"`
}

func ask(t *testing.T, jobs []job) []answer {
	t.Helper()
	in, err := json.Marshal(jobs)
	if err != nil {
		t.Fatal(err)
	}
	cmd := exec.Command(*jinjaOracle, "../../../tests/fetch/oracle/jinja.py")
	cmd.Stdin, cmd.Stderr = bytes.NewReader(in), os.Stderr
	text, err := cmd.Output()
	if err != nil {
		t.Fatal(err)
	}
	var out []answer
	if err := json.Unmarshal(text, &out); err != nil {
		t.Fatal(err)
	}
	return out
}
