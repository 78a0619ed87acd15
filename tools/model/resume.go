package model

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strconv"

	"quire/ir"
	"quire/passes"
)

// dumped is the name that passes.Dump gives a file: the number of passes that ran, and the last of them.
var dumped = regexp.MustCompile(`^(\d+)-(.+)\.ir$`)

// Resume reads a dump and gives the passes of list that still have to run on it: those after the pass that the file's
// name carries, or, for a file of another name, those after the last point of list whose properties the module has.
func Resume(path string, list passes.Pipeline) (*ir.Module, passes.Pipeline, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, nil, err
	}
	m, err := ir.Parse(path, string(text))
	if err != nil {
		return nil, nil, err
	}
	if err := ir.Verify(m); err != nil {
		return nil, nil, fmt.Errorf("%s: %w", path, err)
	}
	done := reached(list, m)
	if name := dumped.FindStringSubmatch(filepath.Base(path)); name != nil {
		n, err := strconv.Atoi(name[1])
		if err != nil || n > len(list) || n > 0 && list[n-1].Name != name[2] || n == 0 && name[2] != "start" {
			return nil, nil, fmt.Errorf("%s: pass %s is not number %s of this pipeline, expected a dump of it", path, name[2], name[1])
		}
		done = n
	}
	return m, list[done:], nil
}

// reached is the largest number of passes whose properties m has.
func reached(list passes.Pipeline, m *ir.Module) int {
	var have []string
	best := 0
	for i, p := range list {
		have = slices.DeleteFunc(have, func(s string) bool { return slices.Contains(p.Clears, s) })
		have = append(have, p.Sets...)
		if !slices.ContainsFunc(have, func(s string) bool { return !m.Has(s) }) {
			best = i + 1
		}
	}
	return best
}
