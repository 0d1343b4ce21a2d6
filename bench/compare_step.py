#!/usr/bin/env python3
"""Times proxent's training step beside PyTorch's, interleaved, and prints a Markdown table.

Each round runs proxent, PyTorch contiguous and PyTorch channels_last one after the other, so that all three
see the same machine; float32 on both sides, with --device cuda too. The ratio is taken within each round against PyTorch's faster layout; the table gives the
median over the rounds and the extremes.

    bench/compare_step.py --arch resnet18 --size 64 --batch 64 --rounds 5
"""
import argparse
import json
import pathlib
import statistics
import subprocess
import sys

root = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--arch", default="resnet18")
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--rounds", type=int, default=5)
parser.add_argument("--proxent", default=str(root / "build" / "proxent"))
parser.add_argument("--python", default=sys.executable, help="an interpreter that has torch and torchvision")
options = parser.parse_args()

shape = ["--arch", options.arch, "--size", str(options.size), "--batch", str(options.batch),
         "--steps", str(options.steps), "--threads", str(options.threads), "--device", options.device]
torch_step = [options.python, str(root / "bench" / "torch_step.py"), *shape]
commands = {
    "proxent": [options.proxent, "bench", "step", *shape, "--json"],
    "PyTorch contiguous": [*torch_step, "--layout", "contiguous"],
    "PyTorch channels_last": [*torch_step, "--layout", "channels_last"],
}

MEMORY = {"cpu": "Peak memory is the whole process's.", "cuda": "Peak memory is that of tensors on the GPU."}
runs = {name: [] for name in commands}
for _ in range(options.rounds):
    for name, command in commands.items():
        output = subprocess.run(command, check=True, capture_output=True, text=True).stdout
        runs[name].append(json.loads(output))

print(f"{options.arch}, {options.size} px, batch {options.batch}, {options.device}, {options.threads} threads, "
      f"{options.rounds} interleaved rounds of {options.steps} steps (PyTorch {runs['PyTorch contiguous'][0]['torch']})\n")
print("| | ms per step (median of rounds) | min - max | img/s | peak memory, MB |")
print("| --- | --- | --- | --- | --- |")
for name, results in runs.items():
    memory = "peak_bytes" if options.device == "cuda" else "peak_rss_bytes"
    times = [r["ms_step"] for r in results]
    median = statistics.median(times)
    print(f"| {name} | {median:.1f} | {min(times):.1f} - {max(times):.1f} | {options.batch / median * 1e3:.1f} | "
          f"{statistics.median(r[memory] for r in results) / 1e6:.0f} |")
ratios = [min(c["ms_step"], l["ms_step"]) / ours["ms_step"] for ours, c, l in zip(*runs.values())]
print(f"\nproxent is {statistics.median(ratios):.2f}x as fast as PyTorch's faster layout "
      f"({min(ratios):.2f} - {max(ratios):.2f} over the rounds). {MEMORY[options.device]}")
