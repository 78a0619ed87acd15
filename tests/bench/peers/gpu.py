"""llama.cpp beside Quire on one GPU: the same work by turns, in one run, as a table.

    python3 gpu.py --quire bin/quire --int4 l8.quire --llama build/bin --gguf l8-q4_0.gguf [--rows 1k,128k] [--rounds 2] [--budget 480]

--int4 is a program of Llama-3-8B's shapes for this GPU (tests/bench/README.md has the command); the GGUF has the same shapes
in Q4_0, with whatever weights. A row is run by each side in turn, --rounds times; when --budget seconds are over, what is left
is named and not run. Rates are tokens a second; all of a side's rounds are shown, then the ratio of the medians.
"""

import argparse
import json
import statistics
import subprocess
import sys
import time

# name: Quire's arguments; llama.cpp's program and arguments; which of its numbers is the row's
ROWS = {
    "empty": (["--ctx", "4096", "--prefill", "0", "--decode", "128"], "llama-bench", ["-p", "0", "-n", "128"]),
    "1k": (["--ctx", "4096", "--prefill", "0", "--decode", "128", "--depth", "1024"], "llama-bench", ["-p", "0", "-n", "128", "-d", "1024"]),
    "32k": (["--ctx", "34000", "--prefill", "0", "--decode", "128", "--depth", "32768"], "llama-bench", ["-p", "0", "-n", "128", "-d", "32768", "-ub", "2048"]),
    "prefill": (["--ctx", "16384", "--prefill", "8192", "--decode", "0"], "llama-bench", ["-p", "8192", "-n", "0", "-b", "2048", "-ub", "2048"]),
    "batch16": (["--ctx", "4096", "--prefill", "0", "--decode", "64", "--depth", "1024", "--batch", "16"], "llama-batched-bench",
                ["-c", "20480", "-b", "2048", "-ub", "2048", "-npp", "1024", "-ntg", "64", "-npl", "16"]),
    "128k": (["--ctx", "133000", "--prefill", "0", "--decode", "128", "--depth", "131072"], "llama-bench", ["-p", "0", "-n", "128", "-d", "131072", "-ub", "2048"]),
}

p = argparse.ArgumentParser()
p.add_argument("--quire", required=True)
p.add_argument("--int4", required=True)
p.add_argument("--llama", required=True, help="folder of llama-bench and llama-batched-bench")
p.add_argument("--gguf", required=True)
p.add_argument("--rows", default=",".join(ROWS))
p.add_argument("--rounds", type=int, default=2)
p.add_argument("--budget", type=float, default=1e9)
a = p.parse_args()
start = time.time()


def run(*args):
    r = subprocess.run(args, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    if r.returncode:
        raise RuntimeError(f"{args[0]}: exit code {r.returncode}: {(r.stderr or r.stdout).strip()[-200:]}")
    return r.stdout


def quire(args):
    r = json.loads(run(a.quire, "bench", "-m", a.int4, "--device", "cuda", "--reps", "3", "--json", *args))
    return r["decode_tok_s"] or r["prefill_tok_s"], r["percent_of_ceiling"], r["read_gb_s"]


def llama(program, args):
    if program == "llama-bench":
        out = run(f"{a.llama}/{program}", "-m", a.gguf, "-ngl", "99", "-fa", "1", "-r", "3", "-o", "json", *args)
        return json.loads(out[out.index("["):])[0]["avg_ts"]
    out = run(f"{a.llama}/{program}", "-m", a.gguf, "-ngl", "99", "-fa", "on", "--output-format", "jsonl", *args)
    return [json.loads(l) for l in out.splitlines() if l.startswith("{")][-1]["speed_tg"]


ours, theirs, share, left, failed = {}, {}, {}, [], False
rows = a.rows.split(",")
for turn in range(a.rounds):
    for row in rows:
        if time.time() - start > a.budget:
            left.append(f"{row} (round {turn + 1})")
            continue
        mine, program, args = ROWS[row]
        try:
            rate, percent, ceiling = quire(mine)
            ours.setdefault(row, []).append(rate)
            share[row] = f"{percent:.0f} % of {ceiling:.0f} GB/s" if percent else "-"
        except Exception as e:
            failed = True
            print(row, e, flush=True)
        try:
            theirs.setdefault(row, []).append(llama(program, args))
        except Exception as e:
            failed = True
            print(row, e, flush=True)
        print(f"{time.time() - start:.0f} s: {row}: Quire {ours.get(row)}, llama.cpp {theirs.get(row)}", file=sys.stderr, flush=True)

print(f"{'work':10} {'Quire tok/s':>24} {'llama.cpp tok/s':>24} {'ratio':>6}  Quire reads")
for row in rows:
    q, l = ours.get(row, []), theirs.get(row, [])
    ratio = f"{statistics.median(q) / statistics.median(l):.2f}" if q and l else "-"
    print(f"{row:10} {' '.join(f'{x:.1f}' for x in q) or '-':>24} {' '.join(f'{x:.1f}' for x in l) or '-':>24} {ratio:>6}  {share.get(row, '-')}")
if left:
    print("not run, the time was over:", ", ".join(left))
sys.exit(failed)
