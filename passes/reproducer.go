package passes

import (
	"fmt"
	"os"
	"path/filepath"
)

// Reproducer writes, when a pass panics, a file into dir that holds the text of
// the module before the pass and the command that runs the pass again on it.
func Reproducer(dir string) Observer {
	return Observer{Failed: func(e *Event, before string, cause any) error {
		if err := os.MkdirAll(dir, 0o755); err != nil {
			return err
		}
		path := filepath.Join(dir, "crash-"+e.Pass.Name+".ir")
		head := fmt.Sprintf("// quire opt --passes %s %s\n// panic: %v\n", e.Pass.Name, path, cause)
		return os.WriteFile(path, []byte(head+before), 0o644)
	}}
}
