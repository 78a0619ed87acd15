#!/bin/sh
# int4.sh: decode speed of AWQ's integers of 4 bits in groups of 32 beside ggml's Q4_0, whose groups have 32 too: SmolLM2-135M's
# shape, random weights, the embedding in Q8_0 in both. Rounds are interleaved. Prints tokens a second of every round, the
# medians, and what a step must read.
#
#	tests/bench/int4.sh [QUIRE] [ROUNDS]      # default: bin/quire, 5
set -eu
quire=${1:-bin/quire}
rounds=${2:-5}
spec=$(dirname "$0")/../../frontends/spec/examples/smollm2-135m.yaml
tmp=$(mktemp -d)
trap 'rm -rf "$tmp"' EXIT
for e in q4g32 q4_0; do
	sed "s/attn: q4_1, mlp: q4_1/attn: $e, mlp: $e/" "$spec" >"$tmp/$e.yaml"
	"$quire" compile "$tmp/$e.yaml" --kv f16 -o "$tmp/$e.quire" >/dev/null 2>&1
done
for round in $(seq "$rounds"); do
	for e in q4g32 q4_0; do
		"$quire" bench -m "$tmp/$e.quire" --device cpu --threads 2 --prefill 0 --decode 128 --reps 1 --json >"$tmp/$e.$round.json" 2>/dev/null
	done
done
python3 - "$tmp" "$rounds" <<'PY'
import json, pathlib, statistics, sys

for e, name in ("q4g32", "AWQ, groups of 32"), ("q4_0", "Q4_0"):
    runs = [json.loads((pathlib.Path(sys.argv[1]) / f"{e}.{i + 1}.json").read_text()) for i in range(int(sys.argv[2]))]
    speed = [r["decode_tok_s"] for r in runs]
    print(f"{name:18}  {statistics.median(speed):6.1f} tok/s ({' '.join(f'{s:.1f}' for s in speed)}), {runs[0]['bytes_per_step'] / 1e6:.1f} MB a step")
PY
