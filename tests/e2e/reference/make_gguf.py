"""Writes GGUF files with llama.cpp's own converter and quantiser, and what transformers computes from them.

    PYTHONPATH=LLAMA_CPP:LLAMA_CPP/gguf-py python make_gguf.py LLAMA_QUANTIZE

LLAMA_CPP is llama.cpp's source folder (for conversion/ and gguf-py/), LLAMA_QUANTIZE its program.
Run make.py first: CONVERTED are its checkpoints, stored without loss, so expected.* of their folders
holds for the GGUF too. QUANTIZED are models of this file alone; their expected logits come from the
weights that its gguf-py dequantises, evaluated by transformers in float32.
"""

import json
import logging
import pathlib
import shutil
import subprocess
import sys
import tempfile

import conversion
import gguf
import numpy as np
import safetensors.torch
import torch
import transformers

import make
from models import MODELS, Case, sizes

OUT = make.HERE / "gguf"
SEED = 2000  # of the quantised models' weights
FILE_TYPE = {"float32": "ALL_F32", "float16": "MOSTLY_F16", "bfloat16": "MOSTLY_BF16"}
CONVERTED = ["smollm2", "llama31", "qwen25", "qwen3", "gemma2_old", "gemma3", "phi3"]

LEGACY = Case("legacy", "", "Llama", sizes(rms_norm_eps=1e-5, num_hidden_layers=2, intermediate_size=96, tie_word_embeddings=True))
KQUANT = Case(
    "kquant",
    "",
    "Llama",
    sizes(hidden_size=256, intermediate_size=256, num_hidden_layers=1, num_key_value_heads=1, tie_word_embeddings=True),
)
MIXED = {  # a second layer of LEGACY's shape in every encoding that 32-blocks allow
    "blk.0.attn_q": "q4_0",
    "blk.0.attn_k": "q4_1",
    "blk.0.attn_v": "q5_0",
    "blk.0.attn_output": "q5_1",
    "blk.0.ffn_gate": "q8_0",
    "blk.0.ffn_up": "iq4_nl",
    "blk.0.ffn_down": "f16",
    "blk.1.attn_q": "bf16",
    "blk.1.attn_k": "f32",
    "blk.1.attn_v": "q8_0",
    "blk.1.attn_output": "iq4_nl",
    "blk.1.ffn_gate": "q5_1",
    "blk.1.ffn_up": "q5_0",
    "blk.1.ffn_down": "q4_1",
}
MIXED_K = {
    "blk.0.attn_q": "q4_K",
    "blk.0.attn_k": "q5_K",
    "blk.0.attn_v": "q6_K",
    "blk.0.attn_output": "q5_K",
    "blk.0.ffn_gate": "q4_K",
    "blk.0.ffn_up": "q4_K",
    "blk.0.ffn_down": "q6_K",
}
QUANTIZED = [  # name, case, llama-quantize type, embedding type, tensor types
    ("q4_0", LEGACY, "Q4_0", "q8_0", {}),
    ("q4_1", LEGACY, "Q4_1", "q8_0", {}),
    ("q5_0", LEGACY, "Q5_0", "q5_0", {}),
    ("q5_1", LEGACY, "Q5_1", "q5_1", {}),
    ("q8_0", LEGACY, "Q8_0", "q8_0", {}),
    ("iq4_nl", LEGACY, "IQ4_NL", "q4_0", {}),
    ("mixed", LEGACY, "Q8_0", "f16", MIXED),
    ("mixed_k", KQUANT, "Q4_K_M", "q6_K", MIXED_K),
]
NAMES = {  # GGUF's name of a Llama tensor -> Hugging Face's
    "attn_q": "self_attn.q_proj",
    "attn_k": "self_attn.k_proj",
    "attn_v": "self_attn.v_proj",
    "attn_output": "self_attn.o_proj",
    "ffn_gate": "mlp.gate_proj",
    "ffn_up": "mlp.up_proj",
    "ffn_down": "mlp.down_proj",
    "attn_norm": "input_layernorm",
    "ffn_norm": "post_attention_layernorm",
}


def no_vocab(model):
    model._set_vocab_none()
    model.gguf_writer.add_vocab_size(model.hparams["vocab_size"])


def convert(folder, out, file_type, vocab):
    """llama.cpp's converter, with the vocabulary that it cannot know."""
    config = json.loads((folder / "config.json").read_text())
    base = conversion.get_model_class(config["architectures"][0])
    fields = {"set_vocab": base._set_vocab_gpt2, "get_vocab_base_pre": lambda self, tok: "smollm"}
    if not vocab:
        fields = {"set_vocab": no_vocab}
    fields["model_arch"] = base.model_arch
    out.parent.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as temp:
        copy = pathlib.Path(temp) / folder.name
        shutil.copytree(folder, copy)
        if not vocab:  # Gemma 3's converter counts the tokens even when it writes none
            counted = {"model": {"vocab": {str(i): i for i in range(config["vocab_size"])}}, "added_tokens": []}
            (copy / "tokenizer.json").write_text(json.dumps(counted))
        type(base.__name__, (base,), fields)(copy, gguf.LlamaFileType[file_type], out).write()
    out.chmod(0o644)


