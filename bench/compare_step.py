#!/usr/bin/env python3
"""Times proxent's training step beside PyTorch's, interleaved, and prints a Markdown table.

Each round runs proxent and every PyTorch variant one after the other, so that all see the same machine; all start from
the weights and the batch that proxent writes. The ratio is taken within each round against PyTorch's fastest variant;
the table gives the median over the rounds and the extremes. Losses and gradient norms stand beside the times: if the
first ones differ by more than --tolerance the exit code is 1, for then the two did not do the same work.

    bench/compare_step.py --arch resnet18 --size 64 --batch 64 --rounds 5
    bench/compare_step.py --device cuda --precision bf16 --loss mpl --optim adamw --classes 11318 --arch resnet50 \\
        --size 224 --batch 128 --modes eager,graph,compile,max-autotune --warm-up 20 --steps 50
"""
import argparse
import json
import math
import pathlib
import statistics
import subprocess
import sys
import tempfile

root = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
work = {"arch": "resnet18", "size": 64, "batch": 64, "loss": "cross-entropy", "classes": 1000, "proxies": 2, "dim": 512,
        "optim": "sgd", "precision": "f32", "steps": 8, "warm_up": 2, "threads": 2, "device": "cpu"}
for name, default in work.items():
    parser.add_argument("--" + name.replace("_", "-"), type=type(default), default=default)
parser.add_argument("--modes", default="eager",
                    help="of PyTorch: eager, graph, compile, max-autotune; all but eager with channels_last only")
parser.add_argument("--layouts", default="contiguous,channels_last", help="of PyTorch's eager mode")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--tolerance", type=float, help="between first losses and first gradient norms, relative; "
                    "by default what the precision explains: f32 0.001, tf32 and fp16 0.01, bf16 0.05")
parser.add_argument("--json", metavar="FILE", help="also write every run's numbers there")
parser.add_argument("--proxent", default=str(root / "build" / "proxent"))
parser.add_argument("--python", default=sys.executable, help="an interpreter that has torch and torchvision")
options = parser.parse_args()
tolerance = options.tolerance or {"f32": 1e-3, "tf32": 1e-2, "fp16": 1e-2, "bf16": 5e-2}[options.precision]

folder = tempfile.TemporaryDirectory()
start = str(pathlib.Path(folder.name) / "start.safetensors")
same = [word for name in work for word in ("--" + name.replace("_", "-"), str(getattr(options, name)))]
commands = {"proxent": [options.proxent, "bench", "step", *same, "--json", "--start-file", start]}
for mode in options.modes.split(","):
    for layout in options.layouts.split(",") if mode == "eager" else ["channels_last"]:
        commands[f"PyTorch {layout} {mode}"] = [options.python, str(root / "bench" / "torch_step.py"), *same,
                                               "--layout", layout, "--mode", mode, "--start", start]

runs = {name: [] for name in commands}
refused = {}
for _ in range(options.rounds):
    for name, command in commands.items():
        if name in refused:
            continue
        done = subprocess.run(command, capture_output=True, text=True)
        if done.returncode == 0:
            runs[name].append(json.loads(done.stdout.strip().splitlines()[-1]))
        else:
            refused[name] = (done.stderr.strip().splitlines() or [f"exit code {done.returncode}"])[-1]
        if options.json:  # so far: whoever stops this keeps what was measured
            pathlib.Path(options.json).write_text(
                json.dumps({"work": vars(options), "runs": runs, "refused": refused}) + "\n")
if "proxent" in refused:
    sys.exit(f"compare_step.py: {refused['proxent']}")
runs = {name: results for name, results in runs.items() if len(results) == options.rounds}

# ---- the table

at = min(20, options.warm_up + options.steps)  # the step whose loss is shown
torch_version = next((r[0]["torch"] for name, r in runs.items() if name != "proxent"), "none")
print(f"{options.arch}, {options.size} px, batch {options.batch}, {options.loss}, {options.optim}, {options.precision}, "
      f"{runs['proxent'][0]['device']}, {options.rounds} interleaved rounds of {options.steps} steps "
      f"(PyTorch {torch_version})\n")
print(f"| | ms per step (median of rounds) | min - max | img/s | peak memory, MB | first loss | gradient norm | "
      f"loss of step {at} |")
print("| --- | --- | --- | --- | --- | --- | --- | --- |")
is_cuda = options.device.startswith("cuda")
memory = "gpu_used_bytes" if is_cuda else "peak_rss_bytes"
for name, results in runs.items():
    times = [r["ms_step"] for r in results]
    median = statistics.median(times)
    one = results[0]
    print(f"| {name} | {median:.2f} | {min(times):.2f} - {max(times):.2f} | {options.batch / median * 1e3:.1f} | "
          f"{statistics.median(r[memory] for r in results) / 1e6:.0f} | {one['losses'][0]:.4f} | "
          f"{one['first_gradient_norm']:.4f} | {one['losses'][at - 1]:.4f} |")
for name, reason in refused.items():
    print(f"\nNot run: {name}. {reason}")

ours = runs.pop("proxent")
if not runs:
    sys.exit("\ncompare_step.py: no variant of PyTorch ran")


def apart(key):
    """The largest relative difference between proxent's number and a variant's."""
    own = key(ours[0])
    distances = [abs(key(results[0]) - own) / abs(own) for results in runs.values()]
    return max(d if d == d else math.inf for d in distances)  # NaN is no agreement


differences = {"first losses": apart(lambda r: r["losses"][0]),
               "first gradient norms": apart(lambda r: r["first_gradient_norm"])}
print("\n" + "; ".join(f"{name} differ by {value:.1e} at most" for name, value in differences.items()) + ".")
best = [min(results[i]["ms_step"] for results in runs.values()) for i in range(options.rounds)]
ratios = [b / r["ms_step"] for b, r in zip(best, ours)]
print(f"proxent is {statistics.median(ratios):.2f}x as fast as PyTorch's fastest variant ({min(ratios):.2f} - "
      f"{max(ratios):.2f} over the rounds). Peak memory is " +
      ("all that the GPU has in use when the steps are done." if is_cuda else "the whole process's."))
if not max(differences.values()) <= tolerance:
    sys.exit(f"compare_step.py: that is more than {tolerance}: the two sides do not do the same work")
