#!/bin/sh
# ptxas.sh: NVIDIA's assembler for PTX, from the Python package of the CUDA compiler (51 MB kept). Prints its path.
set -eu
. "$(dirname "$0")/lib.sh"

version=13.5.37
wheel=f5c4f7ead5d964fb4af42bbf1e6d3ec3c1e6e9d83b53749f691d387e7fcaa3a7
dir=$cache/cuda
file=$dir/bin/ptxas
mark=$dir/.nvidia-cuda-nvcc-$version

if [ ! -f "$mark" ]; then
	mkdir -p "$dir/bin"
	tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	say "downloading ptxas $version"
	got=$(package "$tmp" "$wheel" "nvidia-cuda-nvcc==$version")
	python3 -m zipfile -e "$got" "$tmp/wheel"
	mv -f "$(find "$tmp/wheel" -path '*/bin/ptxas')" "$file"
	chmod +x "$file"
	: >"$mark"
fi
printf '%s\n' "$file"