def hf_name(name):
    if name in ("token_embd.weight", "output_norm.weight"):
        return {"token_embd.weight": "model.embed_tokens.weight", "output_norm.weight": "model.norm.weight"}[name]
    _, layer, kind, suffix = name.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.{suffix}"


def halves(w, heads):
    """Rows of interleaved rotation pairs back in Hugging Face's order of two halves."""
    return w.reshape(heads, w.shape[0] // heads // 2, 2, -1).swapaxes(1, 2).reshape(w.shape)


def dequantised(path, config):
    state, types = {}, {}
    for t in gguf.GGUFReader(path).tensors:
        w = gguf.quants.dequantize(t.data, t.tensor_type).astype(np.float32)
        heads = {"attn_q": config.num_attention_heads, "attn_k": config.num_key_value_heads}
        kind = t.name.split(".")[-2]
        if kind in heads:
            w = halves(w, heads[kind])
        state[hf_name(t.name)] = torch.from_numpy(np.ascontiguousarray(w))
        types[t.name] = t.tensor_type.name
    return state, types


def quantise(case, quantize, temp):
    """The unquantised checkpoint of this case, and {row name: GGUF path} of each of its QUANTIZED rows."""
    folder = temp / case.name
    make.write(case, folder, SEED)
    whole = temp / (case.name + ".gguf")
    convert(folder, whole, "ALL_F32", vocab=False)
    paths = {}
    for name, of, kind, embed, tensors in QUANTIZED:
        if of is not case:
            continue
        paths[name] = temp / (name + ".gguf")
        types = [f"--tensor-type={k.replace('.', chr(92) + '.')}={v}" for k, v in tensors.items()]
        flags = ["--token-embedding-type", embed] + [part for t in types for part in t.split("=", 1)]
        run = subprocess.run([quantize, *flags, whole, paths[name], kind, "1"], capture_output=True, text=True)
        if run.returncode != 0:
            raise SystemExit(f"{name}: llama-quantize: {run.stdout[-800:]}{run.stderr[-800:]}")
    return folder, paths


def evaluate(name, case, folder, path):
    """expected.json and logits of one quantised file, with the first prompts that keep the greedy margins."""
    state, types = dequantised(path, transformers.AutoConfig.from_pretrained(folder))
    plain = temp_folder(folder, state)
    for prompt_seed in range(3000, 3200):
        done = make.evaluate(Case(name, "", case.arch, case.config), plain, SEED, prompt_seed)
        if done:
            break
    else:
        raise SystemExit(f"{name}: no prompt seed of 200 keeps the greedy margins")
    expected, logits = done
    expected.pop("stored_dtype"), expected.pop("ablations")
    expected["what"] = "quantised by llama.cpp, dequantised by its gguf-py, evaluated by transformers in float32"
    expected["versions"]["llama.cpp"] = "llama-cpp-python 0.3.36"
    expected["tensor_types"] = types
    return expected, logits


def temp_folder(folder, state):
    """A float32 checkpoint of the dequantised weights beside folder, so that make.evaluate can read it."""
    plain = folder.with_name(folder.name + "-dequantised")
    shutil.rmtree(plain, ignore_errors=True)
    shutil.copytree(folder, plain)
    safetensors.torch.save_file(state, plain / "model.safetensors", metadata={"format": "pt"})
    return plain


def make_quantised(case, quantize):
    with tempfile.TemporaryDirectory() as temp:
        folder, paths = quantise(case, quantize, pathlib.Path(temp))
        for name, path in paths.items():
            save(name, path, *evaluate(name, case, folder, path))


def save(name, path, expected, logits):
    folder = OUT / name
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(parents=True)
    shutil.copyfile(path, folder / "model.gguf")
    (folder / "expected.json").write_text(make.dumps(expected))
    safetensors.torch.save_file(logits, folder / "expected.safetensors")
    for file in folder.iterdir():
        file.chmod(0o644)
    size = sum(f.stat().st_size for f in folder.iterdir())
    print(f"{name:8} seed {expected['seed']} {size / 1000:6.0f} kB  noise {expected['noise']:.1e}", flush=True)


def main():
    [quantize] = sys.argv[1:]
    torch.set_num_threads(1)
    logging.disable(logging.WARNING)  # of keys set twice
    transformers.logging.set_verbosity_error()
    transformers.logging.disable_progress_bar()
    cases = {c.name: c for c in MODELS}
    for name in CONVERTED:
        out = OUT / name / "model.gguf"
        shutil.rmtree(out.parent, ignore_errors=True)
        convert(make.HERE / name, out, FILE_TYPE[cases[name].dtype], vocab=cases[name].tokenizer)
        print(f"{name:12} {out.stat().st_size / 1000:6.0f} kB", flush=True)
    for case in [LEGACY, KQUANT]:
        make_quantised(case, quantize)


if __name__ == "__main__":
    main()
