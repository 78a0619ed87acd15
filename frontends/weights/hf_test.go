package weights_test

import (
	"bytes"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"quire/frontends/weights"
)

// shard is a safetensors file of f32 scalars-in-a-vector with these names.
func shard(t *testing.T, names ...string) string {
	t.Helper()
	var tensors []weights.TensorData
	for i, n := range names {
		tensors = append(tensors, weights.TensorData{Name: n, Enc: "f32", Shape: []int64{1}, Data: f32s(float32(i))})
	}
	var b bytes.Buffer
	if err := weights.WriteSafetensors(&b, nil, tensors); err != nil {
		t.Fatal(err)
	}
	return b.String()
}

// dir makes a directory of files, name to content, with a config.json unless given.
func dir(t *testing.T, files map[string]string) string {
	t.Helper()
	d := t.TempDir()
	if _, ok := files["config.json"]; !ok {
		put(t, filepath.Join(d, "config.json"), `{"model_type":"llama"}`)
	}
	for name, text := range files {
		put(t, filepath.Join(d, name), text)
	}
	return d
}

func put(t *testing.T, path, text string) {
	t.Helper()
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// index is a shard index of "tensor=shard" pairs.
func index(pairs ...string) string {
	var b strings.Builder
	for _, p := range pairs {
		tensor, file, _ := strings.Cut(p, "=")
		fmt.Fprintf(&b, ",%q:%q", tensor, file)
	}
	return `{"metadata":{"total_size":8,"more":[{"a":[null,true,-1.5e3]}]},"weight_map":{` + strings.TrimPrefix(b.String(), ",") + `}}`
}

func TestOpenDirectory(t *testing.T) {
	s := open(t, dir(t, map[string]string{
		"model.safetensors": shard(t, "a", "b"), "tokenizer.json": "{1}", "tokenizer_config.json": "{2}",
		"generation_config.json": "{3}", "special_tokens_map.json": "{4}", "chat_template.jinja": "{{ 5 }}", "quant_config.json": "{6}",
	}))
	for _, c := range []struct {
		got  []byte
		want string
	}{
		{s.Config, `{"model_type":"llama"}`}, {s.Tokenizer, "{1}"}, {s.TokenizerConfig, "{2}"}, {s.GenerationConfig, "{3}"},
		{s.SpecialTokens, "{4}"}, {s.ChatTemplate, "{{ 5 }}"}, {s.QuantizeConfig, "{6}"},
	} {
		if string(c.got) != c.want {
			t.Errorf("%q, expected %q", c.got, c.want)
		}
	}
	if s.Format != weights.HuggingFace || len(s.Tensors) != 2 || len(s.Files) != 1 {
		t.Errorf("%s with %d tensors in %d files", s.Format, len(s.Tensors), len(s.Files))
	}
}

func TestOpenShards(t *testing.T) {
	s := open(t, dir(t, map[string]string{
		"m-1.safetensors": shard(t, "b", "a"), "m-2.safetensors": shard(t, "c"),
		"model.safetensors.index.json": index("c=m-2.safetensors", "a=m-1.safetensors", "b=m-1.safetensors"),
	}))
	var names []string
	for _, x := range s.Tensors {
		names = append(names, fmt.Sprint(x.Name, x.File))
	}
	if got := strings.Join(names, " "); got != "b0 a0 c1" {
		t.Errorf("%s, expected b0 a0 c1", got)
	}
	if s.Tensor("c").Data()[0] != 0 || s.Tensor("a").Data()[3] != 0x3f {
		t.Error("data of another tensor")
	}
}

func TestRejectDirectory(t *testing.T) {
	ab := map[string]string{"m-1.safetensors": shard(t, "a"), "m-2.safetensors": shard(t, "b")}
	with := func(index string, more ...string) map[string]string {
		files := map[string]string{"model.safetensors.index.json": index}
		for k, v := range ab {
			files[k] = v
		}
		for i := 0; i < len(more); i += 2 {
			files[more[i]] = more[i+1]
		}
		return files
	}
	for _, c := range []struct {
		name  string
		files map[string]string
		want  []string
	}{
		{"no weights", map[string]string{}, []string{"neither model.safetensors nor model.safetensors.index.json"}},
		{"pickled weights", map[string]string{"pytorch_model.bin": "x"}, []string{`it holds "pytorch_model.bin": save the model as safetensors`}},
		{"GGUF inside", map[string]string{"m.gguf": "x"}, []string{`it holds "m.gguf": name that file`}},
		{"bad tensor file", map[string]string{"model.safetensors": "12345678"}, []string{"model.safetensors: header of"}},
		{"S18 parent", with(index("a=../../etc/passwd")), []string{"index.json", `tensor "a"`, `shard "../../etc/passwd"`}},
		{"S18 absolute", with(index("a=/etc/passwd")), []string{"index.json", `tensor "a"`, `shard "/etc/passwd"`}},
		{"S18 folder", with(index("a=sub/m-1.safetensors")), []string{"index.json", `tensor "a"`, `shard "sub/`}},
		{"S18 backslash", with(index(`a=..\m`)), []string{"index.json", `tensor "a"`, "shard"}},
		{"S18 dots", with(index("a=..")), []string{"index.json", `tensor "a"`, `shard ".."`}},
		{"S18 empty", with(index("a=")), []string{"index.json", `tensor "a"`, `shard ""`}},
		{"S18 escapes", with(`{"weight_map":{"a":"\u001b[31m.safetensors"}}`), []string{"index.json", `tensor "a"`, "shard"}},
		{"S18 the directory", with(index("a=.")), []string{"index.json", `tensor "a"`}},
		{"S19 shard missing", with(index("a=m-1.safetensors", "b=m-3.safetensors")), []string{"m-3.safetensors", "no such file"}},
		{"S19 listed twice", with(index("a=m-1.safetensors", "a=m-2.safetensors")), []string{"index.json", `key "a" twice`}},
		{"S19 in two shards", with(index("a=m-1.safetensors", "b=m-2.safetensors"), "m-2.safetensors", shard(t, "a", "b")), []string{"m-2.safetensors", `tensor "a"`, "also in", "m-1.safetensors"}},
		{"S19 in another shard", with(index("a=m-2.safetensors", "b=m-1.safetensors")), []string{`tensor "a"`, "m-2.safetensors", "absent"}},
		{"S19 absent", with(index("a=m-1.safetensors", "z=m-1.safetensors")), []string{`tensor "z"`, "absent"}},
		{"index not JSON", with("x"), []string{"index.json", "byte 0"}},
		{"index without map", with(`{"metadata":{}}`), []string{"index.json", "no weight_map"}},
		{"index map empty", with(`{"weight_map":{}}`), []string{"index.json", "no weight_map"}},
		{"index map of numbers", with(`{"weight_map":{"a":1}}`), []string{"index.json", `tensor "a"`, `"1", expected '"'`}},
		{"index nested", with(`{"x":` + strings.Repeat("[", 200_000)), []string{"index.json", "nested 64 deep"}},
		{"index map twice", with(`{"weight_map":{"a":"m-1.safetensors"},"weight_map":{"b":"m-2.safetensors"}}`), []string{"index.json", "twice"}},
	} {
		t.Run(c.name, func(t *testing.T) { reject(t, dir(t, c.files), c.want...) })
	}
	t.Run("no config", func(t *testing.T) {
		d := t.TempDir()
		put(t, filepath.Join(d, "model.safetensors"), shard(t, "a"))
		reject(t, d, "no config.json")
	})
}

// TestRejectLinks: S18 again, by symbolic link: out of the directory, to a device, to a pipe that would block.
func TestRejectLinks(t *testing.T) {
	out := write(t, "m.safetensors", []byte(shard(t, "a")))
	for _, name := range []string{"m-1.safetensors", "model.safetensors.index.json", "model.safetensors", "tokenizer.json"} {
		d := dir(t, nil)
		if name == "m-1.safetensors" {
			put(t, filepath.Join(d, "model.safetensors.index.json"), index("a=m-1.safetensors"))
		}
		if err := os.Symlink(out, filepath.Join(d, name)); err != nil {
			t.Fatal(err)
		}
		reject(t, d, name, "escapes")
	}
	d := dir(t, map[string]string{"real": shard(t, "a")})
	if err := os.Symlink("real", filepath.Join(d, "model.safetensors")); err != nil {
		t.Fatal(err)
	}
	open(t, d) // a link that stays inside is as good as a file
}

// TestOpenHubSnapshot: the Hugging Face hub's cache holds links from snapshots/REV to blobs beside it.
func TestOpenHubSnapshot(t *testing.T) {
	model := filepath.Join(t.TempDir(), "models--org--name")
	snap := filepath.Join(model, "snapshots", "0123abc")
	put(t, filepath.Join(model, "blobs", "c0"), `{}`)
	put(t, filepath.Join(model, "blobs", "5a"), shard(t, "a"))
	put(t, filepath.Join(snap, "README"), "")
	for name, to := range map[string]string{"config.json": "../../blobs/c0", "model.safetensors": "../../blobs/5a"} {
		if err := os.Symlink(to, filepath.Join(snap, name)); err != nil {
			t.Fatal(err)
		}
	}
	if s := open(t, snap); s.Tensor("a") == nil || string(s.Config) != "{}" {
		t.Error("the snapshot's files are absent")
	}
	out := write(t, "evil", []byte("{}"))
	if err := os.Symlink(out, filepath.Join(snap, "tokenizer.json")); err != nil {
		t.Fatal(err)
	}
	reject(t, snap, "tokenizer.json", "escapes")
}

func TestOpenWithoutWeights(t *testing.T) {
	d := dir(t, map[string]string{"tokenizer.json": "{}"})
	s, err := weights.OpenWith(d, weights.Options{NoWeights: true})
	if err != nil {
		t.Fatal(err)
	}
	if len(s.Tensors) != 0 || len(s.Files) != 0 || string(s.Tokenizer) != "{}" {
		t.Errorf("%d tensors", len(s.Tensors))
	}
	if err := s.Close(); err != nil {
		t.Fatal(err)
	}
}
