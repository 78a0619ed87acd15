package chat

import (
	"fmt"
	"regexp"
	"strings"
)

// Bounds on how templates nest: the engine parses and runs them by recursion.
const (
	maxBrackets  = 64
	maxBlocks    = 64
	maxNegations = 512 // in one tag
)

// check refuses what must not even be compiled, and gives the parts of what may.
func check(text string, mayRecurse bool) ([]part, error) {
	if len(text) > MaxTemplate {
		return nil, fmt.Errorf("chat template: %d bytes, expected at most %d", len(text), MaxTemplate)
	}
	if strings.Contains(text, "quire_") {
		return nil, fmt.Errorf("chat template: it uses a name that starts with quire_, which is ours")
	}
	parts, err := lex(Normalize(text))
	if err != nil {
		return nil, err
	}
	if err := checkNesting(parts); err != nil {
		return nil, err
	}
	if mayRecurse {
		return parts, nil
	}
	return parts, checkMacros(parts)
}

func checkNesting(parts []part) error {
	blocks := 0
	for i := range parts {
		p := &parts[i]
		if n := strings.Count(p.text, "not "); p.kind != 0 && n > maxNegations {
			return fmt.Errorf("chat template: line %d: %d negations in one tag", p.line, n)
		}
		switch p.word() {
		case "if", "for", "macro", "call", "filter", "generation":
			if blocks++; blocks > maxBlocks {
				return fmt.Errorf("chat template: line %d: blocks nest deeper than %d", p.line, maxBlocks)
			}
		case "endif", "endfor", "endmacro", "endcall", "endfilter", "endgeneration":
			blocks--
		}
	}
	return nil
}

var identifier = regexp.MustCompile(`\.?\s*[A-Za-z_][A-Za-z0-9_]*`)

// names gives the names that a tag uses: not attributes, which stand behind a dot.
func (p *part) names() []string {
	var out []string
	for _, id := range identifier.FindAllString(uncoded(p.text), -1) {
		if id[0] != '.' {
			out = append(out, strings.TrimSpace(id))
		}
	}
	return out
}

// macro is a macro's line and the names in its body.
type macro struct {
	line int
	uses []string
}

// checkMacros refuses macros that call themselves, also through each other. (What it cannot see, a macro that is
// handed around as a value, runs into the limit on nested calls.)
func checkMacros(parts []part) error {
	macros := map[string]*macro{}
	var open []*macro
	var order []string
	for i := range parts {
		p := &parts[i]
		if p.kind == 0 {
			continue
		}
		names := p.names()
		switch word := p.word(); {
		case word == "macro" && len(names) > 1:
			m := macros[names[1]]
			if m == nil {
				m = &macro{line: p.line}
				macros[names[1]] = m
				order = append(order, names[1])
			}
			open = append(open, m)
			names = names[2:]
		case word == "endmacro" && len(open) > 0:
			open = open[:len(open)-1]
		}
		for _, m := range open {
			m.uses = append(m.uses, names...)
		}
	}
	state := map[string]int{} // 1 while its uses are walked, 2 after
	var walk func(name string) error
	walk = func(name string) error {
		m := macros[name]
		if m == nil || state[name] == 2 {
			return nil
		}
		if state[name] == 1 {
			return fmt.Errorf("chat template: line %d: macro %q calls itself", m.line, name)
		}
		state[name] = 1
		for _, use := range m.uses {
			if err := walk(use); err != nil {
				return err
			}
		}
		state[name] = 2
		return nil
	}
	for _, name := range order {
		if err := walk(name); err != nil {
			return err
		}
	}
	return nil
}
