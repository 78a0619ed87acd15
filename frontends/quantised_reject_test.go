package frontends

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/frontends/weights"
)

// Cases A1 to A4 of the ecosystem facts, and what else a packed checkpoint may get wrong: each is refused with the
// name of the tensor or key, when the model is opened or, for values, when they are read.
func TestPackedReject(t *testing.T) {
	const v = "model.layers.0.self_attn.v_proj"
	drop := func(*weights.TensorData) bool { return false }
	for _, c := range []struct {
		name, model string
		config      [2]string // a text of config.json and its replacement
		tensor      string
		edit        func(*weights.TensorData) bool // false drops the tensor
		want        string
	}{
		{"A1 qweight", "awq_gemm_g64_bias", [2]string{}, v + ".qweight", func(x *weights.TensorData) bool {
			x.Shape = []int64{64, 16}
			return true
		}, "tensor \"" + v + ".qweight\": shape [64 16], expected [128 8] of 64 x 128 values"},
		{"A1 qzeros", "awq_gemm_g64_bias", [2]string{}, v + ".qzeros", func(x *weights.TensorData) bool {
			x.Shape = []int64{1, 16}
			return true
		}, "tensor \"" + v + ".qzeros\": shape [1 16], expected [2 8]"},
		{"A1 scales", "awq_gemm_g64_bias", [2]string{`"group_size": 64`, `"group_size": 32`}, "", nil, ".scales\": shape [2 128], expected [4 128]"},
		{"A2 group 0", "awq_gemm_g64_bias", [2]string{`"group_size": 64`, `"group_size": 0`}, "", nil, `key "quantization_config.group_size": 0, expected a positive number`},
		{"A2 not dividing", "awq_gemm_g64_bias", [2]string{`"group_size": 64`, `"group_size": 48`}, "", nil, "groups of 48 columns, expected a multiple of 8 that divides 128"},
		{"A3 NaN", "gptq_v2_w4_g64_asym", [2]string{}, v + ".scales", func(x *weights.TensorData) bool {
			binary.LittleEndian.PutUint16(x.Data, 0x7e00)
			return true
		}, "tensor \"" + v + ".scales\": row 0, group 0: NaN, expected a finite number"},
		{"A3 infinity", "ct_w4_g64_asym", [2]string{}, v + ".weight_scale", func(x *weights.TensorData) bool {
			binary.LittleEndian.PutUint16(x.Data[4:], 0x7c00)
			return true
		}, "tensor \"" + v + ".weight_scale\": row 1, group 0: +Inf, expected a finite number"},
		{"A4 pack order", "awq_gemm_g64_bias", [2]string{`"version": "gemm"`, `"version": "exllama"`}, "", nil, `key "quantization_config.version": "exllama", expected gemm, gemv`},
		{"group of a column", "gptq_w4_g64_act_order", [2]string{}, v + ".g_idx", func(x *weights.TensorData) bool {
			binary.LittleEndian.PutUint32(x.Data[12:], 2)
			return true
		}, "tensor \"" + v + ".g_idx\": column 3 is in group 2, expected one below 2"},
		{"groups of other sizes", "gptq_w4_g64_act_order", [2]string{}, v + ".g_idx", func(x *weights.TensorData) bool {
			clear(x.Data)
			return true
		}, "tensor \"" + v + ".g_idx\": group 0 has 128 columns, expected 64"},
		{"fewer columns", "gptq_w4_g64_act_order", [2]string{}, v + ".g_idx", func(x *weights.TensorData) bool {
			x.Shape[0], x.Data = 64, x.Data[:256]
			return true
		}, "tensor \"" + v + ".g_idx\": shape [1 64], expected [1 128]"},
		{"no scales", "awq_gemm_g64_bias", [2]string{}, v + ".scales", drop, "tensor \"" + v + ".scales\": absent, expected beside " + v + ".qweight"},
		{"no zeros", "awq_gemm_g64_bias", [2]string{}, v + ".qzeros", drop, "tensor \"" + v + ".qzeros\": absent"},
		{"no codes", "awq_gemm_g64_bias", [2]string{}, v + ".qweight", drop, "tensor \"" + v + ".weight\": absent"},
		{"bias", "gptq_w4_g32_asym_bias", [2]string{}, "model.layers.0.mlp.down_proj.bias", func(x *weights.TensorData) bool {
			x.Data[0] = 1
			return true
		}, "tensor \"model.layers.0.mlp.down_proj.bias\": read by nothing"},
		{"shape", "ct_w4_g64_asym", [2]string{}, v + ".weight_shape", func(x *weights.TensorData) bool {
			x.Data[0]++
			return true
		}, "tensor \"" + v + ".weight_shape\": [65 128], expected [64 128]"},
	} {
		t.Run(c.name, func(t *testing.T) {
			dir := edited(t, filepath.Join(reference, "quantised", c.model), c.config, c.tensor, c.edit)
			m, err := Load(dir, Options{})
			if err == nil {
				defer m.Close()
				_, err = m.Float32(v)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("error %v, expected ...%s...", err, c.want)
			}
		})
	}
}

// edited copies a checkpoint with one text of its configuration replaced and one tensor edited.
func edited(t *testing.T, dir string, config [2]string, tensor string, edit func(*weights.TensorData) bool) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Contains(text, []byte(config[0])) {
		t.Fatalf("no %s in config.json", config[0])
	}
	if config[0] != "" {
		text = bytes.Replace(text, []byte(config[0]), []byte(config[1]), 1)
	}
	src, err := weights.Open(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer src.Close()
	var tensors []weights.TensorData
	found := tensor == ""
	for _, x := range src.Tensors {
		d := weights.TensorData{Name: x.Name, Enc: x.Enc, Shape: x.Shape, Data: bytes.Clone(x.Data())}
		if d.Name == tensor {
			if found = true; !edit(&d) {
				continue
			}
		}
		tensors = append(tensors, d)
	}
	if !found {
		t.Fatalf("no tensor %s", tensor)
	}
	var file bytes.Buffer
	if err := weights.WriteSafetensors(&file, nil, tensors); err != nil {
		t.Fatal(err)
	}
	out := t.TempDir()
	for name, data := range map[string][]byte{"config.json": text, "model.safetensors": file.Bytes()} {
		if err := os.WriteFile(filepath.Join(out, name), data, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	return out
}
