package llc

import (
	"crypto/sha256"
	"encoding/hex"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"quire/ir/target"
)

// Cache is a folder of outputs by content key. The zero Cache keeps nothing.
type Cache struct{ Dir string }

// key hashes all that an output depends on.
func (t Tools) key(kind string, tgt target.Target, texts ...string) string {
	h := sha256.New()
	fmt.Fprintf(h, "%s\n%s\n%s\n%s\n%s\n", kind, t.Release, tgt.Name,
		strings.Join(optFlags(tgt), " "), strings.Join(llcFlags(tgt), " "))
	for _, s := range texts {
		fmt.Fprintf(h, "%d\n%s", len(s), s)
	}
	return hex.EncodeToString(h.Sum(nil)) + "." + kind
}

// get returns the cached bytes, or makes and keeps them. An unwritable folder costs the
// caching, not the result; a file whose own hash is wrong is made again.
func (c Cache) get(key string, build func() ([]byte, error)) ([]byte, error) {
	if c.Dir == "" {
		return build()
	}
	path := filepath.Join(c.Dir, key)
	if b, err := os.ReadFile(path); err == nil && len(b) > sha256.Size {
		sum := sha256.Sum256(b[sha256.Size:])
		if string(sum[:]) == string(b[:sha256.Size]) {
			return b[sha256.Size:], nil
		}
	}
	b, err := build()
	if err != nil {
		return nil, err
	}
	c.put(path, b)
	return b, nil
}

func (c Cache) put(path string, b []byte) {
	if os.MkdirAll(c.Dir, 0o755) != nil {
		return
	}
	f, err := os.CreateTemp(c.Dir, "new-")
	if err != nil {
		return
	}
	sum := sha256.Sum256(b)
	_, err1 := f.Write(sum[:])
	_, err2 := f.Write(b)
	err3 := f.Close()
	if err1 != nil || err2 != nil || err3 != nil || os.Rename(f.Name(), path) != nil {
		os.Remove(f.Name())
	}
}
