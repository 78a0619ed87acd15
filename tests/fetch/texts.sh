#!/bin/sh
# texts.sh: two English texts, one to calibrate on and one to measure on: documents of llama.cpp and of llama-cpp-python
# from the source package of the latter (77 MB to download, 250 kB kept). Prints the folder.
set -eu
. "$(dirname "$0")/lib.sh"

version=0.3.36
sum=832db0699007f1be95a7e41ef12e88926b02ba836461e36a36372db2760c1a2e
dir=$cache/texts

if [ ! -f "$dir/.llama-cpp-python-$version" ]; then
	mkdir -p "$dir"
	tmp=$(mktemp -d "$dir/.fetch.XXXXXX")
	trap 'rm -rf "$tmp"' EXIT
	say "downloading the documents of llama-cpp-python $version (77 MB)"
	got=$(package "$tmp" "$sum" --no-binary llama-cpp-python "llama-cpp-python==$version")
	mkdir "$tmp/x"
	tar -xzf "$got" -C "$tmp/x" --strip-components=1
	in=$tmp/x/vendor/llama.cpp
	(cd "$in" && cat docs/build.md docs/backend/SYCL.md docs/speculative.md docs/autoparser.md docs/function-calling.md) >"$tmp/calibration.txt"
	cat "$tmp/x/README.md" "$in/CONTRIBUTING.md" "$in/docs/development/HOWTO-add-model.md" "$in/tools/server/README-dev.md" >"$tmp/test.txt"
	mv "$tmp/calibration.txt" "$tmp/test.txt" "$dir/"
	: >"$dir/.llama-cpp-python-$version"
fi
printf '%s\n' "$dir"
