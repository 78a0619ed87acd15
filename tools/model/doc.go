// Package model turns a MODEL argument into a compiled Program: a GGUF file, a Hugging Face directory, a YAML spec, a
// compiled .quire file, or a short name that Pull knows. It is what the command line does, for Go programs.
//
// Compile is the three calls of the compiler (load, run the pipeline, build). Build, Open and Load are Compile behind a cache on disk:
// a Program is kept with its weights laid out, so that the next start maps one file and needs no LLVM.
//
// Border law: tools alone may link the compiler and the runtime together, so this package imports frontends, passes,
// codegen and runtime. Nothing below tools imports it.
//
// Reading order: resolve.go (what MODEL is), compile.go, open.go and key.go (the cache), tokenizer.go, pull.go.
//
//	rt, err := runtime.Open(ctx, runtime.NewConfig())
//	defer rt.Close(ctx)
//	prog, built, err := model.Load(ctx, rt, "model.gguf", model.Options{})
package model
