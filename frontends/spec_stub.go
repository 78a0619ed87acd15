package frontends

import "quire/frontends/weights"

func loadSpec(path string, o Options) (*Model, error) {
	return nil, &weights.Error{File: path, Msg: "a YAML spec, expected a GGUF file or a Hugging Face directory"}
}
