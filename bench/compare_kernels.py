#!/usr/bin/env python3
"""Times two things alone beside PyTorch, and prints a Markdown table of each.

Batch norm: every distinct one of a ResNet in training mode, with the sum and the ReLU that follow it, forward and
backward, weighted with how often a step calls it. PyTorch runs them as its eager mode does, once with its own kernels and
once with cuDNN's; those it does not give bf16, so they are timed in fp16, which moves as many bytes. GB/s are those of the
bytes that two passes over the tensors must move, the same for all.

Loss: multi-proxy entropy in f32, forward and backward, from the same embeddings and proxies, with all that its user waits
for; composed is the same in plain operations. If the losses differ by more than 0.001 the exit code is 1.

    bench/compare_kernels.py --device cuda --precision bf16
    bench/compare_kernels.py --arch resnet18 --size 64 --batch 16 --classes 1000 --proxies 2
"""
import argparse
import json
import pathlib
import re
import statistics
import subprocess
import sys
import tempfile
import time

import torch
import torch.nn.functional as F

from torch_side import multi_proxy_entropy, read_safetensors

root = pathlib.Path(__file__).resolve().parent.parent
parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--precision", choices=["f32", "bf16", "fp16"], default="f32", help="of batch norms")
parser.add_argument("--arch", default="resnet50")
parser.add_argument("--size", type=int, default=224)
parser.add_argument("--batch", type=int, default=128)
parser.add_argument("--classes", type=int, default=11318)
parser.add_argument("--proxies", default="2,10", help="per class; one measurement of the loss for each")
parser.add_argument("--dim", type=int, default=512)
parser.add_argument("--rounds", type=int, default=11, help="timed runs of each, of which the median counts")
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--json", metavar="FILE", help="also write every number there")
parser.add_argument("--proxent", default=str(root / "build" / "proxent"))
options = parser.parse_args()

is_cuda = options.device == "cuda"
if is_cuda and not torch.cuda.is_available():
    sys.exit("compare_kernels.py: --device cuda, but PyTorch sees no GPU")
torch.set_num_threads(options.threads)
torch.manual_seed(0)
torch.backends.cuda.matmul.allow_tf32 = False  # as `proxent bench loss`
torch.backends.cudnn.benchmark = True
DTYPES = {"f32": torch.float32, "bf16": torch.bfloat16, "fp16": torch.float16}


def proxent(command, *flags):
    words = [options.proxent, "bench", command, "--device", options.device, "--batch", str(options.batch),
             "--dim", str(options.dim), "--rounds", str(options.rounds), "--threads", str(options.threads), "--json", *flags]
    done = subprocess.run(words, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"compare_kernels.py: {' '.join(words)}: {done.stderr.strip()}")
    return json.loads(done.stdout.strip().splitlines()[-1])


def synchronize():
    if is_cuda:
        torch.cuda.synchronize()


def median_seconds(run):
    """As tensor/timing.h: after a run that does not count, each behind a cleared L2 cache, in the GPU's own time."""
    run()
    if not is_cuda:
        times = []
        for _ in range(options.rounds):
            start = time.perf_counter()
            run()
            times.append(time.perf_counter() - start)
        return statistics.median(times)
    flush = torch.empty(1 << 28, dtype=torch.uint8, device="cuda")  # larger than any L2 cache
    times = []
    for _ in range(options.rounds):
        start, stop = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        flush.zero_()
        torch.cuda._sleep(2_000_000)  # a millisecond, in which the host queues all of run
        start.record()
        run()
        stop.record()
        stop.synchronize()
        times.append(start.elapsed_time(stop) / 1e3)
    return statistics.median(times)


# ---- batch norm


def torch_batch_norm(height, width, channels, has_sum, has_relu, dtype):
    """Seconds forward and backward."""
    def images():
        drawn = torch.randn(options.batch, channels, height, width, device=options.device).to(dtype)
        return drawn.contiguous(memory_format=torch.channels_last)
    x, dy = images().requires_grad_(), images()
    wanted = [x, torch.ones(channels, device=options.device, requires_grad=True),
              torch.zeros(channels, device=options.device, requires_grad=True)]
    running = [torch.zeros(channels, device=options.device), torch.ones(channels, device=options.device)]
    if has_sum:
        wanted.append(images().requires_grad_())

    def forward():
        y = F.batch_norm(x, *running, wanted[1], wanted[2], training=True)
        if has_sum:
            y = y + wanted[3]
        return F.relu(y, inplace=True) if has_relu else y
    y = forward()
    return median_seconds(forward), median_seconds(lambda: torch.autograd.grad(y, wanted, dy, retain_graph=True))


