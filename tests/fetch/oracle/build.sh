#!/bin/sh
# build.sh SOURCE OUT: compiles ids.cpp against the unpacked llama-cpp-python source
# package SOURCE (only the vocabulary files of llama.cpp, about two minutes on one core).
set -eu
here=$(cd "$(dirname "$0")" && pwd)
src=$1/vendor/llama.cpp
out=$2
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
sed 's/@[A-Z_]*@/0/' "$src/ggml/src/ggml-version.h.in" >"$work/ggml-version.h"
flags="-O1 -w -I$work -ffunction-sections -fdata-sections -I$src/include -I$src/src -I$src/ggml/include -I$src/ggml/src"
defs="-D_GNU_SOURCE"
for f in ggml.c ggml-alloc.c ggml-quants.c; do
	cc -std=gnu11 $flags $defs -c "$src/ggml/src/$f" -o "$work/$f.o"
done
for f in ggml/src/ggml.cpp ggml/src/gguf.cpp ggml/src/ggml-backend.cpp ggml/src/ggml-backend-meta.cpp ggml/src/ggml-threading.cpp \
	src/llama-vocab.cpp src/unicode.cpp src/unicode-data.cpp src/llama-model-loader.cpp \
	src/llama-mmap.cpp src/llama-arch.cpp src/llama-impl.cpp src/llama-hparams.cpp; do
	c++ -std=c++17 $flags $defs -c "$src/$f" -o "$work/$(basename "$f").o"
done
c++ -std=c++17 $flags -c "$here/ids.cpp" -o "$work/ids.o"
c++ -Wl,--gc-sections "$work"/*.o -lpthread -o "$out"
