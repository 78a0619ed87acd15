#!/bin/sh
# vocabs.sh: llama.cpp's test vocabularies with their .inp and .out files, and the chat templates that it collects,
# from the source package of llama-cpp-python (77 MB to download, 75 MB kept). Prints the folder.
set -eu
. "$(dirname "$0")/lib.sh"

version=0.3.36
sum=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
dir=$cache/vocab
mark=$dir/.llama-cpp-python-$version-2 # the last number counts what this script keeps

if [ ! -f "$mark" ]; then
	mkdir -p "$dir"
	tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	say "downloading the vocabularies of llama-cpp-python $version (77 MB)"
	got=$(package "$tmp" "$sum" --no-binary llama-cpp-python "llama-cpp-python==$version")
	top=llama_cpp_python-$version/vendor/llama.cpp
	tar -xzf "$got" -C "$tmp" --strip-components=3 "$top/models" "$top/tests/test-chat-template.cpp"
	for f in "$tmp"/models/ggml-vocab-*; do
		mv -f "$f" "$dir/"
	done
	rm -rf "$dir/templates"
	mv "$tmp/tests/test-chat-template.cpp" "$tmp/models/templates/"
	mv "$tmp/models/templates" "$dir/templates"
	: >"$mark"
fi
printf '%s\n' "$dir"
