// Package checkpoint writes Hugging Face directories whose linears are packed integers, in layouts that other software
// loads: AutoAWQ's gemm (ir/types/packed awq-gemm) and compressed-tensors' pack-quantized.
//
//	config.json                       the model's own with quantization_config; made from the configuration for a GGUF
//	model.safetensors                 or shards with an index; float16 but for packed codes
//	tokenizer.json and the like       carried over; written from GGUF's keys where they can be (runtime/token.ToHF)
//	generation_config.json            carried over; from GGUF's keys
//
// The linears of layers are packed; embeddings, norms, biases and the head are float16. The same arguments give the same bytes.
//
// Border law: imports quire/frontends and its packages, quire/ir/types/..., quire/runtime/token. It knows no pass and
// no kernel.
package checkpoint
