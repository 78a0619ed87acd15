package llc

import (
	"context"
	"fmt"
	"runtime"
	"strings"

	"golang.org/x/sync/errgroup"

	"quire/ir/target"
)

// Module compiles modules, each by itself and in parallel, and joins their PTX to the
// text of one module. Names say which text an error is about; no two may define the same
// symbol.
func (t Tools) Module(ctx context.Context, tgt target.Target, names, texts []string) (string, error) {
	parts := make([]string, len(texts))
	g, group := errgroup.WithContext(ctx)
	g.SetLimit(runtime.GOMAXPROCS(0))
	for i := range texts {
		g.Go(func() (err error) {
			parts[i], err = t.PTX(group, tgt, names[i], texts[i])
			return err
		})
	}
	if err := g.Wait(); err != nil {
		return "", err
	}
	return merge(names, parts)
}

// merge joins modules of one target: the directives that begin a module (PTX ISA, section
// 5.1: version, target, address_size) once, and an external symbol, which is the same
// memory for all, declared once.
func merge(names, parts []string) (string, error) {
	var out strings.Builder
	head := ""
	once := map[string]bool{}
	for i, part := range parts {
		h, body, err := cutHead(part)
		if err != nil {
			return "", fmt.Errorf("llc: %s: %w", names[i], err)
		}
		if i == 0 {
			head = h
			out.WriteString(head)
		}
		if h != head {
			return "", fmt.Errorf("llc: %s: a module that begins with %q, expected %q", names[i], h, head)
		}
		for line := range strings.Lines(body) {
			if strings.HasPrefix(line, "//") {
				continue
			}
			if strings.HasPrefix(line, ".extern ") {
				if once[line] {
					continue
				}
				once[line] = true
			}
			out.WriteString(line)
		}
	}
	return out.String(), nil
}

// cutHead splits a module after its directives.
func cutHead(ptx string) (head, body string, err error) {
	want := []string{".version ", ".target ", ".address_size "}
	rest := ptx
	for len(want) > 0 {
		line, after, ok := strings.Cut(rest, "\n")
		if !ok {
			return "", "", fmt.Errorf("PTX without %s", strings.TrimSpace(want[0]))
		}
		rest = after
		switch {
		case strings.HasPrefix(line, want[0]):
			head += line + "\n"
			want = want[1:]
		case strings.TrimSpace(line) != "" && !strings.HasPrefix(line, "//"):
			return "", "", fmt.Errorf("PTX begins with %q, expected %s", line, strings.TrimSpace(want[0]))
		}
	}
	return head, rest, nil
}
