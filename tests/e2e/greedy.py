"""Compare a program's greedy tokens with Hugging Face transformers' (testdata/smollm2/greedy.json), on any device.

    python3 tests/e2e/greedy.py bin/quire MODEL [--device cuda]

MODEL is smollm2, or what `quire compile smollm2 -o FILE.quire` made elsewhere. Prints for each prompt how many tokens
are equal; where they part, the reference's margin between its first two logits. Exit code 1 if they part where that
margin is above 0.05 (on a CPU, --margin 0.001).
"""

import argparse
import json
import pathlib
import subprocess
import sys

p = argparse.ArgumentParser()
p.add_argument("quire")
p.add_argument("model")
p.add_argument("--device", default="auto")
p.add_argument("--margin", type=float, default=0.05)
a = p.parse_args()
reference = json.loads((pathlib.Path(__file__).parent / "testdata/smollm2/greedy.json").read_text())
bad = False
for prompt in reference["prompts"]:
    want = prompt["tokens"]
    ids = ",".join(map(str, prompt["prompt_ids"]))
    run = subprocess.run(
        [a.quire, "run", "-m", a.model, "--tokens", ids, "-n", str(len(want)), "--ignore-eos", "--temp", "0", "--device", a.device, "--json"],
        check=True, stdout=subprocess.PIPE)
    got = json.loads(run.stdout)["tokens"]
    equal = next((i for i, w in enumerate(want) if i >= len(got) or got[i] != w), len(want))
    line = f"{prompt['name']}: {equal} of {len(want)} tokens equal"
    if equal < len(want):
        margin = prompt["margin"][equal]
        line += f", then a margin of {margin}"
        bad |= margin > a.margin
    print(line)
sys.exit(bad)
