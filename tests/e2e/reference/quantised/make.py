"""Writes the small packed checkpoints (one layer each) and what the packages and transformers make of them.

    python make.py            all of them
    python make.py NAME ...   some of them

Every matrix is rounded to nearest, packed by the format's own package on a CPU and, where the package can, dequantised
by it again; README.md says with which versions. autoawq and gptqmodel are read from unpacked sources: AUTOAWQ and
GPTQMODEL name their folders.
"""

import hashlib
import json
import os
import pathlib
import sys
import types

import torch
import transformers
from safetensors.torch import save_file

HERE = pathlib.Path(__file__).parent
GREEDY = 12
MIN_MARGIN = 0.05  # far above what the rounding of matrices to float16 moves
HIDDEN, FFN, VOCAB, HEADS, KV = 128, 192, 64, 2, 1


def autoawq():
    root = os.environ["AUTOAWQ"]
    package = types.ModuleType("awq")  # its __init__ wants models and data sets
    package.__path__ = [root + "/awq"]
    sys.modules["awq"] = package
    import awq.modules.linear as linear

    return linear


def gptqmodel():
    sys.path.insert(0, os.environ["GPTQMODEL"])
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v2_to_v1_format_module

    return TorchLinear, convert_gptq_v2_to_v1_format_module


