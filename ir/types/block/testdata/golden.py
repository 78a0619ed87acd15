#!/usr/bin/env python3
"""Makes the golden vectors beside this file: what ggml says the bytes of each encoding mean.

For each encoding E of ggml:
  E.x.f32    float32 inputs of the quantiser
  E.q.bin    the bytes that ggml's quantize_row_E_ref makes of them (absent for q4_k q5_k q6_k: ours is simpler)
  E.in.bin   blocks to decode: random bits, hostile scales included
  E.out.f32  what ggml's dequantize_row_E says they are

Two references, compared with each other here: ggml's C (compiled from a llama.cpp source tree without fused
multiply-adds) and the Python package gguf (numpy). Where they differ, ggml's C is written and the difference printed.

  python3 golden.py GGML      # GGML: the ggml folder of a llama.cpp source tree

Made with gguf 0.19.0, numpy 2 and the llama.cpp inside llama-cpp-python 0.3.36 (gcc -O2 -ffp-contract=off). The
grouped integers have no outside reference: see grouped_test.go.
"""
import ctypes, os, subprocess, sys, tempfile
import numpy as np
from gguf import quants
from gguf.constants import GGMLQuantizationType as T, GGML_QUANT_SIZES

here = os.path.dirname(os.path.abspath(__file__))
ENCODINGS = ["q4_0", "q4_1", "q5_0", "q5_1", "q8_0", "q4_K", "q5_K", "q6_K", "iq4_nl"]
SCALES = {"q4_0": [0], "q4_1": [0, 2], "q5_0": [0], "q5_1": [0, 2], "q8_0": [0], "iq4_nl": [0],
          "q4_K": [0, 2], "q5_K": [0, 2], "q6_K": [208]}
HALVES = [0x0000, 0x8000, 0x0001, 0x03ff, 0x0400, 0x3c00, 0xbc00, 0x7bff, 0xfbff, 0x2e66]


def build(ggml):
    out = os.path.join(tempfile.mkdtemp(), "quants.so")
    stub = os.path.join(os.path.dirname(out), "stub.c")
    with open(stub, "w") as f:
        f.write("float ggml_table_f32_f16[1 << 16];\n")
    subprocess.check_call(["gcc", "-O2", "-std=gnu11", "-D_GNU_SOURCE", "-ffp-contract=off", "-mf16c", "-fPIC", "-shared", "-w",
                           "-I", ggml + "/include", "-I", ggml + "/src", ggml + "/src/ggml-quants.c", stub, "-lm", "-o", out])
    return ctypes.CDLL(out, mode=os.RTLD_LAZY)


def call(fn, src, dst, k):
    fn.argtypes = [ctypes.c_void_p, ctypes.c_void_p, ctypes.c_int64]
    fn(src.ctypes.data, dst.ctypes.data, k)


def inputs(rng, block):
    """Eight blocks: plain, tiny, huge, one-signed, constant, zero, ties, one outlier."""
    x = rng.standard_normal((8, block)).astype(np.float32)
    x[1] *= 1e-4
    x[2] *= 3e3
    x[3] = np.abs(x[3]) + 1
    x[4] = 0.375
    x[5] = 0
    x[6] = np.round(x[6] * 4) / 2
    x[7, 5] = -40
    return x.reshape(-1)


def main():
    lib = build(sys.argv[1])
    for enc in ENCODINGS:
        qt = getattr(T, enc.upper())
        block, size = GGML_QUANT_SIZES[qt]
        rng = np.random.default_rng(len(enc) * 1000 + size)
        name = enc.lower()

        raw = rng.integers(0, 256, (10 if block == 32 else 4, size), dtype=np.uint8)
        for at in SCALES[enc]:
            h = np.resize(np.array(HALVES, np.uint16), len(raw)) if at == 0 else rng.choice(np.array(HALVES, np.uint16), len(raw))
            raw[:, at:at + 2] = h.view(np.uint8).reshape(-1, 2)
        raw = np.concatenate([raw, rng.integers(0, 256, (2, size), dtype=np.uint8)])
        for at in SCALES[enc]:  # two ordinary blocks last
            raw[-2:, at:at + 2] = rng.uniform(-.1, .1, 2).astype(np.float16).view(np.uint8).reshape(2, 2)
        out = np.zeros(len(raw) * block, np.float32)
        call(getattr(lib, "dequantize_row_" + enc), raw, out, out.size)
        other = quants.dequantize(raw, qt).reshape(-1)
        if not np.array_equal(out.view(np.uint32), other.view(np.uint32)):
            print(f"{name}: numpy gguf decodes {np.sum(out != other)} values otherwise ({np.sum(out.view(np.uint32) != other.view(np.uint32))} bit patterns)")
        raw.tofile(os.path.join(here, name + ".in.bin"))
        out.tofile(os.path.join(here, name + ".out.f32"))

        x = inputs(rng, block)
        x.tofile(os.path.join(here, name + ".x.f32"))
        if block == 256:
            continue
        q = np.zeros(x.size // block * size, np.uint8)
        call(getattr(lib, f"quantize_row_{enc}_ref"), x, q, x.size)
        try:
            other = quants.quantize(x, qt).reshape(-1)
            if not np.array_equal(q, other):
                print(f"{name}: numpy gguf encodes {np.sum(q != other)} of {q.size} bytes otherwise")
        except NotImplementedError:
            print(f"{name}: numpy gguf has no quantiser")
        q.tofile(os.path.join(here, name + ".q.bin"))


main()
