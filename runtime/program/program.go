package program

import (
	"encoding/json"
	"strings"

	"quire/ir/types"
	"quire/ir/types/packed"
	"quire/ir/work"
)

// Program is one compiled model for one target.
type Program struct {
	Model    string // name for people
	Family   string // decoder family: "llama", "qwen2", ...
	Target   string // "x86-64-v3", "sm_90a"
	Features []string
	Compiler string // compiler and LLVM version, for messages and cache keys

	Vocab   int
	Context int // longest sequence that positions and bounds allow

	Kernels []Kernel
	Steps   []Step   // the first whose guards hold runs
	Slots   []string // bytes of each piece of step memory: see Sizes
	Tables  []Table
	Caches  []Cache
	Weights []Weight
	Sources []Source

	Options    map[string]string // model options it was compiled with, for display
	Tokenizer  json.RawMessage   // token.Data, absent for a model without one
	Generation Generation

	// Object is the machine code: an ELF shared object (CPU), or for a GPU the PTX text of one module
	// whose entries take their kernel's operands in order, then the i64 number of items (work.GridOf).
	Object []byte `json:"-"`
	// Cubin is the same module assembled for Target, where ptxas was at hand; a device that
	// it does not fit takes Object.
	Cubin []byte `json:"-"`
}

// Generation holds a model's own defaults; nil means that the model says nothing.
type Generation struct {
	Temperature       *float64
	TopK              *int
	TopP              *float64
	MinP              *float64
	RepetitionPenalty *float64
	EOS               []int32 // ids that end generation besides the tokenizer's
}

// Kernel is one compiled function of the Object. One that no step launches serves the runtime, which finds it by its
// family.
type Kernel struct {
	Symbol string
	Last   string      // symbol of the Last phase, "" without one
	Params work.Params `json:"-"`
}

// Step is one specialisation of the model's step function.
type Step struct {
	Name    string
	When    []Guard
	Launch  []Launch
	Results []Result
}

// Guard holds when Lhs equals Rhs, or with AtMost is not above it. Both are
// texts of types.Dim over N, M, S.
type Guard struct {
	Lhs, Rhs string
	AtMost   bool
}

// Launch runs one kernel.
type Launch struct {
	Name   string // scope and family, for profiles: "layers.5.attn linear"
	Kernel int
	Args   []Arg
	// Rows names the step's dim that the kernel's N is: "N" or "M".
	Rows string
	// For lists the results (by index) that this launch serves, when it serves
	// only some: it may be left out if none of them is wanted. Empty: always run.
	For []int
	// Bytes and Flops are texts of types.Dim: what the launch must read and
	// compute, from the IR, but for what a work.Reader says of a cache.
	Bytes, Flops string
}

// ArgKind says what a word of a launch's args holds.
type ArgKind string

// The kinds of argument. Index counts in the list that the kind names.
const (
	ArgSlot   ArgKind = "slot"   // base of Slots[Index]
	ArgWeight ArgKind = "weight" // base of Weights[Index] as laid out
	ArgCache  ArgKind = "cache"  // base of Caches[Index]
	ArgInput  ArgKind = "input"  // step input by Name: tok pos out row_slot slot_start slot_new slot_len
	ArgPages  ArgKind = "pages"  // page table of Tables[Index]: i32[S, P]
	ArgTemp   ArgKind = "temp"   // memory of this launch, Params.Temp bytes
	ArgDim    ArgKind = "dim"    // i64 value of Name: N M S P C
	ArgConst  ArgKind = "const"  // i32 list: Ints
)

// Arg is one word.
type Arg struct {
	Kind  ArgKind
	Index int     `json:",omitempty"`
	Name  string  `json:",omitempty"`
	Ints  []int32 `json:",omitempty"`
}

// Result is one value that the step gives back.
type Result struct {
	Name string // "logits", "argmax", "logsumexp"
	Slot int
	Elem string // "f32", "i32"
	Rows string // Dim text
	Cols int    // 0 for a vector
}

// Table says what caches on it keep; see ir.Table. P of a launch is the width of
// its table.
type Table struct {
	Name   string
	Page   int
	Sink   int
	Recent *int
	// Chunk is where prompts are cut, since results depend on it: a step takes the tokens of a
	// sequence up to its next multiple; 0: anywhere.
	Chunk int `json:",omitempty"`
}

// Picks is the Elem of a cache that keeps picked pages (Quest, picked again every so many
// tokens) and no keys and values.
const Picks = "pick"

// Cache is the KV storage of one layer: pages of PageBytes each.
type Cache struct {
	Name      string
	Elem      string
	Heads     int
	Dim       int
	Table     int
	PageBytes int64
}

// Layouts of a weight in memory.
const (
	LayoutLanes = "lanes" // ir/types/layout: for a CPU's vector registers
	LayoutFrag  = "frag"  // ir/types/layout: for a GPU's tensor cores
	LayoutPlain = "plain" // f32 vector
)

// Weight is one operand in memory, made of segments (rows one after the other; in the
// lanes and frag layouts each padded by itself).
type Weight struct {
	Name     string
	Layout   string
	Elem     string // encoding of the laid-out weight
	Cols     int    // for a plain vector 1
	Segments []Segment
	Bytes    int64 // size as laid out
}

// Segment is where rows come from: bytes of a source file in encoding Elem, or
// random values when Source is negative.
type Segment struct {
	Tensor string
	Rows   int
	Elem   string // encoding in the file
	Source int    // index into Sources, or -1: random
	Offset int64
	Bytes  int64
	Seed   int64   `json:",omitempty"` // random only: stream of ir/types/noise
	Std    float64 `json:",omitempty"` // random only: standard deviation
	Mean   float64 `json:",omitempty"` // random only

	// Packed is set for rows that stand in several arrays of a checkpoint: Source, Offset and Bytes are then those of
	// its codes, and Elem the encoding that they are read into.
	Packed *Packed `json:",omitempty"`
}

// Packed is a linear in a layout of ir/types/packed, of which a segment takes Rows rows from First on.
type Packed struct {
	packed.Matrix
	First  int
	Places [packed.Roles]Place // of the arrays of Matrix.Parts; one that is absent has none
}

// Place is where an array begins.
type Place struct {
	Source int
	Offset int64
}

// Files lists the sources that the segment reads; a random one reads none.
func (s *Segment) Files() []int {
	if s.Packed == nil {
		if s.Source < 0 {
			return nil
		}
		return []int{s.Source}
	}
	var out []int
	for r, a := range s.Packed.Parts {
		if a.Elem != "" {
			out = append(out, s.Packed.Places[r].Source)
		}
	}
	return out
}

// Source is one weight file.
type Source struct {
	Path   string
	Bytes  int64
	SHA256 string // "" when not computed
}

// Sizes reads the text of a slot: Dims joined by ", ", of which the slot needs the
// largest (buffers of several sizes, one after the other).
func Sizes(text string) ([]types.Dim, error) {
	var out []types.Dim
	for part := range strings.SplitSeq(text, ", ") {
		d, err := types.ParseDim(part)
		if err != nil {
			return nil, err
		}
		out = append(out, d)
	}
	return out, nil
}

// Dims evaluates a Dim text under the dims of a step.
func Dims(text string, d work.Dims) (int64, error) {
	dim, err := types.ParseDim(text)
	if err != nil {
		return 0, err
	}
	return dim.Eval(types.Bindings{"N": d.N, "M": d.M, "S": d.S, "P": d.P, "C": d.C})
}
