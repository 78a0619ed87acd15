package decoder

import (
	"math"

	"quire/ir"
	"quire/ir/types"
)

// Act is the activation between the gate and the product with up.
type Act uint8

// The activations.
const (
	SiLU     Act = iota
	GELUTanh     // the tanh approximation
	GELU         // the exact erf form
)

var actNames = [...]string{SiLU: "silu", GELUTanh: "gelu_tanh", GELU: "gelu"}

// String is the name as specs spell it.
func (a Act) String() string { return actNames[a] }

// Rope describes the rotary embedding.
type Rope struct {
	Base      float64
	LocalBase float64 // base of windowed layers, which then have no scaling (Gemma 3); 0: as the others
	RotaryDim int     // elements of a head that are rotated, the first ones
	Style     ir.RopeStyle
	Scaling   ir.RopeScaling
	Factor    float64 // linear, llama3
	Low, High float64 // llama3
	Original  int     // llama3: context before the scaling
	Factors   []float32
}

// Bias says which linears add a bias.
type Bias struct{ QKV, O, MLP bool }

// Windows says which layers have a sliding window.
type Windows uint8

// The rules. Layers count from 0.
const (
	NoWindows     Windows = iota
	AllWindows            // Mistral, Phi-3
	EvenWindows           // layers 0, 2, ... (Gemma 2)
	OddWindows            // layers 1, 3, ...
	FullEvery             // all but each WindowN-th: layer i is full when (i+1) % WindowN == 0 (Gemma 3: 6)
	WindowsFrom           // layers WindowN, WindowN+1, ... (Qwen 2)
	ListedWindows         // those that WindowList marks
)

var windowNames = [...]string{"none", "all", "even", "odd", "full-every", "from", "listed"}

// String is the name as specs spell it.
func (w Windows) String() string { return windowNames[w] }

// Config is one model of the family. FromSource and package spec make it; Validate says whether it can be built.
type Config struct {
	Name   string // for people; becomes the module's name
	Family string // a name of Families

	Layers     int
	Hidden     int // width of the residual stream
	Heads      int // query heads of a layer
	KVHeads    int // key and value heads; divides Heads
	HeadDim    int
	FFN        int // width between gate/up and down
	Vocab      int
	MaxContext int // longest sequence in tokens

	NormEps    float64
	NormOffset float64 // added to every norm's weights: 1 where files hold w of 1 + w (Gemma in Hugging Face form)
	QKNorm     bool    // an rmsnorm of each head of q and k, before rope
	PostNorms  bool    // an rmsnorm of what attention and mlp give, before it is added (Gemma 2 and 3)
	Act        Act
	Bias       Bias

	Rope Rope

	// A windowed layer's query sees the Window newest keys, its own among them.
	Window     int
	Windows    Windows
	WindowN    int
	WindowList []bool

	AttnScale  float64 // factor of q.k
	AttnCap    float64 // softcap of scores, 0: none (Gemma 2)
	FinalCap   float64 // softcap of logits, 0: none (Gemma 2)
	EmbedScale float64 // factor of embeddings, 0: none (Gemma: sqrt(Hidden))

	TiedEmbeddings bool // logits come from the embedding table; there is no lm_head

	Compute   types.DType // of activations: f32, f16 or bf16
	CacheElem types.DType // of keys and values: f32, f16 or bf16
	Page      int         // tokens of a page of the cache
}

// Windowed reports whether a layer has the sliding window. A window that covers the whole context is none.
func (c *Config) Windowed(layer int) bool {
	if c.Window <= 0 || c.Window >= c.MaxContext {
		return false
	}
	switch c.Windows {
	case AllWindows:
		return true
	case EvenWindows:
		return layer%2 == 0
	case OddWindows:
		return layer%2 == 1
	case FullEvery:
		return (layer+1)%c.WindowN != 0
	case WindowsFrom:
		return layer >= c.WindowN
	case ListedWindows:
		return c.WindowList[layer]
	}
	return false
}

// ListWindows sets the simplest rule that marks exactly the listed layers.
func (c *Config) ListWindows(list []bool) {
	try := *c
	try.WindowList, try.MaxContext = nil, math.MaxInt
	try.Window = 1
	rules := []struct{ rule, n int }{{int(NoWindows), 0}, {int(AllWindows), 0}, {int(EvenWindows), 0}, {int(OddWindows), 0}}
	for n := 3; n <= min(len(list), 16); n++ {
		rules = append(rules, struct{ rule, n int }{int(FullEvery), n})
	}
	for n := 1; n < len(list); n++ {
		rules = append(rules, struct{ rule, n int }{int(WindowsFrom), n})
	}
	for _, r := range rules {
		try.Windows, try.WindowN = Windows(r.rule), r.n
		same := true
		for i, w := range list {
			same = same && try.Windowed(i) == w
		}
		if same {
			c.Windows, c.WindowN, c.WindowList = try.Windows, try.WindowN, nil
			return
		}
	}
	c.Windows, c.WindowN, c.WindowList = ListedWindows, 0, list
}

// Complete fills what follows from other fields and was not given.
func (c *Config) Complete() {
	if c.KVHeads == 0 {
		c.KVHeads = c.Heads
	}
	if c.HeadDim == 0 && c.Heads > 0 && c.Hidden%c.Heads == 0 {
		c.HeadDim = c.Hidden / c.Heads
	}
	if c.Rope.RotaryDim == 0 {
		c.Rope.RotaryDim = c.HeadDim
	}
	if c.AttnScale == 0 && c.HeadDim > 0 {
		c.AttnScale = 1 / math.Sqrt(float64(c.HeadDim))
	}
	if c.Page == 0 {
		c.Page = 64
	}
	if c.Compute == types.InvalidDType {
		c.Compute = types.F32
	}
	if c.CacheElem == types.InvalidDType {
		c.CacheElem = c.Compute
	}
}

// KVBytesPerToken is the size of one token's keys and values over all layers.
func (c *Config) KVBytesPerToken() int64 {
	return 2 * int64(c.Layers) * int64(c.KVHeads) * int64(c.HeadDim) * int64(c.CacheElem.Bytes())
}
