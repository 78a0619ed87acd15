"""Prints, for checkpoints that quire wrote, the digest of every matrix as the format's own package dequantises it.

    python read.py DIR ... > digests.json

README.md says with which versions; AUTOAWQ and GPTQMODEL name the folders of autoawq's and gptqmodel's unpacked sources, as
for make.py. Both read AWQ's layout: gptqmodel's digests come under the checkpoint's name and "by gptqmodel".
"""

import hashlib
import json
import pathlib
import sys

import torch
from safetensors.torch import load_file

import make

OUT, sys.stdout = sys.stdout, sys.stderr  # gptqmodel greets on stdout


def awq(tensors, config, module):
    make.autoawq()
    from awq.utils.packing_utils import dequantize_gemm

    w = dequantize_gemm(tensors[module + ".qweight"], tensors[module + ".qzeros"], tensors[module + ".scales"], config["bits"], config["group_size"])
    return w.t()


def awq_by_gptqmodel(tensors, config, module):
    make.gptqmodel()
    from gptqmodel.quantization.awq.utils.packing_utils import dequantize_gemm

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
    ways, suffix = {"": compressed}, ".weight_packed"
    if config["quant_method"] == "awq":
        ways, suffix = {"": awq, " by gptqmodel": awq_by_gptqmodel}, ".qweight"
    out = {}
    for by, how in ways.items():
        digests = out[path.name + by] = {}
        for name in sorted(tensors):
            if name.endswith(suffix):
                module = name.removesuffix(suffix)
                w = how(tensors, config, module).half().contiguous()
                digests[module] = hashlib.sha256(w.view(torch.int16).numpy().tobytes()).hexdigest()
    return out


if __name__ == "__main__":
    digests = {}
    for d in sys.argv[1:]:
        digests |= read(pathlib.Path(d))
    print(json.dumps(digests, indent=1), file=OUT)
