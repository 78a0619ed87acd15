#!/bin/sh
# awq.sh: perplexity of the default model on a text, as it is, rounded to nearest, and by AWQ with either search, without and
# with clips, at 4 and 3 bits in groups of 64 and 32. Two to three minutes a row on two cores. Prints a row a line as it comes;
# checkpoints and rows go to a folder, where a run that was killed goes on.
#
#	tests/bench/awq.sh [QUIRE] [DIR]      # default: bin/quire, awq in the cache folder
#	WINDOWS=8 tests/bench/awq.sh          # calibrate on 8 windows of 512 tokens, not on 32: quicker, and worse
set -eu
quire=${1:-bin/quire}
windows=${WINDOWS:-32}
out=${2:-${QUIRE_CACHE_DIR:-${XDG_CACHE_HOME:-$HOME/.cache}/quire}/awq-$windows}
texts=$(sh "$(dirname "$0")/../fetch/texts.sh")
mkdir -p "$out"

# ppl NAME MODEL: its perplexity, computed once.
ppl() {
	if [ ! -s "$out/$1.ppl" ]; then
		"$quire" score -m "$2" -f "$texts/test.txt" --window 512 >"$out/$1.score"
		sed -n 's/.*perplexity //p' "$out/$1.score" >"$out/$1.ppl"
	fi
	cat "$out/$1.ppl"
}

printf 'reference: %s\n' "$(ppl reference smollm2)"
for bits in 4 3; do
	for group in 64 32; do
		for how in none activation activation+clip duo duo+clip; do
			name=w$bits-g$group-$how
			clip=
			[ "$how" = "${how%+clip}" ] || clip=--clip
			[ -f "$out/$name/config.json" ] || "$quire" quantize -m smollm2 -o "$out/$name" --text "$texts/calibration.txt" \
				--bits $bits --group $group --search "${how%+clip}" $clip --windows "$windows" --format compressed-tensors >"$out/$name.log"
			printf '%s bits, groups of %s, %s: %s\n' $bits $group "$how" "$(ppl "$name" "$out/$name")"
		done
	done
done
