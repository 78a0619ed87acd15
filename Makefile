# make run     set up what is missing, compile the default model for this machine, generate text
# make test    everything that CI runs; it ends each part with the tests that were skipped, and why
# make build   bin/quire
#
# All of it works offline when nothing is missing.

GO     ?= go
PROMPT ?= Why is the sky blue?
export CGO_ENABLED = 0

COMMIT := $(shell git describe --always --dirty --abbrev=12 2>/dev/null)
BUILD  := $(GO) build -trimpath -buildvcs=false -ldflags '-s -w -X quire/tools/model.commit=$(COMMIT)'
TEST   := $(GO) run ./tests/report $(GO) test -p 2 -vet=off

FUZZTIME ?= 30s
SEEDS    ?= 20

.PHONY: run test build llvm data format vet gorgonia arch unit golden conformance kernels models script race fuzz sweep gpu-check ptx rewrites passkeys

build:
	@$(BUILD) -o bin/quire ./tools/quire

run: build
	@sh tests/fetch/debian.sh || : # what is compiled already runs without LLVM
	@bin/quire pull smollm2 >/dev/null
	@bin/quire compile smollm2
	@bin/quire run -m smollm2 -p '$(PROMPT)'

test: llvm data format vet gorgonia arch unit golden conformance kernels models script race

# LLVM and Graphviz: needed to compile a model, not to run a compiled one.
llvm:
	@sh tests/fetch/debian.sh

# What tests and measurements read besides this repository. Without it they say so and skip, unless QUIRE_REQUIRE_DATA is set.
data:
	@for f in smollm2 texts vocabs ptxas; do \
		sh tests/fetch/$$f.sh >/dev/null || [ -z "$$QUIRE_REQUIRE_DATA" ] || exit 1; \
	done

format:
	@bad=$$("$$($(GO) env GOROOT)/bin/gofmt" -l .); [ -z "$$bad" ] || { echo "not formatted by gofmt:"; echo "$$bad"; exit 1; }

vet:
	@$(GO) vet ./...

# The adapter for gorgonia.org/cu, vetted and built with CUDA 12's headers and no driver: what libcuda has is left open.
gorgonia:
	@h=$$(sh tests/fetch/cuda_headers.sh) && command -v cc >/dev/null || { \
		echo "gorgonia: not vetted: CUDA 12's headers (tests/fetch/cuda_headers.sh) and a C compiler are needed"; \
		[ -z "$$QUIRE_REQUIRE_DATA" ]; exit; }; \
	tmp=$$(mktemp -d); trap 'rm -rf "$$tmp"' EXIT; echo | cc -shared -x c - -o "$$tmp/libcuda.so"; \
	export CGO_ENABLED=1 CGO_CFLAGS="-O1 -I$$h" CGO_LDFLAGS="-L$$tmp -Wl,--unresolved-symbols=ignore-all"; \
	$(GO) vet -tags gorgonia ./runtime/cuda/gorgonia && $(GO) build -tags gorgonia ./runtime/cuda/gorgonia

# Import laws, sizes of files, documentation of packages; what names the tests that were skipped.
arch:
	@$(TEST) ./tests/arch/... ./tests/report/... ./tests/gpucheck/...

unit:
	@$(TEST) $$($(GO) list ./... | grep -v -e '^quire/tests/' -e '^quire/codegen')

# Passes and IR as texts.
golden:
	@$(TEST) ./tests/golden/...

# Every kernel on the CPU device against the oracle.
conformance:
	@$(TEST) ./tests/conformance/...

# Kernels on this processor, and for NVIDIA's assembled by ptxas.
kernels:
	@$(TEST) ./codegen/...

# Whole models against other people's software; the commands that measure.
models:
	@$(TEST) ./tests/e2e/... ./tests/bench/...

# The command line.
script:
	@$(TEST) -count=1 ./tests/script/... # the binary is none of its inputs to Go

# The runtime once more, without what one goroutine compares for minutes.
race:
	@CGO_ENABLED=1 $(TEST) -race -skip '^(TestHFIDsEqualTokenizers|TestOwnStrings.*|TestK5LongRuns)$$' ./runtime/...

# Long runs, no part of `make test`: every fuzz target for FUZZTIME, every model of the conformance suite with SEEDS scripts.
fuzz:
	@grep -rn --include='*_test.go' -o '^func Fuzz[A-Za-z0-9]*' . | sed 's|^\./||; s|/[^/]*:func | |' | while read -r dir name; do \
		echo "$$dir $$name"; $(GO) test -vet=off -run '^$$' -fuzz "^$$name\$$" -fuzztime $(FUZZTIME) "./$$dir" || exit 1; \
	done

sweep:
	@$(TEST) -timeout 0 ./tests/conformance/... -seeds $(SEEDS)

# Tables of quality on the default model, about 40 and 15 minutes; either goes on where it was stopped. FLAGS: go run ./tests/bench/quality rewrites -h
rewrites: llvm data
	@$(GO) run ./tests/bench/quality rewrites $(FLAGS)

passkeys: llvm data
	@$(GO) run ./tests/bench/quality passkeys -tokens 4096 $(FLAGS)

# Every kernel of every example spec through ptxas, minutes of it.
ptx:
	@$(TEST) -timeout 0 ./tests/conformance -run ExampleKernels -assemble

# A folder that checks a GPU on a machine with a driver and no more: bin/gpu-check/run.sh there. SMOLLM2=no leaves
# the model's 100 MB out.
gpu-check: build
	@sh tests/gpucheck/build.sh bin/gpu-check
