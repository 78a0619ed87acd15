#!/usr/bin/env python3
"""Makes official.gguf and official.safetensors: small files as their formats' own Python packages write them.

Made with gguf 0.19.0, safetensors 0.8.0 and numpy 2; official_test.go states the contents again.
"""
import os
import numpy as np
from gguf import GGUFWriter, GGMLQuantizationType as T, GGUFValueType as V
from safetensors.numpy import save_file

here = os.path.dirname(os.path.abspath(__file__))

w = GGUFWriter(os.path.join(here, "official.gguf"), "llama")
w.add_uint8("t.u8", 250)
w.add_int8("t.i8", -5)
w.add_uint16("t.u16", 65000)
w.add_int16("t.i16", -300)
w.add_uint32("t.u32", 4000000000)
w.add_int32("t.i32", -70000)
w.add_uint64("t.u64", 1 << 63)
w.add_int64("t.i64", -(1 << 40))
w.add_float32("t.f32", 0.1)
w.add_float64("t.f64", 0.1)
w.add_bool("t.bool", True)
w.add_string("t.string", "naïve \u2581 \0 end")
w.add_array("t.ints", [1, -2, 3])
w.add_array("t.floats", [0.5, -1.5])
w.add_array("t.bools", [True, False, True])
w.add_array("t.strings", ["<s>", "", "日本"])
w.add_custom_alignment(64)
w.add_tensor("a.weight", np.arange(6, dtype=np.float32).reshape(2, 3))
w.add_tensor("b.weight", np.arange(10, dtype=np.float16))
w.add_tensor("q.weight", np.arange(2 * 36, dtype=np.uint8).reshape(2, 36), raw_dtype=T.Q4_0)
w.add_tensor("deep", np.arange(24, dtype=np.int32).reshape(1, 2, 3, 4))
w.write_header_to_file()
w.write_kv_data_to_file()
w.write_tensors_to_file()
w.close()

save_file({
    "a": np.arange(6, dtype=np.float32).reshape(2, 3),
    "b": np.arange(3, dtype=np.float16),
    "c": np.arange(4, dtype=np.int32).reshape(4, 1),
    "d": np.zeros((0, 5), dtype=np.float32),
    "e \u00e9\"\\": np.arange(3, dtype=np.uint8),
    "f": np.array([True, False]),
    "g": np.arange(2, dtype=np.int64),
}, os.path.join(here, "official.safetensors"), metadata={"format": "pt"})