def model(arch, generator):
    common = dict(
        hidden_size=HIDDEN, intermediate_size=FFN, num_hidden_layers=1, num_attention_heads=HEADS, num_key_value_heads=KV,
        vocab_size=VOCAB, max_position_embeddings=128, rms_norm_eps=1e-5, tie_word_embeddings=True, bos_token_id=1, eos_token_id=2,
    )
    if arch == "qwen2":
        m = transformers.Qwen2ForCausalLM(transformers.Qwen2Config(**common))
    else:
        m = transformers.LlamaForCausalLM(transformers.LlamaConfig(head_dim=HIDDEN // HEADS, **common))
    for name, p in sorted(m.named_parameters()):
        std, mean = 1.2 / p.shape[-1] ** 0.5, 0.0
        if "norm" in name:
            std, mean = 0.3, 1.0
        elif name.endswith("bias"):
            std = 0.5
        elif "embed" in name:
            std = 2.0 / HIDDEN**0.5
        p.data = (mean + std * torch.randn(p.shape, generator=generator)).half()
        if "proj.weight" in name:
            p.data[:, ::37] *= 4
            p.data[0, :64] = p.data[0, :64].abs() + 0.01  # groups of one sign, and of zeros
            p.data[1, :64] = -p.data[1, :64].abs() - 0.01
            p.data[2, :64] = 0
    return m.float().eval()


def linears(m):
    return [(n, l) for n, l in m.named_modules() if isinstance(l, torch.nn.Linear) and "proj" in n]


def ranges(w, bits, group, symmetric):
    """Scales and zeros [N, K/group] in float16, zero in the range of every group."""
    g = w.half().float().reshape(w.shape[0], -1, group)
    top = 2**bits - 1
    if symmetric:
        s = g.abs().amax(-1).clamp(min=1e-5) * 2 / top
        return s.half(), torch.full_like(s, 2 ** (bits - 1)).half()
    lo, hi = g.amin(-1).clamp(max=0), g.amax(-1).clamp(min=0)
    s = ((hi - lo).clamp(min=1e-5) / top).half()
    return s, (-lo / s.float()).round().clamp(0, top).half()


def rounded(w, s, z, bits):
    """The weight that codes stand for, in float16."""
    g = w.half().float().reshape(*s.shape, -1)
    q = (torch.round(g / s.float()[..., None]) + z.float()[..., None]).clamp(0, 2**bits - 1)
    return ((q - z.float()[..., None]) * s.float()[..., None]).half().reshape(w.shape)


def pack_awq(version):
    def pack(name, layer, case):
        linear = autoawq()
        s, z = ranges(layer.weight.data, 4, case["group"], version == "marlin")
        half = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None).half()
        half.weight.data = rounded(layer.weight.data, s, z, 4)
        if layer.bias is not None:
            half.bias.data = layer.bias.data.half()
        of = {"gemm": linear.WQLinear_GEMM, "gemv": linear.WQLinear_GEMV, "gemv_fast": linear.WQLinear_GEMVFast, "marlin": linear.WQLinear_Marlin}[version]
        if version == "gemm":
            s, z = s.t().contiguous(), z.t().contiguous()
        if version == "marlin":
            z = None
        packed = of.from_linear(half, 4, case["group"], False, s, z)
        state = {name + "." + k: v.contiguous() for k, v in packed.state_dict().items() if k != "workspace"}
        if half.bias is not None:
            state[name + ".bias"] = half.bias.data
        return state, half.weight.data

    return pack


def pack_gptq(name, layer, case):
    TorchLinear, to_v1 = gptqmodel()
    bits, group = case["bits"], case["group"]
    s, z = ranges(layer.weight.data, bits, group, case["sym"])
    q = TorchLinear(bits, group, case["sym"], case["desc_act"], layer.in_features, layer.out_features, bias=layer.bias is not None)
    g_idx = torch.arange(layer.in_features, dtype=torch.int32) // group
    if case["desc_act"]:
        g_idx = g_idx[torch.randperm(layer.in_features, generator=torch.Generator().manual_seed(1))]
    half = torch.nn.Linear(layer.in_features, layer.out_features, bias=layer.bias is not None)
    half.weight.data, half.bias = layer.weight.data.half().float(), layer.bias
    q.pack_original(half, s.float(), z.float(), g_idx)
    q.post_init()
    w = q.dequantize_weight().t().contiguous().half()
    if case["format"] == "gptq":
        to_v1(q, types.SimpleNamespace(bits=bits, pack_dtype=torch.int32))
    keep = {"qweight", "qzeros", "scales", "g_idx", "bias"}
    state = {name + "." + k: v.contiguous() for k, v in q.state_dict().items() if k in keep}
    if case.get("zero_bias") and name + ".bias" not in state:  # as AutoGPTQ writes them
        state[name + ".bias"] = torch.zeros(layer.out_features, dtype=torch.float16)
    return state, w


def pack_ct(name, layer, case):
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme
    from compressed_tensors.quantization.utils import calculate_qparams

    dtype, bits = case.get("dtype", torch.float16), case["bits"]
    w = layer.weight.data.to(dtype)
    group = case["group"] or layer.in_features
    g = w.reshape(w.shape[0], -1, group)
    args = QuantizationArgs(num_bits=bits, symmetric=case["sym"], strategy="group" if case["group"] else "channel", group_size=case["group"] or None)
    s, z = calculate_qparams(g.amin(-1), g.amax(-1), args)
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    state = {"weight": w, "weight_scale": s.to(dtype), "weight_zero_point": z.to(torch.int8)}
    packed = PackedQuantizationCompressor.compress(dict(state), scheme)
    back = PackedQuantizationCompressor.decompress(dict(packed), scheme)["weight"]
    out = {name + "." + k: v.contiguous() for k, v in packed.items() if v is not None}
    return out, back


def config_awq(version):
    return lambda case: {
        "quant_method": "awq", "version": version, "bits": 4, "group_size": case["group"], "zero_point": version != "marlin", "modules_to_not_convert": None,
    }


def config_gptq(case):
    return {"quant_method": "gptq", "bits": case["bits"], "group_size": case["group"], "desc_act": case["desc_act"], "sym": case["sym"], "checkpoint_format": case["format"]}


def config_ct(case):
    weights = {"num_bits": case["bits"], "type": "int", "symmetric": case["sym"], "dynamic": False}
    weights |= {"strategy": "group", "group_size": case["group"]} if case["group"] else {"strategy": "channel", "group_size": None}
    return {
        "quant_method": "compressed-tensors", "format": "pack-quantized", "quantization_status": "compressed", "ignore": ["lm_head"],
        "config_groups": {"group_0": {"targets": ["Linear"], "weights": weights}},
    }


def gptq(**k):
    return dict(pack=pack_gptq, config=config_gptq, desc_act=False) | k


def ct(**k):
    return dict(pack=pack_ct, config=config_ct) | k


CASES = {
    "awq_gemm_g64_bias": dict(pack=pack_awq("gemm"), config=config_awq("gemm"), group=64, arch="qwen2"),
    "awq_gemv_g64": dict(pack=pack_awq("gemv"), config=config_awq("gemv"), group=64),
    "awq_gemv_fast_g64": dict(pack=pack_awq("gemv_fast"), config=config_awq("gemv_fast"), group=64),
    "awq_marlin_g64": dict(pack=pack_awq("marlin"), config=config_awq("marlin"), group=64),
    "gptq_w4_g32_asym_bias": gptq(bits=4, group=32, sym=False, format="gptq", arch="qwen2", zero_bias=True),
    "gptq_v2_w4_g64_asym": gptq(bits=4, group=64, sym=False, format="gptq_v2"),
    "gptq_w3_g64_asym": gptq(bits=3, group=64, sym=False, format="gptq"),
    "gptq_w4_g64_act_order": gptq(bits=4, group=64, sym=True, desc_act=True, format="gptq"),
    "ct_w4_g64_asym": ct(bits=4, group=64, sym=False),
    "ct_w4_channel_sym": ct(bits=4, group=0, sym=True),
    "ct_w3_g64_bf16": ct(bits=3, group=64, sym=False, dtype=torch.bfloat16),
}


def follow(m, ids):
    """The logits of the prompt, the greedy ids after it, and the margin between the first two logits at each."""
    last, greedy, margins = None, [], []
    for _ in range(GREEDY):
        row = m(ids).logits[0, -1]
        last = row if last is None else last
        two = row.topk(2).values
        margins.append(round(float(two[0] - two[1]), 4))
        greedy.append(int(row.argmax()))
        ids = torch.cat([ids, ids.new_tensor([[greedy[-1]]])], 1)
    return last, greedy, margins


@torch.no_grad()
def make(name):
    case, generator = CASES[name], torch.Generator().manual_seed(len(name) * 1000 + sum(map(ord, name)))
    m = model(case.get("arch", "llama"), generator)
    tensors, digests = {}, {}
    for n, layer in linears(m):
        state, w = case["pack"](n, layer, case)
        tensors |= state
        digests[n + ".weight"] = {
            "dtype": str(w.dtype).removeprefix("torch."),
            "sha256": hashlib.sha256(w.contiguous().view(torch.int16).numpy().tobytes()).hexdigest(),
        }
        layer.weight.data = w.float()
    for n, p in m.named_parameters():
        if "proj" not in n and n != "lm_head.weight":
            tensors[n] = p.data.half()
    while True:
        prompt = torch.randint(3, VOCAB, (1, 12), generator=generator)
        last, greedy, margins = follow(m, prompt)
        if min(margins) >= MIN_MARGIN:
            break
    out = HERE / name
    out.mkdir(exist_ok=True)
    config = json.loads(m.config.to_json_string(use_diff=False))
    keep = ["architectures", "hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads", "num_key_value_heads", "head_dim", "vocab_size",
            "max_position_embeddings", "rms_norm_eps", "tie_word_embeddings", "hidden_act", "rope_parameters", "bos_token_id", "eos_token_id"]
    config = {k: config[k] for k in keep if k in config} | {"architectures": [type(m).__name__], "quantization_config": case["config"](case)}
    (out / "config.json").write_text(json.dumps(config, indent=1) + "\n")
    save_file({k: v.clone() for k, v in sorted(tensors.items())}, out / "model.safetensors")
    expected = {"matrices": digests, "reference": {"input_ids": prompt[0].tolist(), "last_logits_f32": last.tolist(), "greedy_f32": greedy, "margin": margins}}
    (out / "expected.json").write_text(json.dumps(expected) + "\n")
    print(f"{name}: smallest margin {min(margins)}, {(out / 'model.safetensors').stat().st_size} bytes")


if __name__ == "__main__":
    for name in sys.argv[1:] or CASES:
        make(name)
