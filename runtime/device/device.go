// Package device is the small interface between the runtime and what runs a Program's
// steps. A Model is a Program bound to one device: weights in place, memory for steps and
// caches, code loaded. The runtime decides which tokens make a step and which pages they
// use; a Model runs it.
//
// It is for decoupling, not for third parties.
//
// Border law: a leaf. It knows no device, no session and no Program.
package device

// Batch is one step: the rows of one or more slots, the rows of a slot together and in
// order. Slices belong to the caller, who may change them after Step returned.
type Batch struct {
	Tok, Pos []int32 // [N] token and position of each row
	Out      []int32 // [M] rows that want results, ascending

	RowSlot   []int32 // [N] the slot of each row
	SlotStart []int32 // [S] first row
	SlotNew   []int32 // [S] rows of this step
	SlotLen   []int32 // [S] tokens cached before this step

	Pages []Pages // one for each table of the Program
	Want  Want
	// Choices say how the token of each row of Out is chosen, where Want has Chosen.
	Choices []Choice // [M]
}

// Choice is how a token is chosen, as package sample has it, but for penalties; the zero value
// takes the greatest logit.
type Choice struct {
	Temperature float64
	TopK        int
	TopP, MinP  float64
	Draws       []float64 // the number, from 0 on and below 1, of each step; one but for a Runner
}

// Draw says whether chance has a part in it.
func (c Choice) Draw() bool { return c.Temperature > 0 && c.TopK != 1 }

// Pages is a page table: the physical page of each logical page of each slot, -1 where
// the slot has none. Logical page i holds tokens i*page to (i+1)*page-1 in cache order.
type Pages struct {
	Width   int     // pages of a slot
	Entries []int32 // [S, Width]
}

// Want says which results of a step are read; a device may leave out the work of others.
type Want uint8

// The results of a step. The names are those of program.Result.
const (
	Logits Want = 1 << iota
	ArgMax
	LogSumExp
	Taps   // results of other names: values inside a model that was compiled to show them
	Chosen // tokens by Choices, of a Chooser
)

// WantOf is the bit of a result by its name in the Program; all that are not named above are
// taps.
func WantOf(name string) Want {
	switch name {
	case "logits":
		return Logits
	case "argmax":
		return ArgMax
	case "logsumexp":
		return LogSumExp
	}
	return Taps
}

// Output holds the results of a step for the rows of Out; it is valid until the next Step.
// A result that was not wanted, or that the Program does not have, is nil.
type Output struct {
	Logits    []float32            // [M, Vocab]
	ArgMax    []int32              // [M]
	Chosen    []int32              // [M]; -1: the row's logits are not finite
	LogSumExp []float32            // [M]
	Taps      map[string][]float32 // by name; each as its result says, rows outermost
}

// Model is a Program bound to a device. One goroutine at a time may use it.
type Model interface {
	// Step runs one step and returns when it is done.
	Step(*Batch) (Output, error)
	// CopyPage copies a physical page of all caches on a table.
	CopyPage(table int, from, to int32)
	// Discard gives the memory of free pages of a table back; they read as anything.
	Discard(table int, pages []int32)
	// Memory says what the Model holds.
	Memory() Memory
	// Profile reports the launches of all steps since it was called last; nothing
	// unless the Model was loaded for profiling.
	Profile() []Launch
	// Close frees everything. No Step may be running.
	Close() error
}

// Chooser is a Model that chooses tokens itself: of the same logits and numbers those that package
// sample chooses, but where a number lies within 2^-18 of a limit.
type Chooser interface {
	// Chooses says whether it does; one that is profiled, or whose Program cannot, does not.
	Chooses() bool
}

// Runner is a Model that can go on by itself: each token that it chooses, that of the greatest
// logit or by the batch's Choice, is fed to the step that follows, which need not wait until the
// host has seen it.
type Runner interface {
	// Runs says whether it can; one that is profiled cannot.
	Runs() bool
	// Run runs up to so many steps. The batch is the first of them: one row, of one slot, that wants
	// its result; its tables have pages for the tokens of all steps. Yield gets the token
	// that each step chose, -1 where the greatest logit is not finite. After it returned false no step is begun; it gets the tokens of
	// those that have been. The tokens fed are the batch's, then each chosen one.
	Run(b *Batch, steps int, yield func(token int32) bool) error
}

// Gauge is a Model that measures its device: what steps are compared with.
type Gauge interface {
	// ReadRate is the rate, in bytes a second, at which the device reads its memory at best.
	ReadRate() (float64, error)
}

// Stopper is a Model whose running Step can be made to return, with an error: its device
// may have stopped answering. Nothing but Close is called after it.
type Stopper interface {
	Stop()
}

// Memory is a ledger in bytes. After Close all of it is zero.
type Memory struct {
	Weights int64 // as laid out, private to this process
	Mapped  int64 // as laid out, pages of the Program's file
	Steps   int64 // slots, scratch, inputs and records
	Caches  int64 // address space of KV pages; only touched pages take memory
	Code    int64
}

// Total is all of it but mapped files and untouched caches.
func (m Memory) Total() int64 { return m.Weights + m.Steps + m.Code }

// Launch is what one launch of one step did, summed over its runs.
type Launch struct {
	Step, Name string
	Family     string
	Calls      int64
	Seconds    float64
	Bytes      float64 // what it had to read and write
	Flops      float64
}
