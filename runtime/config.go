package runtime

import (
	"fmt"
	"strconv"
	"strings"
)

// Device is a kind of machine that runs Programs.
type Device string

// CPU is this machine's processors, CUDA its first NVIDIA GPU ("cuda:1" is the second). Auto
// is the first GPU where there is one, else the CPU.
const (
	CPU  Device = "cpu"
	CUDA Device = "cuda"
	Auto Device = "auto"
)

// ordinal is the number of a GPU; false for another kind of device.
func (d Device) ordinal() (int, bool) {
	rest, ok := strings.CutPrefix(string(d), string(CUDA))
	if !ok || rest == "" {
		return 0, ok
	}
	n, err := strconv.Atoi(strings.TrimPrefix(rest, ":"))
	return n, err == nil && n >= 0 && rest[0] == ':'
}

// Config says how Programs run. Values are immutable: each With method returns another.
type Config struct {
	device   Device
	threads  int
	context  int
	sessions int
	chunk    int
	cache    int64
	profile  bool
	verify   bool
	mapped   bool
	codeDir  string
	lent     lent
	progress func(Progress)
}

// Progress reports how far loading is.
type Progress struct {
	Stage       string // "weights"
	Done, Total int64  // bytes
}

// NewConfig returns the defaults: the CPU, as many threads as processors, the Program's
// own context length, up to 64 sequences in a step, prompts fed 512 tokens at a time (2048
// on a GPU).
func NewConfig() Config { return Config{device: CPU, sessions: 64} }

// WithDevice chooses the kind of device.
func (c Config) WithDevice(d Device) Config { c.device = d; return c }

// WithThreads sets how many threads compute; 0 means one a processor.
func (c Config) WithThreads(n int) Config { c.threads = n; return c }

// WithContext limits the tokens of a session; 0 means the Program's own limit.
func (c Config) WithContext(n int) Config { c.context = n; return c }

// WithMaxSessions sets how many sequences a step serves at most. More sessions may be
// open; the cache must hold their tokens.
func (c Config) WithMaxSessions(n int) Config { c.sessions = n; return c }

// WithChunk sets how many tokens of prompts a step takes at most; 0 means the device's own.
func (c Config) WithChunk(n int) Config { c.chunk = n; return c }

// WithCacheBytes limits the memory of KV pages; 0 means half of the machine's, or what weights
// and steps leave of a GPU's. A CPU's pages take memory when they are first used.
func (c Config) WithCacheBytes(n int64) Config { c.cache = n; return c }

// WithProfile times every launch, for Program.Profile.
func (c Config) WithProfile(on bool) Config { c.profile = on; return c }

// WithVerify compares the digests of weight files with the Program's manifest, which reads
// them once more.
func (c Config) WithVerify(on bool) Config { c.verify = on; return c }

// WithMappedWeights reads the weights that a Program's file holds where the file is mapped,
// instead of copying them: processes share the memory and a start is faster, but steps
// are slower (files have small pages), and a file that shrinks ends the process.
func (c Config) WithMappedWeights(on bool) Config { c.mapped = on; return c }

// WithCodeDir keeps the machine code that a GPU's driver makes of a Program's PTX in a folder, by content:
// a later start need not make it again. "" keeps none.
func (c Config) WithCodeDir(dir string) Config { c.codeDir = dir; return c }

// WithCUDAContext runs a GPU's Programs in a CUcontext of that GPU, and on a CUstream of it where
// that is not 0, which somebody else made: they must outlive the Runtime. Package
// quire/runtime/cuda/gorgonia takes them from gorgonia.org/cu.
func (c Config) WithCUDAContext(context, stream uintptr) Config {
	c.lent = lent{context, stream}
	return c
}

// lent are handles of the driver that somebody else keeps.
type lent struct{ context, stream uintptr }

// WithProgress is told while weights are laid out, from several goroutines.
func (c Config) WithProgress(f func(Progress)) Config { c.progress = f; return c }

// Valid says whether it is spelled as a device is.
func (d Device) Valid() bool {
	_, gpu := d.ordinal()
	return gpu || d == CPU || d == Auto
}

func (c Config) validate() error {
	for _, v := range []struct {
		name string
		n    int64
		min  int64
	}{
		{"threads", int64(c.threads), 0}, {"context", int64(c.context), 0}, {"sessions", int64(c.sessions), 1},
		{"chunk", int64(c.chunk), 0}, {"cache bytes", c.cache, 0},
	} {
		if v.n < v.min {
			return fmt.Errorf("runtime: config: %s is %d, expected at least %d", v.name, v.n, v.min)
		}
	}
	if c.threads > 1024 {
		return fmt.Errorf("runtime: config: threads is %d, expected at most 1024", c.threads)
	}
	if !c.device.Valid() {
		return fmt.Errorf("runtime: config: %w: device %q, expected %q, %q, %q or %q", ErrNoDevice, c.device, CPU, CUDA, CUDA+":N", Auto)
	}
	return nil
}
