"""Prints, for checkpoints that quire wrote, the digest of every matrix as the format's own package dequantises it.

    python read.py DIR ... > digests.json

README.md says with which versions; AUTOAWQ names the folder of autoawq's unpacked sources, as for make.py.
"""

import hashlib
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

import make


def awq(tensors, config, module):
    make.autoawq()
    from awq.utils.packing_utils import dequantize_gemm

    w = dequantize_gemm(tensors[module + ".qweight"], tensors[module + ".qzeros"], tensors[module + ".scales"], config["bits"], config["group_size"])
    return w.t()


def compressed(tensors, config, module):
    from compressed_tensors.compressors import PackedQuantizationCompressor
    from compressed_tensors.quantization import QuantizationArgs, QuantizationScheme

    args = QuantizationArgs(**config["config_groups"]["group_0"]["weights"])
    scheme = QuantizationScheme(targets=["Linear"], weights=args)
    state = {k.removeprefix(module + "."): v for k, v in tensors.items() if k.startswith(module + ".")}
    return PackedQuantizationCompressor.decompress(state, scheme)["weight"]


def read(path):
    config = json.loads((path / "config.json").read_text())["quantization_config"]
    tensors = {}
    for f in sorted(path.glob("*.safetensors")):
        tensors |= load_file(f)
    how, suffix = (awq, ".qweight") if config["quant_method"] == "awq" else (compressed, ".weight_packed")
    out = {}
    for name in sorted(tensors):
        if name.endswith(suffix):
            module = name.removesuffix(suffix)
            w = how(tensors, config, module).half().contiguous()
            out[module] = hashlib.sha256(w.view(torch.int16).numpy().tobytes()).hexdigest()
    return out


if __name__ == "__main__":
    print(json.dumps({pathlib.Path(d).name: read(pathlib.Path(d)) for d in sys.argv[1:]}, indent=1))
