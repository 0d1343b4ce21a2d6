#!/usr/bin/env python3
"""One training step of a torchvision ResNet in PyTorch: what `proxent bench step` is compared with.

Same network (torchvision's, 1000 classes), same loss (cross-entropy), same optimizer (SGD, momentum 0.9, weight
decay 1e-4), random images. Prints one JSON object. Needs torch and torchvision (Debian: python3-torch
python3-torchvision)."""
import argparse
import json
import resource
import statistics
import time

import torch
import torchvision

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--arch", default="resnet18")
parser.add_argument("--size", type=int, default=64)
parser.add_argument("--batch", type=int, default=64)
parser.add_argument("--steps", type=int, default=8)
parser.add_argument("--threads", type=int, default=2)
parser.add_argument("--device", choices=["cpu", "cuda"], default="cpu")
parser.add_argument("--layout", choices=["channels_last", "contiguous"], default="channels_last")
options = parser.parse_args()

is_cuda = options.device == "cuda"
torch.set_num_threads(options.threads)
torch.manual_seed(0)
torch.backends.cudnn.benchmark = True  # its fastest algorithms
torch.backends.cudnn.allow_tf32 = torch.backends.cuda.matmul.allow_tf32 = False  # float32 throughout
model = getattr(torchvision.models, options.arch)(num_classes=1000).train().to(options.device)
images = torch.randn(options.batch, 3, options.size, options.size).to(options.device)
labels = torch.randint(0, 1000, (options.batch,)).to(options.device)
if options.layout == "channels_last":
    model = model.to(memory_format=torch.channels_last)
    images = images.to(memory_format=torch.channels_last)
optimizer = torch.optim.SGD(model.parameters(), lr=0.01, momentum=0.9, weight_decay=1e-4)
cross_entropy = torch.nn.CrossEntropyLoss()


def step():
    optimizer.zero_grad(set_to_none=True)
    loss = cross_entropy(model(images), labels)
    loss.backward()
    optimizer.step()
    value = loss.item()
    if is_cuda:
        torch.cuda.synchronize()
    return value


before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
times = []
for i in range(options.steps + 2):  # the first two are warm-up
    start = time.perf_counter()
    loss = step()
    if i >= 2:
        times.append(time.perf_counter() - start)
median = statistics.median(times)
on_device = {"peak_bytes": torch.cuda.max_memory_allocated(), "gpu": torch.cuda.get_device_name(),
             "cudnn": torch.backends.cudnn.version()} if is_cuda else {}
print(json.dumps(on_device | {
    "ms_step": round(median * 1e3, 2), "ms_min": round(min(times) * 1e3, 2), "ms_max": round(max(times) * 1e3, 2),
    "img_s": round(options.batch / median, 2), "loss": round(loss, 4),
    "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    "peak_rss_growth_bytes": (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) * 1024,
    "torch": torch.__version__, "layout": options.layout}))
