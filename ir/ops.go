package ir

import (
	"fmt"

	"quire/ir/types"
)

// Op is an operation. The zero Op is invalid.
type Op uint8

// The operations; the table below gives each its meaning.
const (
	OpInvalid Op = iota

	// Structure
	OpParam
	OpWeight
	OpBuffer
	OpLaunch

	// Weights and rows
	OpEmbed
	OpDequant
	OpMatMul
	OpGather

	// Elementwise
	OpAdd
	OpMul
	OpSiLU
	OpGELU
	OpScale
	OpSoftcap
	OpCast
	OpRound

	// Rows of features
	OpRMSNorm
	OpSlice
	OpConcat
	OpUnflatten
	OpFlatten

	// Attention
	OpRopeTable
	OpRope
	OpAppend
	OpAttention

	// Head groups (DuoAttention)
	OpHeads
	OpHeadsMerge

	// Page selection (Quest)
	OpPageEstimate
	OpPageTopK
	OpPageKeep
	OpSummarise
	OpAttentionPaged

	// Sampling reductions
	OpArgMax
	OpLogSumExp

	numOps
)

// Effect says what an op does beyond making its result.
type Effect uint8

// The effects. Updates consumes a state version (its first argument) and makes
// the next; Opaque ops (params, buffers, launches) are not rewritten.
const (
	Pure Effect = iota
	Updates
	Opaque
)

// OpInfo is one row of the op table.
type OpInfo struct {
	Name      string // as in text: noun or family.verb
	Args      string // argument names; "x..." repeats
	Attrs     Attrs  // zero attributes, nil for none
	Effect    Effect
	Levels    Level // where the op may stand in a body
	View      bool  // the result is the argument's bytes under another shape
	Pointwise bool  // elementwise over its arguments
	Doc       string

	infer func(*inferCtx) types.Type
}

