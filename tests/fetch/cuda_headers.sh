#!/bin/sh
# cuda_headers.sh: CUDA 12's headers, which the adapter for gorgonia.org/cu is compiled with (12 MB kept). Prints their folder.
set -eu
. "$(dirname "$0")/lib.sh"

version=12.9.79
wheel=25bba2dfb01d48a9b59ca474a1ac43c6ebf7011f1b0b8cc44f54eb6ac48a96c3
dir=$cache/cuda/headers-$version

if [ ! -f "$dir/cuda.h" ]; then
	mkdir -p "$cache/cuda"
	tmp=$(mktemp -d "$cache/cuda/.fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	say "downloading the headers of CUDA $version"
	got=$(package "$tmp" "$wheel" "nvidia-cuda-runtime-cu12==$version")
	python3 -m zipfile -e "$got" "$tmp/wheel"
	rm -rf "$dir"
	mv -f "$(dirname "$(find "$tmp/wheel" -name cuda.h)")" "$dir"
fi
printf '%s\n' "$dir"
