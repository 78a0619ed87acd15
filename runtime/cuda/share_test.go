package cuda_test

import (
	"strings"
	"testing"

	"quire/runtime/cuda"
	"quire/runtime/cuda/driver"
	"quire/runtime/cuda/driver/fake"
)

// A model in another's context and on another's stream leaves both as they were.
func TestSharedContext(t *testing.T) {
	d := &fake.Driver{Kernels: toyKernels}
	owner, err := driver.New(d, 0)
	if err != nil {
		t.Fatal(err)
	}
	leave, err := owner.Enter()
	if err != nil {
		t.Fatal(err)
	}
	defer leave()
	stream, err := owner.NewStream()
	if err != nil {
		t.Fatal(err)
	}
	for _, s := range []driver.Stream{stream, 0} {
		o := options(d)
		o.Context, o.Stream = 1, uintptr(s)
		m, err := cuda.Load(t.Context(), toy(t), o)
		if err != nil {
			t.Fatal(err)
		}
		if err := chat(t, m); err != nil {
			t.Error(err)
		}
		if err := m.Close(); err != nil {
			t.Error(err)
		}
		if dev, host, objects, contexts := d.Ledger(); dev != 0 || host != 0 || objects != 1 || contexts != 1 {
			t.Errorf("after Close the driver holds %d bytes, %d pinned, %d objects, %d contexts: want the owner's stream and context", dev, host, objects, contexts)
		}
	}
	o := options(d)
	o.Stream = uintptr(stream)
	if _, err := cuda.Load(t.Context(), toy(t), o); err == nil || !strings.Contains(err.Error(), "a stream without its context") {
		t.Errorf("a stream alone: %v", err)
	}
	if err := owner.CloseStream(stream); err != nil {
		t.Error(err)
	}
	if err := owner.Close(); err != nil {
		t.Error(err)
	}
	empty(t, d)
}
