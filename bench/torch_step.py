#!/usr/bin/env python3
"""One training step of a torchvision ResNet in PyTorch: what `proxent bench step` is compared with.

Same network, loss, optimizer and data; with --start FILE (from `proxent bench step --start-file FILE`) also the same
weights, batch and labels. Prints one JSON object. Needs torch and torchvision (Debian: python3-torch
python3-torchvision); --mode graph needs a GPU, compile and max-autotune need PyTorch 2.

On a GPU the time of a step is that of --steps steps queued one behind the other, which is what a training loop sees;
minimum and maximum are single steps between events. Precisions bf16 and fp16 are autocast with float32 weights; fp16
has a GradScaler too, and its first gradient norm is that of the first step that the scale lets pass."""
import argparse
import inspect
import json
import math
import resource
import statistics
import sys
import time

import torch
import torch.nn.functional as F
import torchvision

from torch_side import multi_proxy_entropy, read_safetensors

parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
parser.add_argument("--arch", default="resnet18")
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--loss", choices=["cross-entropy", "mpl"], default="cross-entropy")
parser.add_argument("--classes", type=int, default=1000)
parser.add_argument("--proxies", type=int, default=2, help="of mpl, per class")
parser.add_argument("--dim", type=int, default=512, help="of mpl: size of the embedding")
parser.add_argument("--optim", choices=["sgd", "adamw"], default="sgd")
parser.add_argument("--precision", choices=["f32", "tf32", "bf16", "fp16"], default="f32")
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--warm-up", type=int, default=2)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="channels_last")
parser.add_argument("--mode", choices=["eager", "graph", "compile", "max-autotune"], default="eager",
                    help="eager, the whole step as one CUDA graph, or forward and backward by torch.compile")
parser.add_argument("--start", metavar="FILE", help="safetensors with weights, proxies, images and labels")
options = parser.parse_args()

is_cuda = options.device == "cuda"
is_compiled = options.mode in ("compile", "max-autotune")
if is_cuda and not torch.cuda.is_available():
    sys.exit("torch_step.py: --device cuda, but PyTorch sees no GPU")
if options.mode == "graph" and not is_cuda:
    sys.exit("torch_step.py: --mode graph is a CUDA graph and needs --device cuda")
if is_compiled and not hasattr(torch, "compile"):
    sys.exit(f"torch_step.py: --mode {options.mode} needs PyTorch 2, this is {torch.__version__}")
if options.warm_up < (3 if options.mode == "graph" else 1):
    sys.exit("torch_step.py: --warm-up must be 1 at least, and 3 before the capture of --mode graph")

torch.set_num_threads(options.threads)
torch.manual_seed(0)
torch.backends.cudnn.benchmark = True  # its fastest algorithms
torch.backends.cudnn.allow_tf32 = options.precision != "f32"
torch.backends.cuda.matmul.allow_tf32 = False  # PyTorch's default; proxent's head and loss are f32 too

# ---- what is trained

is_mpl = options.loss == "mpl"
model = getattr(torchvision.models, options.arch)(num_classes=options.dim if is_mpl else options.classes)
proxies = torch.randn(options.classes, options.proxies, options.dim) / 8
images = torch.randint(0, 256, (options.batch, options.size, options.size, 3), dtype=torch.uint8)
labels = torch.randint(0, options.classes, (options.batch,))
if options.start:
    start = read_safetensors(options.start)
    images, labels = start.pop("images"), start.pop("labels").long()
    proxies = start.pop("proxies", proxies)
    model.load_state_dict({name.replace("embedding.", "fc."): value for name, value in start.items()})

layout = torch.channels_last if options.layout == "channels_last" else torch.contiguous_format
model = model.train().to(options.device).to(memory_format=layout)
images = images.permute(0, 3, 1, 2).to(options.device).contiguous(memory_format=layout)
labels = labels.to(options.device)
parameters = list(model.parameters())
if is_mpl:
    proxies = torch.nn.Parameter(proxies.to(options.device))
    parameters.append(proxies)


