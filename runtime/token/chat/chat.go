package chat

import (
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"strings"
	"time"

	"github.com/ardanlabs/jinja"
)

// Limits of templates and of what they render.
const (
	MaxTemplate = 256 << 10 // bytes of a template
	MaxOutput   = 8 << 20   // bytes beyond the content of the messages that a rendering may have
)

// Options are the model's facts that a template may name.
type Options struct {
	BOS, EOS, PAD, UNK string // texts of the special tokens, "" where there is none
}

// Template is a compiled chat template, safe for concurrent use.
type Template struct {
	name string
	text string
	opt  Options
	jt   *jinja.Template
}

// UntrustedError says that a template is not on the built-in list.
type UntrustedError struct {
	SHA256 string // of the normalised text
	Family string // the built-in template that fits it best, by the markers in it
}

func (e *UntrustedError) Error() string {
	return fmt.Sprintf("chat template: sha256 %.16s is not on the built-in list, expected a known template: "+
		"use the built-in template %q, or vouch for this one", e.SHA256, e.Family)
}

// RaisedError is the template's own refusal of its input (raise_exception).
type RaisedError struct{ Message string }

func (e *RaisedError) Error() string { return "chat template: refused: " + e.Message }

// LimitError says that a rendering asked for more than a limit of this package.
type LimitError struct{ What string }

func (e *LimitError) Error() string { return "chat template: " + e.What }

func overLimit(format string, args ...any) (jinja.Value, error) {
	return jinja.Undefined(), &LimitError{fmt.Sprintf(format, args...)}
}

// Normalize is the text that is hashed and compiled: line feeds alone end lines, and one at the end is dropped, as
// Jinja does.
func Normalize(text string) string {
	return strings.TrimSuffix(newlines.Replace(text), "\n")
}

var newlines = strings.NewReplacer("\r\n", "\n", "\r", "\n")

// SHA256 identifies a template, in hexadecimal.
func SHA256(text string) string {
	sum := sha256.Sum256([]byte(Normalize(text)))
	return hex.EncodeToString(sum[:])
}

// Known says whether a template is on the built-in list, and under which name.
func Known(text string) (name string, ok bool) {
	if len(text) > MaxTemplate {
		return "", false
	}
	name, ok = known[SHA256(text)]
	return name, ok
}

// New compiles a template of the built-in list. Any other one is an *UntrustedError.
func New(text string, o Options) (*Template, error) {
	name, ok := Known(text)
	if !ok {
		e := &UntrustedError{Family: Family(text)}
		if len(text) <= MaxTemplate {
			e.SHA256 = SHA256(text)
		}
		return nil, e
	}
	return compile(name, text, o, true)
}

// Trusted compiles a template that the caller vouches for: it may loop without end or take all memory when it renders.
func Trusted(text string, o Options) (*Template, error) {
	if name, ok := Known(text); ok {
		return compile(name, text, o, true)
	}
	return compile("trusted", text, o, false)
}

// compile checks and compiles; known templates may call macros recursively, as far as their input nests.
func compile(name, text string, o Options, known bool) (t *Template, err error) {
	parts, err := check(text, known)
	if err != nil {
		return nil, err
	}
	defer recovered("compiling", &err)
	jt, err := jinja.Compile(rewrite(parts))
	if err != nil {
		return nil, fmt.Errorf("chat template: %w", err)
	}
	return &Template{name: name, text: Normalize(text), opt: o, jt: jt}, nil
}

// recovered turns a panic of the engine into an error.
func recovered(doing string, err *error) {
	if p := recover(); p != nil {
		*err = fmt.Errorf("chat template: %s: the engine stopped: %v", doing, p)
	}
}

// Name is the template's name on the built-in list, "trusted" or "admitted".
func (t *Template) Name() string { return t.name }

// Text is the template itself, normalised.
func (t *Template) Text() string { return t.text }

// Render gives the text of a conversation. Encode it with token.EncodeOptions{BOS: token.AddNever, Special: true}:
// the template has written the special tokens, the begin token among them where the model wants one.
func (t *Template) Render(in Input) (out string, err error) {
	defer recovered("rendering", &err)
	vals, err := in.values()
	if err != nil {
		return "", fmt.Errorf("chat template: %w", err)
	}
	limit := MaxOutput + in.size()
	t.globals(vals, in.Now, limit)
	out, err = t.jt.RenderValues(vals)
	if err != nil {
		if raised := (*RaisedError)(nil); errors.As(err, &raised) {
			return "", raised
		}
		if limit := (*LimitError)(nil); errors.As(err, &limit) {
			return "", limit
		}
		return "", fmt.Errorf("chat template: %w", err)
	}
	if len(out) > limit {
		return "", &LimitError{fmt.Sprintf("rendered %d bytes, expected at most %d", len(out), limit)}
	}
	return out, nil
}

// size is how much text the input brings along; templates seldom print it twice.
func (in *Input) size() int {
	n := 0
	for _, m := range in.Messages {
		n += len(m.Content) + len(m.Reasoning)
		for _, p := range m.Parts {
			n += len(p.Text)
		}
	}
	return 2 * n
}

func (t *Template) globals(vals map[string]jinja.Value, now time.Time, limit int) {
	if now.IsZero() {
		now = time.Now()
	}
	for key, text := range map[string]string{"bos_token": t.opt.BOS, "eos_token": t.opt.EOS, "pad_token": t.opt.PAD, "unk_token": t.opt.UNK} {
		if _, given := vals[key]; !given && (text != "" || key == "bos_token" || key == "eos_token") {
			vals[key] = jinja.NewString(text)
		}
	}
	m := &meter{start: time.Now(), maxPrint: limit}
	vals[jsonFilter] = jinja.NewCallable(jsonFilter, toJSON)
	for name, fn := range map[string]func([]jinja.Value) (jinja.Value, error){
		"range":           m.span,
		"raise_exception": raise,
		"strftime_now":    func(args []jinja.Value) (jinja.Value, error) { return clock(now, args) },
		stepFunc:          m.step,
		enterFunc:         m.enter,
		leaveFunc:         m.leave,
		printFunc:         m.print,
		keepFunc:          m.keep,
	} {
		vals[name] = jinja.NewCallable(name, func(args []jinja.Value, _ map[string]jinja.Value) (jinja.Value, error) { return fn(args) })
	}
}

func raise(args []jinja.Value) (jinja.Value, error) {
	e := &RaisedError{}
	if len(args) > 0 && args[0].IsString() {
		e.Message = args[0].AsString()
	} else if len(args) > 0 {
		e.Message = args[0].String()
	}
	return jinja.Undefined(), e
}
