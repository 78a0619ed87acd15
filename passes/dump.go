package passes

import (
	"fmt"
	"os"
	"path/filepath"

	"quire/ir"
)

// Dump writes the text of the module into dir: 00-start.ir, then NN-PASS.ir after
// each pass; with onlyChanged, only after passes that changed it. Each file can
// be read back with Parse, and a pipeline resumed from it.
func Dump(dir string, onlyChanged bool) Observer {
	last := ""
	write := func(name, text string) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		return os.WriteFile(filepath.Join(dir, name), []byte(text), 0o644)
	}
	return Observer{
		Before: func(e *Event) error {
			if e.Index > 0 {
				return nil
			}
			last = ir.Print(e.Module)
			return write("00-start.ir", last)
		},
		After: func(e *Event) error {
			text := ir.Print(e.Module)
			same := text == last
			last = text
			if same && onlyChanged {
				return nil
			}
			return write(fmt.Sprintf("%02d-%s.ir", e.Index+1, e.Pass.Name), text)
		},
	}
}