def loss_of_batch():
    half = {"bf16": torch.bfloat16, "fp16": torch.float16}.get(options.precision)
    with torch.autocast(options.device, dtype=half or torch.bfloat16, enabled=half is not None,
                        cache_enabled=options.mode != "graph"):
        result = model(images.to(half or torch.float32) / 64 - 2)
        # Under autocast, as PyTorch's users have it: the loss's products are of two bytes then, proxent's of f32.
        return multi_proxy_entropy(result, proxies, labels) if is_mpl else F.cross_entropy(result, labels)


if is_compiled:
    loss_of_batch = torch.compile(loss_of_batch, mode="max-autotune" if options.mode == "max-autotune" else None)


def make_optimizer():
    kind, wanted = torch.optim.SGD, {"lr": 0.01, "momentum": 0.9, "weight_decay": 1e-4, "fused": is_cuda}
    if options.optim == "adamw":
        kind = torch.optim.AdamW
        wanted = {"lr": 1e-4, "weight_decay": 1e-4, "fused": is_cuda, "capturable": options.mode == "graph"}
    known = inspect.signature(kind).parameters  # fused and capturable came with later versions
    return kind(parameters, **{name: value for name, value in wanted.items() if name in known and value is not False})


optimizer = make_optimizer()
scaler = torch.cuda.amp.GradScaler(enabled=options.precision == "fp16")  # without, it hands through

# ---- steps


def step(norms=None):
    optimizer.zero_grad(set_to_none=True)
    loss = loss_of_batch()
    scaler.scale(loss).backward()
    if norms is not None:
        norms.append(gradient_norm())
    scaler.step(optimizer)
    scaler.update()
    return loss.detach().clone()  # compiled code and graphs write into the same memory again


def gradient_norm():
    return torch.stack([p.grad.float().norm() for p in parameters]).norm().item() / scaler.get_scale()


def captured_step():
    """The step as a CUDA graph; the steps before it ran on another stream than the default one, as a capture wants."""
    graph = torch.cuda.CUDAGraph()
    optimizer.zero_grad(set_to_none=True)
    with torch.cuda.graph(graph):
        loss = step()

    def replay():
        graph.replay()
        return loss.clone()
    return replay


losses, norms = [], []
memory_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
side = torch.cuda.Stream() if options.mode == "graph" else None
for _ in range(options.warm_up):
    if side:
        side.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(side):
            losses.append(step(None if norms and math.isfinite(norms[-1]) else norms))
        torch.cuda.current_stream().wait_stream(side)
    else:
        losses.append(step(None if norms and math.isfinite(norms[-1]) else norms))
run = captured_step() if options.mode == "graph" else step

times = []
if is_cuda:
    torch.cuda.synchronize()
    marks = [torch.cuda.Event(enable_timing=True) for _ in range(options.steps + 1)]
    marks[0].record()
    for i in range(options.steps):
        losses.append(run())
        marks[i + 1].record()
    torch.cuda.synchronize()
    times = [a.elapsed_time(b) / 1e3 for a, b in zip(marks, marks[1:])]
else:
    for _ in range(options.steps):
        start_time = time.perf_counter()
        losses.append(run())
        losses[-1].item()
        times.append(time.perf_counter() - start_time)
median = statistics.median(times)
losses = [loss.item() for loss in losses]

on_device = {}
if is_cuda:
    free, total = torch.cuda.mem_get_info()
    on_device = {"peak_bytes": torch.cuda.max_memory_allocated(), "reserved_bytes": torch.cuda.max_memory_reserved(),
                 "gpu_used_bytes": total - free, "gpu": torch.cuda.get_device_name(),
                 "cudnn": torch.backends.cudnn.version()}
print(json.dumps(on_device | {
    "ms_step": round(median * 1e3, 3), "ms_min": round(min(times) * 1e3, 3), "ms_max": round(max(times) * 1e3, 3),
    "img_s": round(options.batch / median, 2), "losses": losses,
    "first_gradient_norm": norms[-1],
    "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "peak_rss_growth_bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory_before) * 1024,
    "torch": torch.__version__, "layout": options.layout, "mode": options.mode}))
