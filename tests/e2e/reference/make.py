"""Writes the reference checkpoints and what Hugging Face transformers computes from them.

    python make.py            every model of models.py
    python make.py NAME ...   some of them

README.md beside this file says what each output file holds.
"""

import json
import pathlib
import re
import shutil
import sys

import safetensors.torch
import torch
import transformers
from transformers import DynamicCache

from models import MODELS
import tokenizer

HERE = pathlib.Path(__file__).parent
GREEDY = 24  # tokens generated after each prompt
PROMPTS = {"long": 41, "short": 7}  # lengths where the model has no tokenizer
MIN_MARGIN = 0.02  # between the first two logits at every greedy step: far above float32's error
MIN_DISTINCT = 6  # greedy ids of the long prompt must not sit in a loop
MAX_NOISE = 1e-5  # between two honest float32 ways to evaluate the same model
MIN_ABLATION = 5e-4  # a change that moves the logits less could hide from a test at 1e-4 (erf for tanh GELU is the smallest)


def relative(a, b):
    """The largest relative L2 distance between rows of a and rows of the reference b."""
    return float(((a - b).norm(dim=-1) / b.norm(dim=-1)).max())


def fill(model, case, generator):
    """Random weights: logits of std near 2, peaked attention, norms and biases that matter."""

    def randn(p, std, mean=0.0):
        p.data = mean + std * torch.randn(p.shape, generator=generator)

    for name, p in sorted(model.named_parameters()):
        fan_in = p.shape[-1]
        if case.norm_mean == 0 and re.search(r"post_\w+_layernorm", name):
            randn(p, 0.3, 2.0)  # layers outweigh the tied embedding, or greedy would repeat its input
        elif "norm" in name:
            randn(p, 0.3, case.norm_mean)
        elif name.endswith("bias"):
            randn(p, 0.5)
        elif "embed_tokens" in name or "lm_head" in name:
            randn(p, 2.0 / model.config.hidden_size**0.5)
        elif re.search(r"\.(q|k|qkv)_proj", name):
            randn(p, 1.5 / fan_in**0.5)
        else:
            randn(p, 1.2 / fan_in**0.5)


@torch.no_grad()
def forward(model, ids):
    return model(torch.tensor([ids]), use_cache=False).logits[0].float()


@torch.no_grad()
def chunked(model, ids, sizes):
    """Logits of ids fed through a KV cache in chunks of the given sizes (the last one repeats)."""
    cache, rows, at, sizes = DynamicCache(config=model.config), [], 0, list(sizes)
    while at < len(ids):
        n = sizes.pop(0) if len(sizes) > 1 else sizes[0]
        part = torch.tensor([ids[at : at + n]])
        rows.append(model(part, past_key_values=cache, use_cache=True).logits[0].float())
        at += n
    return torch.cat(rows)


@torch.no_grad()
def greedy(model, prompt):
    """GREEDY ids after prompt by argmax through a KV cache, EOS ignored; margins of the first two logits."""
    cache, ids, margins = DynamicCache(config=model.config), [], []
    part = torch.tensor([prompt])
    for _ in range(GREEDY):
        top = model(part, past_key_values=cache, use_cache=True).logits[0, -1].float().topk(2)
        ids.append(int(top.indices[0]))
        margins.append(float(top.values[0] - top.values[1]))
        part = top.indices[:1].reshape(1, 1)
    return ids, margins


def load(folder, attention="eager"):
    model = transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, attn_implementation=attention)
    return model.eval()


def rewrite_config(folder, changes):
    path = folder / "config.json"
    config = json.loads(path.read_text())
    for key, value in changes.items():
        if value is None:
            config.pop(key, None)
        else:
            config[key] = value
    path.write_text(json.dumps(config, indent=2, sort_keys=True) + "\n")


def write(case, folder, seed):
    shutil.rmtree(folder, ignore_errors=True)
    config = getattr(transformers, case.arch + "Config")(**case.config)
    cls = getattr(transformers, case.arch.replace("Text", "") + "ForCausalLM")
    model = cls._from_config(config, attn_implementation="eager").eval()
    fill(model, case, torch.Generator().manual_seed(seed))
    model.to(getattr(torch, case.dtype))
    model.save_pretrained(folder, **({"max_shard_size": case.shard} if case.shard else {}))
    if case.old_config:
        rewrite_config(folder, case.old_config)
    for file in folder.iterdir():
        file.chmod(0o644)
    twin = cls._from_config(config, dtype=torch.float32, attn_implementation="eager").eval()  # not model.float(): its RoPE table is rounded
    twin.load_state_dict(model.state_dict())
    probe = list(range(3, 50))
    if not torch.equal(forward(load(folder), probe), forward(twin, probe)):
        raise SystemExit(f"{case.name}: the model read back from its files gives other logits")


