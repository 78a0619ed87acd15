// Command gpucheck is the whole check of a GPU, from a folder that was made where there is none:
//
//	make gpu-check            here, with Go and LLVM: fills bin/gpu-check
//	./run.sh                  there, with NVIDIA's driver and no more: a table and a verdict
//
// The folder holds test binaries (of runtime/cuda/driver, codegen/kernels and tests/conformance), the PTX that their
// kernels became, and, if the model was at hand (SMOLLM2=no leaves its 100 MB out), quire, SmolLM2 compiled for
// sm_90a and the tokens that float32 gives. A row of the table is a part:
//
//	driver      launches, graphs, refused code and a fault through the binding
//	kernels     each kernel against plain loops: odd sizes, 1 to 64 sequences, caches of 128K tokens
//	families    a tiny model of each family against the oracle (ir/interp), dense and with every rewrite
//	encodings   of each encoding of weights
//	rewrites    with every subset of the rewrites
//	variants    the models that CI simulates
//	steps       10,000 steps of sequences that come, fork and go: no hang, no leak
//	smollm2     greedy tokens, wherever float32's margin exceeds 0.05
//	memcheck, racecheck   a tiny model under compute-sanitizer, where there is one that takes the device
//
// The tests say themselves which models and kernels there are (tests/conformance/gpu_test.go): a rewrite that gets
// kernels shows up in the table by itself. What a part could not do is counted as not run, by name, never as passed.
// So is what -limit (240s, say) left no time for. Logs of all parts are in logs/. The exit code is 0 if all ran and passed, 1 if something failed, 3 if nothing
// failed but something did not run.
//
// Border law: as tests; the standard library alone, for a machine that has nothing.
package main
