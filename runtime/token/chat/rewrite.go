package chat

import (
	"regexp"
	"strings"
)

// Names under which a rewritten template finds what we put into it. jsonFilter replaces the engine's tojson, which
// sorts keys and escapes < > & where an indent is asked for; a template cannot replace an engine's filter by name.
const (
	jsonFilter = "quire_tojson"
	stepFunc   = "quire_step"
	enterFunc  = "quire_enter"
	leaveFunc  = "quire_leave"
	printFunc  = "quire_print"
	keepFunc   = "quire_keep"
)

// Every printed value goes through printFunc, every assigned one through keepFunc: that bounds what a rendering holds,
// and None prints as Python prints it.
//
// after and before are what a statement gets behind and in front of it, so that loops and calls are counted.
var (
	after = map[string]string{
		"for":   "{{" + stepFunc + "()}}",
		"macro": "{{" + enterFunc + "()}}",
		"call":  "{{" + enterFunc + "()}}",
	}
	before = map[string]string{
		"endmacro": "{{" + leaveFunc + "()}}",
		"endcall":  "{{" + leaveFunc + "()}}",
	}
)

// rewrite spells parts for the engine: text as expressions that print it, tags without signs, counters in place.
func rewrite(parts []part) string {
	var b strings.Builder
	for i := range parts {
		p := &parts[i]
		switch p.kind {
		case 0:
			b.WriteString(`{{"`)
			b.WriteString(escape.Replace(p.text))
			b.WriteString(`"}}`)
		case '{':
			b.WriteString("{{ " + printFunc + "(")
			b.WriteString(recode(p.text))
			b.WriteString(") }}")
		default:
			b.WriteString(before[p.word()])
			b.WriteString("{% ")
			b.WriteString(assignment.ReplaceAllString(recode(p.text), "${1}"+keepFunc+"(${2})"))
			b.WriteString(" %}")
			b.WriteString(after[p.word()])
		}
	}
	return b.String()
}

var assignment = regexp.MustCompile(`(?s)^(set\s+[\w.]+\s*=\s*)([^=\s].*)$`)

var escape = strings.NewReplacer(`\`, `\\`, `"`, `\"`)

var jsonUse = regexp.MustCompile(`\|(\s*)tojson\b`)

// recode spells the code of a tag outside its strings: our tojson, and no two closing brackets that the engine would
// take for the end of the tag.
func recode(code string) string {
	var b strings.Builder
	for code != "" {
		i := strings.IndexAny(code, `'"`)
		if i < 0 {
			i = len(code)
		}
		plain := jsonUse.ReplaceAllString(code[:i], "|${1}"+jsonFilter)
		for strings.Contains(plain, "}}") || strings.Contains(plain, "%}") {
			plain = strings.NewReplacer("}}", "} }", "%}", "% }").Replace(plain)
		}
		b.WriteString(plain)
		if i == len(code) {
			break
		}
		end := stringEnd(code, i) + 1
		if end <= 0 {
			end = len(code)
		}
		b.WriteString(code[i:end])
		code = code[end:]
	}
	return b.String()
}

// uncoded is a tag's code with its strings emptied.
func uncoded(code string) string {
	var b strings.Builder
	for code != "" {
		i := strings.IndexAny(code, `'"`)
		if i < 0 {
			i = len(code)
		}
		b.WriteString(code[:i])
		if i == len(code) {
			break
		}
		b.WriteString(`""`)
		end := stringEnd(code, i) + 1
		if end <= 0 {
			break
		}
		code = code[end:]
	}
	return b.String()
}
