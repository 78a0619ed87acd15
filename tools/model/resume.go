package model

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
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

// reached is how many passes have surely run on m: those up to the last one that brought a property which m has.
// Passes after it that bring none run again, which changes nothing where they ran before.
func reached(list passes.Pipeline, m *ir.Module) int {
	have := map[passes.Prop]bool{}
	best := 0
	for i, p := range list {
		news := false
		for _, c := range p.Clears {
			delete(have, c)
		}
		for _, s := range p.Sets {
			news = news || !have[s]
			have[s] = true
		}
		held := true
		for s := range have {
			held = held && m.Has(s)
		}
		if news && held {
			best = i + 1
		}
	}
	return best
}