// ops is the table: a row an op. A test walks it.
var ops = [numOps]OpInfo{
	OpParam:  {Name: "param", Effect: Opaque, Doc: "A parameter of the function; printed in its signature."},
	OpWeight: {Name: "weight", Attrs: WeightAttrs{}, Effect: Opaque, Doc: "A module weight; printed as @name where it is read."},
	OpBuffer: {Name: "buffer", Attrs: BufferAttrs{}, Effect: Opaque, Levels: Kernel, Doc: "Memory that launches write and read."},
	OpLaunch: {Name: "launch", Effect: Opaque, Levels: Kernel, Doc: "Independent parts, each a kernel whose meaning is its body."},

	OpEmbed: {Name: "embed", Args: "tok table", Attrs: ToAttrs{}, Levels: Graph, infer: inferEmbed,
		Doc: "y[n, :] = table[tok[n], :]; a quantised row is read as floats."},
	OpDequant: {Name: "dequant", Args: "w", Attrs: ToAttrs{}, Levels: Graph, infer: inferDequant,
		Doc: "The floats that a quantised weight stands for."},
	OpMatMul: {Name: "matmul", Args: "x w", Attrs: MatMulAttrs{}, Levels: Graph, infer: inferMatMul,
		Doc: "y[.., r] = sum over k of x[.., k] * w[r, k]; accumulated in f32."},
	OpGather: {Name: "gather", Args: "x index", Levels: Graph, infer: inferGather,
		Doc: "y[m, ..] = x[index[m], ..]."},

	OpAdd: {Name: "add", Args: "a b", Levels: Graph, Pointwise: true, infer: inferBinary,
		Doc: "a + b; b may have the trailing axes of a only."},
	OpMul: {Name: "mul", Args: "a b", Levels: Graph, Pointwise: true, infer: inferBinary,
		Doc: "a * b; b may have the trailing axes of a only."},
	OpSiLU: {Name: "silu", Args: "x", Levels: Graph, Pointwise: true, infer: inferSame,
		Doc: "x / (1 + exp(-x))."},
	OpGELU: {Name: "gelu", Args: "x", Attrs: GELUAttrs{}, Levels: Graph, Pointwise: true, infer: inferSame,
		Doc: "x * Phi(x); with tanh: 0.5 x (1 + tanh(sqrt(2/pi) (x + 0.044715 x^3)))."},
	OpScale: {Name: "scale", Args: "x", Attrs: ScaleAttrs{}, Levels: Graph, Pointwise: true, infer: inferScale,
		Doc: "x * by."},
	OpSoftcap: {Name: "softcap", Args: "x", Attrs: SoftcapAttrs{}, Levels: Graph, Pointwise: true, infer: inferSoftcap,
		Doc: "cap * tanh(x / cap)."},
	OpCast: {Name: "cast", Args: "x", Attrs: ToAttrs{}, Levels: Graph, Pointwise: true, infer: inferCast,
		Doc: "x in another float type, rounded to nearest even."},

	OpRound: {Name: "round", Args: "x", Attrs: RoundAttrs{}, Levels: Graph, infer: inferRound,
		Doc: "x as a matmul with that dot rounds it: bf16, f16, or i8 in blocks of 32 along the last axis. Rounding twice changes nothing."},

	OpRMSNorm: {Name: "rmsnorm", Args: "x g", Attrs: NormAttrs{}, Levels: Graph, infer: inferNorm,
		Doc: "x / sqrt(mean(x^2) + eps) * (offset + g) over the last axis; the mean in f32."},
	OpSlice: {Name: "slice", Args: "x", Attrs: SliceAttrs{}, Levels: Graph, infer: inferSlice,
		Doc: "Elements first .. first+count-1 of the last axis."},
	OpConcat: {Name: "concat", Args: "x...", Attrs: ConcatAttrs{}, Levels: Graph, infer: inferConcat,
		Doc: "The arguments joined along an axis."},
	OpUnflatten: {Name: "unflatten", Args: "x", Attrs: UnflattenAttrs{}, Levels: Graph, View: true, infer: inferUnflatten,
		Doc: "[.., H*dim] seen as [.., H, dim]."},
	OpFlatten: {Name: "flatten", Args: "x", Levels: Graph, View: true, infer: inferFlatten,
		Doc: "[.., H, d] seen as [.., H*d]."},

	OpRopeTable: {Name: "rope.table", Args: "pos", Attrs: RopeTableAttrs{}, Levels: Graph, infer: inferRopeTable,
		Doc: "cos and sin of f32(pos) * freq[i]: f32[N, dim/2, 2]; freq as RopeFreqs gives."},
	OpRope: {Name: "rope", Args: "x table", Attrs: RopeAttrs{}, Levels: Graph, infer: inferRope,
		Doc: "The first dim elements of each head rotated pair by pair: (a, b) becomes (a cos - b sin, b cos + a sin) (RoFormer, eq. 34)."},
	OpAppend: {Name: "kv.append", Args: "kv k v seq", Effect: Updates, Levels: Graph, infer: inferAppend,
		Doc: "First drops what the table no longer keeps, then appends each sequence's new rows; the next version."},
	OpAttention: {Name: "attention", Args: "q kv seq", Attrs: AttentionAttrs{}, Levels: Graph, infer: inferAttention,
		Doc: "Causal softmax attention of each row over its sequence's kept keys; query head h reads KV head h*KV/H."},

	OpHeads: {Name: "heads", Args: "x", Attrs: HeadsAttrs{}, Levels: Graph, infer: inferHeads,
		Doc: "The heads of the listed KV heads, in the order of the list: group consecutive heads each."},
	OpHeadsMerge: {Name: "heads.merge", Args: "a b", Attrs: MergeAttrs{}, Levels: Graph, infer: inferHeadsMerge,
		Doc: "The inverse of two heads ops whose lists cover every KV head once: each head back in its place."},

	OpPageEstimate: {Name: "page.estimate", Args: "q kv seq", Attrs: EstimateAttrs{}, Levels: Graph, infer: inferPageEstimate,
		Doc: "For decode rows a bound on scale * q.k over each closed page: its best summary's sum of max(q*max, q*min) (Quest, alg. 1). Per group: each head's scores less its best, the largest of the group. Other rows are NaN, pages that are not closed -Inf."},
	OpPageTopK: {Name: "page.topk", Args: "score seq", Attrs: TopKAttrs{}, Levels: Graph, infer: inferPageTopK,
		Doc: "The last page and the budget-1 best closed pages, ties to the lower; all pages where the budget covers them and for rows that are not decode rows."},
	OpPageKeep: {Name: "page.keep", Args: "kept pick seq", Attrs: KeepAttrs{}, Effect: Updates, Levels: Graph, infer: inferPageKeep,
		Doc: "For decode rows the pick that the sequence holds, if it was made within the same stretch of tokens and no prompt came after it; else the new one, which is held from then on. Others drop what is held and read all pages."},
	OpSummarise: {Name: "kv.summarise", Args: "kv seq", Effect: Updates, Levels: Graph, infer: inferSummarise,
		Doc: "The same version, with the summaries of the pages that the step's rows have touched as its kernels find them: only a launch has it, where what appends makes none."},
	OpAttentionPaged: {Name: "attention.paged", Args: "q kv seq pick", Attrs: AttentionAttrs{}, Levels: Graph, infer: inferAttentionPaged,
		Doc: "Attention over the picked, or kept, pages alone."},

	OpArgMax: {Name: "argmax", Args: "x", Levels: Graph, infer: inferArgMax,
		Doc: "Index of the largest element of the last axis, the first of equals: i32."},
	OpLogSumExp: {Name: "logsumexp", Args: "x", Levels: Graph, infer: inferLogSumExp,
		Doc: "log(sum(exp(x))) over the last axis: f32."},
}

// byName maps text to ops.
var byName = func() map[string]Op {
	m := make(map[string]Op, numOps)
	for op := OpInvalid + 1; op < numOps; op++ {
		m[ops[op].Name] = op
	}
	return m
}()

// Info returns the row of an op; it panics for the invalid op.
func (op Op) Info() *OpInfo {
	if op == OpInvalid || op >= numOps {
		panic(fmt.Sprintf("BUG: op %d has no row", op))
	}
	return &ops[op]
}

// String returns the name used in text.
func (op Op) String() string {
	if op >= numOps || op == OpInvalid {
		return fmt.Sprintf("op(%d)", uint8(op))
	}
	return opNames[op]
}

// opNames stands apart from the table, which infer functions would else refer
// to while it is being made.
var opNames = func() (n [numOps]string) {
	for op := OpInvalid + 1; op < numOps; op++ {
		n[op] = ops[op].Name
	}
	return n
}()

// Ops returns every op in table order.
func Ops() []Op {
	var out []Op
	for op := OpInvalid + 1; op < numOps; op++ {
		out = append(out, op)
	}
	return out
}

// OpByName returns the op with that text name.
func OpByName(name string) (Op, bool) {
	op, ok := byName[name]
	return op, ok
}
