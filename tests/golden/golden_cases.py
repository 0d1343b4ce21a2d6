"""What a golden file of ops is made of. A case holds x0, x1, ... (inputs), dy, y and dx0, dx1, ...
(gradients of sum(y dy)), in float64. Images and weights are stored as NHWC and KRSC, as proxent has them.
"""
import os
import zlib

import torch

import safetensors_writer

HERE = os.path.dirname(os.path.abspath(__file__))
tensors = {}


def case(name, inputs, function):
    """Files one case; `inputs` are tensors of any float dtype."""
    leaves = [x.double().detach().requires_grad_() for x in inputs]
    y = function(*leaves)
    dy = 0.5 + torch.rand(y.shape, dtype=torch.float64, generator=generator(name + " dy"))
    y.backward(dy)
    for i, x in enumerate(leaves):
        tensors[f"{name}/x{i}"] = x
        tensors[f"{name}/dx{i}"] = x.grad
    tensors[f"{name}/dy"] = dy
    tensors[f"{name}/y"] = y


def generator(name):
    return torch.Generator().manual_seed(zlib.crc32(name.encode()))


def row(name, shapes, low, high, function, **corners):
    """A row of the table on random inputs, and one case per corner on the inputs given for it."""
    draw = generator(name)
    case(name, [low + (high - low) * torch.rand(s, dtype=torch.float64, generator=draw)
                for s in shapes], function)
    for label, inputs in corners.items():
        case(f"{name}@{label}", [torch.tensor(x, dtype=torch.float64) for x in inputs], function)


def save(name, **metadata):
    safetensors_writer.write(os.path.join(HERE, name), tensors,
                             {"torch": torch.__version__, "seed": "crc32 of the case's name", **metadata})
