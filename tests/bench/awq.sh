#!/bin/sh
# awq.sh: perplexity of the default model on a text, as it is, rounded to nearest, and by AWQ, at 4 and 3 bits in groups of 64
# and 32. About two minutes a row on two cores. Prints a row a line; checkpoints go to a folder of their own.
#
#	tests/bench/awq.sh [QUIRE] [DIR]
set -eu
quire=${1:-bin/quire}
out=${2:-$(mktemp -d)}
texts=$(sh "$(dirname "$0")/../fetch/texts.sh")
ppl() { "$quire" score -m "$1" -f "$texts/test.txt" --window 512 | sed 's/.*perplexity //'; }

printf 'reference %s\n' "$(ppl smollm2)"
for bits in 4 3; do
	for group in 64 32; do
		for how in none activation duo; do
			dir=$out/w$bits-g$group-$how
			[ -f "$dir/config.json" ] || "$quire" quantize -m smollm2 -o "$dir" --text "$texts/calibration.txt" --bits $bits --group $group \
				--search $how --windows 32 --format compressed-tensors >"$dir.log"
			printf '%s bits, groups of %s, %s: %s\n' $bits $group $how "$(ppl "$dir")"
		done
	done
done
