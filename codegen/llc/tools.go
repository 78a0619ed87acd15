package llc

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"sort"
	"strings"
)

// Version is the LLVM release whose text, flags and instruction selection are known.
const Version = "19"

// Install is the command that brings the tools on Debian.
const Install = "apt-get install llvm-19 lld-19"

// ErrMissing is wrapped by Find's errors.
var ErrMissing = errors.New("LLVM tools are missing")

// Tools are the programs, by path, and the cache that their output goes to.
type Tools struct {
	Opt, Llc, Lld string
	Release       string // as they print it: "19.1.7"
	Cache         Cache
}

var release = regexp.MustCompile(`(?:LLVM version|LLD) (\d+)(\.\d+\.\d+)`)

// Find looks the tools up: QUIRE_LLVM (a folder) first, then PATH, then the folders
// where distributions put them; with a version suffix or without.
func Find(ctx context.Context) (Tools, error) {
	var t Tools
	for _, p := range []struct {
		name string
		path *string
	}{{"opt", &t.Opt}, {"llc", &t.Llc}, {"ld.lld", &t.Lld}} {
		path, rel, err := find(ctx, p.name)
		if err != nil {
			return Tools{}, err
		}
		*p.path = path
		if t.Release == "" {
			t.Release = rel
		}
	}
	dir := os.Getenv("QUIRE_CACHE_DIR")
	if dir == "" {
		user, err := os.UserCacheDir()
		if err != nil {
			return Tools{}, fmt.Errorf("llc: cache folder: %w", err)
		}
		dir = filepath.Join(user, "quire")
	}
	t.Cache = Cache{Dir: filepath.Join(dir, "llc")}
	return t, nil
}

func find(ctx context.Context, name string) (path, rel string, err error) {
	var seen []string
	for _, p := range candidates(name) {
		out, err := exec.CommandContext(ctx, p, "--version").Output()
		if err != nil {
			continue
		}
		m := release.FindStringSubmatch(string(out))
		if m != nil && m[1] == Version {
			return p, m[1] + m[2], nil
		}
		if m != nil {
			seen = append(seen, p+" is "+m[1]+m[2])
		}
	}
	sort.Strings(seen)
	what := "none found"
	if len(seen) > 0 {
		what = strings.Join(seen, ", ")
	}
	return "", "", fmt.Errorf("%w: %s: %s, expected version %s: %s", ErrMissing, name, what, Version, Install)
}

func candidates(name string) []string {
	var out []string
	if dir := os.Getenv("QUIRE_LLVM"); dir != "" {
		out = append(out, filepath.Join(dir, name))
	}
	for _, n := range []string{name + "-" + Version, name} {
		if p, err := exec.LookPath(n); err == nil {
			out = append(out, p)
		}
	}
	return append(out,
		"/usr/lib/llvm-"+Version+"/bin/"+name,
		"/opt/homebrew/opt/llvm@"+Version+"/bin/"+name)
}