def ablations(case, model, ids, want):
    """How far each listed mistake moves the logits (largest row distance)."""
    moved = {}
    cls = type(model)
    for label, changes in case.ablate.items():
        fields = {k: v for k, v in {**case.config, **changes}.items()}
        wrong = cls._from_config(type(model.config)(**fields), attn_implementation="eager").eval()
        wrong.load_state_dict(model.state_dict())
        moved[label] = relative(forward(wrong, ids), want)
    for label, (pattern, value) in case.ablate_weights.items():
        wrong = cls._from_config(model.config, attn_implementation="eager").eval()
        state = {k: torch.full_like(v, value) if re.search(pattern, k) else v for k, v in model.state_dict().items()}
        wrong.load_state_dict(state)
        moved[label] = relative(forward(wrong, ids), want)
    for label, d in moved.items():
        if not d > MIN_ABLATION:
            raise SystemExit(f"{case.name}: {label}: moves the logits by {d:.2g}, expected more than {MIN_ABLATION}")
    return {k: float(f"{v:.3g}") for k, v in moved.items()}


def evaluate(case, folder, seed, prompt_seed):
    """expected.json and expected.safetensors, or None where greedy decoding is too close to a tie."""
    model = load(folder)
    sdpa = load(folder, "sdpa") if model._supports_sdpa else model  # Gemma 2's score softcap rules it out
    generator = torch.Generator().manual_seed(prompt_seed)
    texts = tokenizer.PROMPTS if case.tokenizer else {}
    prompts, logits, noise = [], {}, 0.0
    for name, n in PROMPTS.items():
        vocab = case.config["vocab_size"]
        ids = tokenizer.encode(folder, texts[name]) if texts else torch.randint(3, vocab, (n,), generator=generator).tolist()
        new, margins = greedy(model, ids)
        if min(margins) < MIN_MARGIN or (name == "long" and len(set(new)) < MIN_DISTINCT):
            return None
        whole = ids + new[:-1]
        want = forward(model, whole)
        if want[len(ids) - 1 :].argmax(-1).tolist() != new:
            raise SystemExit(f"{case.name}: {name}: cached and uncached greedy ids differ")
        for other in [forward(sdpa, whole), chunked(model, whole, [1]), chunked(sdpa, whole, [5, 3, 11, 1])]:
            noise = max(noise, relative(other, want))
        logits[name + ".logits"] = want.contiguous()
        row = {"name": name, "ids": ids, "greedy": new, "margins": [round(m, 4) for m in margins]}
        if texts:
            row |= {"text": texts[name], "greedy_text": tokenizer.decode(folder, new)}
        prompts.append(row)
    if noise > MAX_NOISE:
        raise SystemExit(f"{case.name}: float32 evaluations differ by {noise:.2g}, expected at most {MAX_NOISE}")
    whole = prompts[0]["ids"] + prompts[0]["greedy"][:-1]
    expected = {
        "name": case.name,
        "what": case.what,
        "class": type(model).__name__,
        "stored_dtype": case.dtype,
        "seed": seed,
        "prompt_seed": prompt_seed,
        "versions": {"torch": torch.__version__.split("+")[0], "transformers": transformers.__version__},
        "logits": "NAME.logits in expected.safetensors: float32 [len(ids) + len(greedy) - 1, vocab], row i after ids+greedy[:i+1]",
        "logits_std": round(float(logits["long.logits"].std()), 3),
        "noise": float(f"{noise:.2g}"),
        "ablations": ablations(case, model, whole, logits["long.logits"]),
        "prompts": prompts,
    }
    if case.tokenizer:
        expected["tokenizer"] = tokenizer.facts(folder)
    return expected, logits


def dumps(expected):
    """JSON with one line a field, lists of numbers on one line."""
    text = json.dumps(expected, indent=1, ensure_ascii=False)
    return re.sub(r"\[\s+([-\d.e,\s]+?)\s+\]", lambda m: "[" + re.sub(r"\s+", " ", m[1]) + "]", text) + "\n"


def make(case):
    folder = HERE / case.name
    for seed in range(1000, 1400):
        write(case, folder, seed)
        if case.tokenizer:
            tokenizer.write(folder)
        done = evaluate(case, folder, seed, seed + 1)
        if done:
            break
    else:
        raise SystemExit(f"{case.name}: no seed of 400 keeps greedy margins above {MIN_MARGIN}")
    expected, logits = done
    (folder / "expected.json").write_text(dumps(expected))
    safetensors.torch.save_file(logits, folder / "expected.safetensors")
    (folder / "expected.safetensors").chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    weakest = min(expected["ablations"].items(), key=lambda kv: kv[1], default=("", 0))
    print(
        f"{case.name:14} seed {seed} {size / 1000:6.0f} kB  std {expected['logits_std']:.2f}  noise {expected['noise']:.1e}  "
        f"weakest ablation {weakest[1]:.3g} ({weakest[0]})",
        flush=True,
    )


if __name__ == "__main__":
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    wanted = sys.argv[1:] or [c.name for c in MODELS]
    known = {c.name: c for c in MODELS}
    for name in wanted:
        make(known[name])
