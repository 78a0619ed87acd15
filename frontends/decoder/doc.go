// Package decoder is the family of decoder-only language models: Llama 2, 3 and 3.1, Mistral, SmolLM2, Qwen 2, 2.5 and
// 3, Gemma 2 and 3 (text) and Phi-3. They are one model with fields: Config says which, and no model has code of its
// own.
//
// Border law: this package imports ir, ir/types and frontends/weights. It runs no pass, knows no machine and computes
// no number of a model.
//
// Reading order: config.go (the fields and what they mean), validate.go (which values are legal), roles.go (which
// weights a Config needs, and their names in IR, Hugging Face and GGUF), build.go (the step function), hf.go and
// gguf.go (files to Config), bind.go (weights to tensors of a file), random.go (weights without a file).
//
//	cfg, err := decoder.FromSource(src)       // config.json or GGUF keys
//	bindings, err := decoder.Bind(cfg, src)   // every weight: tensor, rows, encoding
//	module, err := decoder.Build(cfg, bindings)
//
// The module has one function, @step: one layer of it, in short:
//
//	%h = rmsnorm %x, @model.layers.0.input_layernorm {eps = 1e-05}
//	%q = matmul %h, @model.layers.0.self_attn.q_proj      // k and v alike; a bias is an add, a quantised weight a dequant
//	%qr = rope (unflatten %q), %cs
//	%kv1 = kv.append %kv0, %kr, %v, %seq
//	%a = attention %qr, %kv1, %seq {scale = 0.125}
//	%x1 = add %x, (matmul (flatten %a), @model.layers.0.self_attn.o_proj)
//	...                                                   // the same with gate, up and down
package decoder