def compare_batch_norms():
    layers = [layer for layer in proxent("layers", "--arch", options.arch, "--size", str(options.size), "--precision",
                                         options.precision)["layers"] if layer["direction"].startswith("norm")]
    sides = {"proxent": {layer["layer"] + layer["direction"]: layer["seconds"] for layer in layers}}
    variants = {"PyTorch's own": (options.precision, False)}
    if is_cuda:
        variants["PyTorch with cuDNN's"] = ("fp16" if options.precision == "bf16" else options.precision, True)
    for name, (precision, uses_cudnn) in variants.items():
        times = sides[f"{name}, {precision}"] = {}
        for layer in layers:
            if layer["direction"] != "norm":
                continue
            shape = [int(n) for n in re.match(r"(\d+)x(\d+)x(\d+)", layer["layer"]).groups()]
            with torch.backends.cudnn.flags(enabled=uses_cudnn, benchmark=True):
                forward, backward = torch_batch_norm(*shape, " add" in layer["layer"], " relu" in layer["layer"],
                                                     DTYPES[precision])
            times[layer["layer"] + "norm"], times[layer["layer"] + "norm back"] = forward, backward

    print(f"batch norm, sum and ReLU of {options.arch}, {options.size} px, batch {options.batch}, {options.precision}\n")
    print("| | forward, ms a step | GB/s | backward, ms a step | GB/s | both, of proxent's time |")
    print("| --- | --- | --- | --- | --- | --- |")
    ours = None
    for name, times in sides.items():
        cells, both = [], 0
        for direction in ("norm", "norm back"):
            rows = [layer for layer in layers if layer["direction"] == direction]
            seconds = sum(row["calls"] * times[row["layer"] + direction] for row in rows)
            moved = sum(row["calls"] * row["bytes"] for row in rows)
            cells += [f"{seconds * 1e3:.2f}", f"{moved / seconds / 1e9:.0f}"]
            both += seconds
        ours = ours or both
        print(f"| {name} | {' | '.join(cells)} | {both / ours:.2f} |")
    return {"layers": layers, "seconds": sides}


# ---- loss


def torch_loss(start):
    """What `proxent bench loss` measures, of PyTorch's eager mode."""
    inputs = read_safetensors(start)
    embeddings, proxies = (inputs[name].to(options.device).requires_grad_() for name in ("embeddings", "proxies"))
    labels = inputs["labels"].long().to(options.device)
    times, peaks = [], []
    for _ in range(2 + options.rounds):
        embeddings.grad = proxies.grad = None
        synchronize()
        if is_cuda:
            torch.cuda.reset_peak_memory_stats()
            before = torch.cuda.memory_allocated()
        begin = time.perf_counter()
        loss = multi_proxy_entropy(embeddings, proxies, labels)
        loss.backward()
        value = loss.item()
        synchronize()
        times.append(time.perf_counter() - begin)
        if is_cuda:
            peaks.append(torch.cuda.max_memory_allocated() - before)
    times = sorted(seconds * 1e3 for seconds in times[2:])
    return {"ms_median": statistics.median(times), "ms_min": times[0], "ms_max": times[-1],
            "peak_bytes": max(peaks[2:], default=None), "loss": value}


def compare_loss(per_class):
    with tempfile.TemporaryDirectory() as folder:
        start = str(pathlib.Path(folder) / "start.safetensors")
        ours = proxent("loss", "--classes", str(options.classes), "--proxies", str(per_class), "--start-file", start)
        sides = {"proxent fused": ours["fused"], "proxent composed": ours["composed"],
                 f"PyTorch {torch.__version__} eager": torch_loss(start)}
    print(f"\nmulti-proxy entropy loss, batch {options.batch}, {options.classes} classes x {per_class} proxies, "
          f"{options.dim} dimensions, f32, {ours['device']}\n")
    print("| | ms, median | min - max | of fused | peak beside the inputs, MB | loss |")
    print("| --- | --- | --- | --- | --- | --- |")
    for name, side in sides.items():
        peak = "not counted" if side["peak_bytes"] is None else f"{side['peak_bytes'] / 1e6:.1f}"
        print(f"| {name} | {side['ms_median']:.2f} | {side['ms_min']:.2f} - {side['ms_max']:.2f} | "
              f"{side['ms_median'] / ours['fused']['ms_median']:.2f} | {peak} | {side['loss']:.6f} |")
    return sides


results = {"work": vars(options), "torch": torch.__version__, "batch_norm": compare_batch_norms(),
           "loss": {per_class: compare_loss(per_class) for per_class in map(int, options.proxies.split(","))}}
if options.json:
    pathlib.Path(options.json).write_text(json.dumps(results) + "\n")
for sides in results["loss"].values():
    values = [side["loss"] for side in sides.values()]
    if not max(values) - min(values) <= 1e-3 * abs(values[0]):
        sys.exit("compare_kernels.py: the losses differ: the sides do not do the same work")
