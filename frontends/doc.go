// Package frontends opens a model, whatever holds it: a GGUF file, a Hugging Face directory or a YAML spec. Load is
// the one call that a compiler needs before its pipeline.
//
// Border law: this package and those below it import ir and ir/types/...; this one also runtime/program and
// runtime/token, for what a Program carries. No pass, no codegen and nothing else of runtime.
//
// Reading order: model.go (Load and what it gives), spec.go (YAML), describe.go (what a model file says about
// tokens, sampling and chat), manifest.go (the same for a Program), then the packages: weights (files), decoder (the model family), spec (YAML).
//
//	m, err := frontends.Load("model.gguf", frontends.Options{})
//	defer m.Close()
//	fmt.Print(ir.Print(m.Module))
package frontends
