"""The table of reference models: one row a checkpoint, differences as fields.

Sizes are tiny and awkward on purpose: hidden sizes that are no power of two, head sizes that
hidden/heads does not give, windows and original context lengths below the prompt's length so that
they matter. Each `ablate` entry is a change that a wrong reader could make by accident; make.py
measures how far it moves the logits and refuses a model where a change cannot be seen.
"""

from dataclasses import dataclass, field


@dataclass
class Case:
    name: str  # folder
    what: str  # one sentence: what this model covers
    arch: str  # transformers classes: <arch>Config and <arch>ForCausalLM
    config: dict  # keyword arguments of the config class
    ablate: dict = field(default_factory=dict)  # label -> config fields changed
    ablate_weights: dict = field(default_factory=dict)  # label -> (regex of tensor names, value)
    dtype: str = "float32"  # of the stored weights; evaluation is always float32
    shard: str = ""  # max_shard_size of save_pretrained; "" = one file
    old_config: dict = field(default_factory=dict)  # rewrite config.json: key -> value, None deletes
    tokenizer: bool = False  # also write a byte-level tokenizer, prompts are texts
    norm_mean: float = 1.0  # mean of the norm weights as stored: Gemma stores w of (1 + w)


def rope(theta, **scaling):
    return {"rope_theta": theta, "rope_type": "default", **scaling}


LLAMA3 = dict(rope_type="llama3", factor=8.0, low_freq_factor=1.0, high_freq_factor=4.0, original_max_position_embeddings=40)

# Fields every row shares unless it says otherwise.
BASE = dict(
    vocab_size=96,
    hidden_size=64,
    intermediate_size=88,
    num_hidden_layers=2,
    num_attention_heads=4,
    num_key_value_heads=2,
    max_position_embeddings=256,
    bos_token_id=1,
    eos_token_id=2,
    pad_token_id=0,
)


def sizes(**changed):
    return {**BASE, **changed}


SMALL = dict(hidden_size=48, intermediate_size=72, num_attention_heads=3)  # head size 16
KEYS_SWAPPED = {"rope_theta": {"rope_parameters": rope(20000.0)}}

