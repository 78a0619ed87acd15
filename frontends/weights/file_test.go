package weights_test

import (
	"bytes"
	"errors"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"quire/frontends/weights"
)

// big writes a GGUF with one tensor of many pages.
func big(t *testing.T) string {
	t.Helper()
	var b bytes.Buffer
	err := weights.WriteGGUF(&b, nil, []weights.TensorData{{Name: "w", Enc: "f32", Shape: []int64{64, 1024}, Data: bytes.Repeat([]byte{1, 2, 3, 4}, 64*1024)}})
	if err != nil {
		t.Fatal(err)
	}
	return write(t, "m.gguf", b.Bytes())
}

// TestTruncatedWhileOpen: S20. Another process cuts the file: Check and ReadAt say so, SHA256 too, and nothing dies.
func TestTruncatedWhileOpen(t *testing.T) {
	path := big(t)
	s := open(t, path)
	w := s.Tensor("w")
	p := make([]byte, 4096)
	if n, err := w.ReadAt(p, 200_000); err != nil || n != 4096 || !bytes.Equal(p[:4], []byte{1, 2, 3, 4}) {
		t.Fatalf("%d bytes % x, %v", n, p[:4], err)
	}
	if err := s.Check(); err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 8192); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Check(), "m.gguf: 8192 bytes, expected the 262")
	_, err := w.ReadAt(p, 200_000)
	wantError(t, err, `m.gguf: tensor "w": bytes `, "cannot be read")
	_, err = s.Files[0].SHA256()
	wantError(t, err, "m.gguf: 8192 bytes")
	if _, err := w.ReadAt(p[:16], 0); err != nil {
		t.Errorf("the part that is left: %v", err)
	}
}

func TestNoMmapOutlivesTruncation(t *testing.T) {
	path := big(t)
	s, err := weights.OpenWith(path, weights.Options{NoMmap: true})
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Truncate(path, 0); err != nil {
		t.Fatal(err)
	}
	if d := s.Tensor("w").Data(); !bytes.Equal(d[len(d)-4:], []byte{1, 2, 3, 4}) {
		t.Errorf("ends in % x", d[len(d)-4:])
	}
	wantError(t, s.Check(), "0 bytes, expected the")
	if err := s.Close(); err != nil {
		t.Error(err)
	}
}

func TestCheckSeesRewrite(t *testing.T) {
	path := big(t)
	s := open(t, path)
	if err := os.Chtimes(path, time.Time{}, time.Now().Add(time.Hour)); err != nil {
		t.Fatal(err)
	}
	wantError(t, s.Check(), "written at")
}

func TestRejectWhileLocked(t *testing.T) {
	path := big(t)
	f, err := os.OpenFile(path, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer f.Close()
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_EX); err != nil {
		t.Skipf("this disk has no locks (%v)", err)
	}
	reject(t, path, "locked by a process that writes it")
	if err := syscall.Flock(int(f.Fd()), syscall.LOCK_UN); err != nil {
		t.Fatal(err)
	}
	open(t, path)
	open(t, path) // shared
}

func TestRejectPipe(t *testing.T) {
	path := write(t, "x", nil) + ".gguf"
	if err := syscall.Mkfifo(path, 0o600); err != nil {
		t.Skipf("this disk has no pipes (%v)", err)
	}
	reject(t, path, "expected a regular file")
}

func TestReadAtBounds(t *testing.T) {
	w := open(t, big(t)).Tensor("w")
	for _, c := range []struct{ n, off int64 }{{1, -1}, {1, w.Bytes}, {2, w.Bytes - 1}, {0, w.Bytes + 1}, {1, 1<<63 - 1}} {
		_, err := w.ReadAt(make([]byte, c.n), c.off)
		wantError(t, err, `tensor "w"`, "within the tensor")
	}
	if n, err := w.ReadAt(nil, w.Bytes); n != 0 || err != nil {
		t.Errorf("%d, %v", n, err)
	}
}

func TestCloseTwiceAndHashTogether(t *testing.T) {
	s, err := weights.Open(big(t))
	if err != nil {
		t.Fatal(err)
	}
	sums := make([]string, 8)
	var g sync.WaitGroup
	for i := range sums {
		g.Go(func() { sums[i], _ = s.Files[0].SHA256() })
	}
	g.Wait()
	for _, x := range sums {
		if len(x) != 64 || x != sums[0] {
			t.Errorf("%q, expected %q", x, sums[0])
		}
	}
	if err := errors.Join(s.Close(), s.Close()); err != nil {
		t.Error(err)
	}
}

func wantError(t *testing.T, err error, want ...string) {
	t.Helper()
	var typed *weights.Error
	if !errors.As(err, &typed) {
		t.Fatalf("%v, expected a *weights.Error", err)
	}
	for _, w := range want {
		if !strings.Contains(err.Error(), w) {
			t.Errorf("error %q, expected %q in it", err, w)
		}
	}
}
