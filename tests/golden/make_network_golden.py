"""Writes golden/networks.safetensors: torchvision's ResNet-18 and ResNet-50, and a BN-Inception written
here after the paper's table, in float64, forward and backward, and five training steps of a ResNet-18 with SGD, AdamW and RMSprop.
Run with Debian's python3-torchvision, from anywhere: /usr/bin/python3 tests/golden/make_network_golden.py

Weights and images are no random numbers but a hash of name and index, which tests/networks.cpp computes
too; so the file holds results alone, and of gradients their norm and four elements.
"""
import os

import numpy as np
import torch
import torch.nn.functional as F
import torchvision

import bn_inception
import safetensors_writer

HERE = os.path.dirname(os.path.abspath(__file__))
DIM, CLASSES = 16, 10
SAMPLES = 4  # elements of a tensor that are stored
tensors = {}


def hashed(name, shape):
    """Numbers in [-1, 1), 24 bits each: the splitmix64 of the FNV-1a of the name, plus the index."""
    start = 0xCBF29CE484222325
    for byte in name.encode():
        start = (start ^ byte) * 0x100000001B3 % 2**64
    count = int(np.prod(shape))
    with np.errstate(over="ignore"):
        z = np.uint64(start) + np.arange(count, dtype=np.uint64) * np.uint64(0x9E3779B97F4A7C15)
        z = (z ^ (z >> np.uint64(30))) * np.uint64(0xBF58476D1CE4E5B9)
        z = (z ^ (z >> np.uint64(27))) * np.uint64(0x94D049BB133111EB)
        z = (z ^ (z >> np.uint64(31))) >> np.uint64(40)
    return torch.from_numpy(z.astype(np.float64) / 2**23 - 1).reshape(shape)


def initial(name, x):
    """As tests/networks.cpp: He's bound for convolutions, 1 +- 0.2 for gammas, +- 0.1 for biases."""
    if name.endswith("running_mean"):
        return torch.zeros_like(x)
    if name.endswith("running_var"):
        return torch.ones_like(x)
    if x.dim() > 1:
        return (6 / x[0].numel()) ** 0.5 * hashed(name, x.shape)
    return 1 + 0.2 * hashed(name, x.shape) if name.endswith("weight") else 0.1 * hashed(name, x.shape)


def build(arch):
    if arch == "bn-inception":
        net = bn_inception.BnInception(DIM).double()
    else:
        net = getattr(torchvision.models, arch)(num_classes=DIM).double()
    state = {name: initial(ours(name), x) for name, x in net.state_dict().items()
             if not name.endswith("num_batches_tracked")}
    net.load_state_dict(state, strict=False)
    return net


def ours(name):
    return name.replace("fc.", "embedding.")


def forward(net, images):
    """Embeddings, and the cross-entropy of their products with ten hashed class vectors."""
    embeddings = F.normalize(net(images.permute(0, 3, 1, 2)))
    logits = 8 * embeddings @ hashed("classes", (CLASSES, DIM)).T.to(images.dtype)
    labels = torch.arange(images.shape[0]) * 3 % CLASSES
    return embeddings, F.cross_entropy(logits, labels)


def summary(x):
    """Norm, and the elements at 0, 1/4, 1/2 and 3/4 of the tensor."""
    flat = x.detach().flatten()
    return torch.cat([flat.norm().reshape(1), flat[[i * len(flat) // SAMPLES for i in range(SAMPLES)]]])


def cancelled(net, name):
    """Biases of convolutions: a norm that subtracts the batch's mean leaves them a gradient of 0."""
    return name.endswith(".bias") and hasattr(net, name[:-len(".bias")] + "_bn")


def results(arch, size, batch, dtype):
    """Loss, embeddings, and summaries of gradients and buffers."""
    net = build(arch).to(dtype).train()
    embeddings, loss = forward(net, hashed("images", (batch, size, size, 3)).to(dtype))
    loss.backward()
    found = {"loss": loss, "embeddings": embeddings}
    for name, parameter in net.named_parameters():
        if not cancelled(net, name):
            found[f"gradient/{ours(name)}"] = summary(parameter.grad.double())
    for name, buffer in net.named_buffers():
        if not name.endswith("num_batches_tracked"):
            found[f"buffer/{ours(name)}"] = summary(buffer.double())
    images = hashed("eval images", (batch, size, size, 3)).to(dtype)
    net.zero_grad()
    found["eval_embeddings"], loss = forward(net.eval(), images)
    loss.backward()
    for name, parameter in net.named_parameters():
        if cancelled(net, name):  # running statistics do not
            found[f"eval_gradient/{ours(name)}"] = summary(parameter.grad.double())
    return {name: x.detach().double() for name, x in found.items()}


def network(arch, size, batch):
    exact = results(arch, size, batch, torch.float64)
    rounded = results(arch, size, batch, torch.float32)
    for name, x in exact.items():
        tensors[f"{arch}/{name}"] = x
    # What float32 costs PyTorch itself, by which ours is measured. An activation whose sign is lost to
    # rounding moves every gradient before it by parts in a thousand, and no value.
    for kind in "value", "gradient":
        error = max(((rounded[name] - x).abs().max() / x.abs().max()).item()
                    for name, x in exact.items() if ("gradient/" in name) == (kind == "gradient"))
        tensors[f"{arch}/float32_error_of_{kind}"] = torch.tensor(error, dtype=torch.float64)


def training(case, size, batch, make_optimizer):
    net = build("resnet18").train()
    decayed = [p for p in net.parameters() if p.dim() > 1]
    others = [p for p in net.parameters() if p.dim() == 1]
    optimizer = make_optimizer([dict(params=decayed, weight_decay=0.01),
                                dict(params=others, weight_decay=0.0)])
    losses = []
    for step in range(5):
        loss = forward(net, hashed(f"images {step}", (batch, size, size, 3)))[1]
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        losses.append(loss.detach())
    tensors[f"{case}/losses"] = torch.stack(losses)
    for name, parameter in net.named_parameters():
        tensors[f"{case}/value/{ours(name)}"] = summary(parameter)
    for name, buffer in net.named_buffers():
        if not name.endswith("num_batches_tracked"):
            tensors[f"{case}/value/{ours(name)}"] = summary(buffer)


network("resnet18", size=64, batch=4)
network("resnet50", size=64, batch=4)
network("bn-inception", size=64, batch=4)
training("sgd", 32, 6, lambda groups: torch.optim.SGD(groups, lr=0.05, momentum=0.9, nesterov=True))
training("adamw", 32, 6, lambda groups: torch.optim.AdamW(groups, lr=1e-3))
training("rmsprop", 32, 6, lambda groups: torch.optim.RMSprop(groups, lr=1e-3, momentum=0.9))
safetensors_writer.write(os.path.join(HERE, "networks.safetensors"), tensors,
                         {"torch": torch.__version__, "torchvision": torchvision.__version__,
                          "seed": "none: a hash of names and indices"})
for name, x in tensors.items():
    if "loss" in name or "error" in name:
        print(name, x.tolist())