MODELS = [
    Case(
        "llama2",
        "Llama 2: as many KV heads as heads, untied output, RoPE base 10000",
        "Llama",
        sizes(**SMALL, num_key_value_heads=3, rms_norm_eps=1e-5, rope_parameters=rope(10000.0), tie_word_embeddings=False),
        ablate={**KEYS_SWAPPED, "rms_norm_eps": {"rms_norm_eps": 0.1}},
        ablate_weights={"norm weights": ("norm", 1.0)},
    ),
    Case(
        "llama3",
        "Llama 3: grouped queries, RoPE base 500000, two safetensors shards with an index",
        "Llama",
        sizes(
            hidden_size=96,
            intermediate_size=112,
            vocab_size=128,
            rms_norm_eps=1e-5,
            rope_parameters=rope(500000.0),
            tie_word_embeddings=False,
        ),
        ablate=KEYS_SWAPPED,
        ablate_weights={"norm weights": ("norm", 1.0)},
        dtype="bfloat16",
        shard="150KB",
    ),
    Case(
        "llama31",
        "Llama 3.1: rope_type llama3 with an original context of 40, so that all three frequency bands occur",
        "Llama",
        sizes(
            hidden_size=64,
            intermediate_size=80,
            num_attention_heads=2,
            num_key_value_heads=1,
            rms_norm_eps=1e-5,
            rope_parameters=rope(500000.0, **LLAMA3),
            tie_word_embeddings=False,
        ),
        ablate={
            "no rope scaling": {"rope_parameters": rope(500000.0)},
            "linear instead of llama3": {"rope_parameters": rope(500000.0, rope_type="linear", factor=8.0)},
            "hard band edges": {"rope_parameters": rope(500000.0, **{**LLAMA3, "high_freq_factor": 1.01})},
            "wavelengths off by 2 pi": {
                "rope_parameters": rope(500000.0, **{**LLAMA3, "original_max_position_embeddings": 251})
            },
        },
        dtype="bfloat16",
    ),
    Case(
        "llama31_old",
        "Llama 3.1 as transformers 4 wrote it: rope_theta, rope_scaling, torch_dtype, no head_dim; float16 weights",
        "Llama",
        sizes(
            hidden_size=72,
            intermediate_size=80,
            num_attention_heads=3,
            num_key_value_heads=1,
            rms_norm_eps=1e-5,
            rope_parameters=rope(500000.0, **LLAMA3),
            tie_word_embeddings=False,
        ),
        ablate={"no rope scaling": {"rope_parameters": rope(500000.0)}},
        dtype="float16",
        old_config={
            "rope_parameters": None,
            "rope_theta": 500000.0,
            "rope_scaling": LLAMA3,
            "torch_dtype": "float16",
            "dtype": None,
            "head_dim": None,
            "transformers_version": "4.43.0.dev0",
        },
    ),
    Case(
        "llama_linear",
        "Llama with linear RoPE scaling by 4, in the oldest spelling: rope_scaling {type, factor}, no rope_theta",
        "Llama",
        sizes(
            **SMALL,
            num_key_value_heads=1,
            rope_parameters=rope(10000.0, rope_type="linear", factor=4.0),
            tie_word_embeddings=False,
        ),
        ablate={"no rope scaling": {"rope_parameters": rope(10000.0)}},
        old_config={
            "rope_parameters": None,
            "rope_scaling": {"type": "linear", "factor": 4.0},
            "torch_dtype": "float32",
            "dtype": None,
            "head_dim": None,
            "transformers_version": "4.31.0",
        },
    ),
    Case(
        "llama_bias",
        "Llama with attention_bias and mlp_bias: a bias on all seven linears",
        "Llama",
        sizes(**SMALL, num_key_value_heads=1, attention_bias=True, mlp_bias=True, tie_word_embeddings=False),
        ablate_weights={
            name + " bias": (name + r"_proj\.bias", 0.0) for name in ["q", "v", "o", "gate", "up", "down"]
        },
    ),
    Case(
        "llama_tied",
        "Llama with tied embeddings: no lm_head.weight in the file; hidden_act silu, head_dim null",
        "Llama",
        sizes(**SMALL, num_key_value_heads=1, tie_word_embeddings=True),
        old_config={"head_dim": None},
        ablate=KEYS_SWAPPED,
    ),
    Case(
        "smollm2",
        "SmolLM2: tied Llama with three heads a KV head, RoPE base 100000, with a byte-level BPE tokenizer and chat template",
        "Llama",
        sizes(
            **SMALL,
            vocab_size=320,
            num_key_value_heads=1,
            rms_norm_eps=1e-5,
            rope_parameters=rope(100000.0),
            tie_word_embeddings=True,
            pad_token_id=2,
        ),
        ablate=KEYS_SWAPPED,
        tokenizer=True,
    ),
    Case(
        "mistral",
        "Mistral: sliding window 8 in every layer, explicit head_dim 32 (heads x head_dim is 96, not hidden 48)",
        "Mistral",
        sizes(**SMALL, num_key_value_heads=1, head_dim=32, sliding_window=8, tie_word_embeddings=False),
        ablate={"no window": {"sliding_window": None}, "window 9": {"sliding_window": 9}, "window 7": {"sliding_window": 7}},
        dtype="bfloat16",
    ),
    Case(
        "qwen2",
        "Qwen2: bias on q, k and v; the window in config.json is switched off by use_sliding_window",
        "Qwen2",
        sizes(**SMALL, num_key_value_heads=1, rope_parameters=rope(1000000.0), tie_word_embeddings=False),
        ablate={"window 8 used": {"use_sliding_window": True, "sliding_window": 8, "max_window_layers": 0}},
        ablate_weights={name + " bias": (name + r"_proj\.bias", 0.0) for name in ["q", "v"]},
        old_config={"sliding_window": 8, "use_sliding_window": False, "layer_types": None, "max_window_layers": 0},
    ),
    Case(
        "qwen2_window",
        "Qwen2 with use_sliding_window: layers from max_window_layers = 2 on have window 8, the first two have none",
        "Qwen2",
        sizes(
            **SMALL,
            num_hidden_layers=3,
            num_key_value_heads=1,
            rope_parameters=rope(1000000.0),
            tie_word_embeddings=True,
            use_sliding_window=True,
            sliding_window=8,
            max_window_layers=2,
        ),
        ablate={
            "no window": {"use_sliding_window": False},
            "all windowed": {"max_window_layers": 0, "layer_types": None},
        },
        dtype="bfloat16",
    ),
    Case(
        "qwen25",
        "Qwen2.5: tied embeddings, q, k and v bias, RoPE base 1000000, bfloat16 weights",
        "Qwen2",
        sizes(rope_parameters=rope(1000000.0), tie_word_embeddings=True),
        ablate_weights={name + " bias": (name + r"_proj\.bias", 0.0) for name in ["q", "v"]},
        dtype="bfloat16",
    ),
    Case(
        "qwen3",
        "Qwen3: norms of each head's q and k, explicit head_dim 24 (hidden / heads is 16), no bias",
        "Qwen3",
        sizes(
            hidden_size=48,
            intermediate_size=72,
            num_attention_heads=3,
            num_key_value_heads=1,
            head_dim=24,
            rope_parameters=rope(1000000.0),
            tie_word_embeddings=False,
        ),
        ablate_weights={"q norm weights": ("q_norm", 1.0), "k norm weights": ("k_norm", 1.0)},
        dtype="bfloat16",
    ),
    Case(
        "gemma2",
        "Gemma 2: window 8 in every other layer, softcaps of scores and logits, four norms a layer with 1 + w, "
        "embedding scale, query_pre_attn_scalar 24 beside head_dim 32, GELU (tanh)",
        "Gemma2",
        sizes(
            hidden_size=48,
            intermediate_size=56,
            num_hidden_layers=4,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=32,
            query_pre_attn_scalar=24,
            sliding_window=8,
            attn_logit_softcapping=4.0,
            final_logit_softcapping=5.0,
            bos_token_id=2,
            eos_token_id=1,
        ),
        ablate={
            "no window": {"sliding_window": 256},
            "window 9": {"sliding_window": 9},
            "even layers windowed": {"layer_types": ["full_attention", "sliding_attention"] * 2},
            "score scale from head_dim": {"query_pre_attn_scalar": 32},
            "no score softcap": {"attn_logit_softcapping": None},
            "no logit softcap": {"final_logit_softcapping": None},
            "erf GELU": {"hidden_activation": "gelu"},
        },
        ablate_weights={
            name: (name.replace(" ", "_"), 0.0)
            for name in ["pre feedforward layernorm", "post feedforward layernorm", "post attention layernorm"]
        },
        norm_mean=0.0,
    ),
    Case(
        "gemma2_old",
        "Gemma 2 as transformers 4 wrote it: hidden_act beside hidden_activation, rope_theta, no layer_types; "
        "window 8 in layers 0 and 2; bfloat16 weights",
        "Gemma2",
        sizes(
            hidden_size=48,
            intermediate_size=56,
            num_hidden_layers=3,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=8,
            attn_logit_softcapping=50.0,
            final_logit_softcapping=30.0,
            bos_token_id=2,
            eos_token_id=1,
        ),
        ablate={
            "no window": {"sliding_window": 256},
            "window in layer 1": {"layer_types": ["full_attention", "sliding_attention", "full_attention"]},
            "no score softcap": {"attn_logit_softcapping": None},
            "no logit softcap": {"final_logit_softcapping": None},
        },
        norm_mean=0.0,
        dtype="bfloat16",
        old_config={
            "rope_parameters": None,
            "rope_theta": 10000.0,
            "layer_types": None,
            "hidden_act": "gelu_pytorch_tanh",
            "cache_implementation": "hybrid",
            "torch_dtype": "bfloat16",
            "dtype": None,
            "transformers_version": "4.42.0.dev0",
        },
    ),
    Case(
        "gemma3",
        "Gemma 3 (text): norms of each head's q and k, window 8 with RoPE base 10000 in five of six layers, "
        "every sixth layer full with base 1000000",
        "Gemma3Text",
        sizes(
            hidden_size=40,
            intermediate_size=56,
            num_hidden_layers=7,
            num_attention_heads=2,
            num_key_value_heads=1,
            head_dim=16,
            query_pre_attn_scalar=16,
            sliding_window=8,
            bos_token_id=2,
            eos_token_id=1,
        ),
        ablate={
            "no window": {"sliding_window": 256},
            "window 9": {"sliding_window": 9},
            "no full layer": {"layer_types": ["sliding_attention"] * 7},
            "one rope base": {"rope_parameters": {"full_attention": rope(1e6), "sliding_attention": rope(1e6)}},
        },
        ablate_weights={"q norm weights": ("q_norm", 0.0), "k norm weights": ("k_norm", 0.0)},
        norm_mean=0.0,
        dtype="bfloat16",
    ),
    Case(
        "gemma3_old",
        "Gemma 3 as transformers 4 wrote it: rope_theta, rope_local_base_freq, rope_scaling (linear, full layers "
        "only), sliding_window_pattern 3, no layer_types",
        "Gemma3Text",
        sizes(
            hidden_size=48,
            intermediate_size=56,
            num_hidden_layers=4,
            num_attention_heads=4,
            num_key_value_heads=2,
            head_dim=16,
            query_pre_attn_scalar=24,
            sliding_window=8,
            layer_types=["sliding_attention", "sliding_attention", "full_attention", "sliding_attention"],
            rope_parameters={"full_attention": rope(1e6, rope_type="linear", factor=8.0), "sliding_attention": rope(10000.0)},
            bos_token_id=2,
            eos_token_id=[1, 3],
        ),
        ablate={
            "no rope scaling": {"rope_parameters": {"full_attention": rope(1e6), "sliding_attention": rope(1e4)}},
            "scaling in window layers": {
                "rope_parameters": {
                    "full_attention": rope(1e6, rope_type="linear", factor=8.0),
                    "sliding_attention": rope(1e4, rope_type="linear", factor=8.0),
                }
            },
            "score scale from head_dim": {"query_pre_attn_scalar": 16},
            "default pattern": {"layer_types": ["sliding_attention"] * 4},
        },
        norm_mean=0.0,
        dtype="bfloat16",
        old_config={
            "rope_parameters": None,
            "rope_theta": 1000000.0,
            "rope_local_base_freq": 10000.0,
            "rope_scaling": {"rope_type": "linear", "factor": 8.0},
            "layer_types": None,
            "_sliding_window_pattern": None,
            "sliding_window_pattern": 3,
            "torch_dtype": "bfloat16",
            "dtype": None,
            "transformers_version": "4.50.0.dev0",
        },
    ),
    Case(
        "phi3",
        "Phi-3: fused qkv_proj and gate_up_proj, grouped queries, sliding window 8",
        "Phi3",
        sizes(**SMALL, num_key_value_heads=1, sliding_window=8, original_max_position_embeddings=256, tie_word_embeddings=False),
        ablate={"no window": {"sliding_window": None}, "window 9": {"sliding_window": 9}},
        dtype="float16",
    ),
]
