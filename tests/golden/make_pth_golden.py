"""Writes golden/pth/weights.pth and golden/pth/weights_legacy.pth, which torch.save makes of one dictionary,
and golden/hostile.pth, which would run a command where pickles are trusted. Run with a Python that
has torch, from anywhere:
  python3 tests/golden/make_pth_golden.py
"""
import collections
import os
import pickle

import torch

FOLDER = os.path.dirname(os.path.abspath(__file__))


def count(n, dtype=torch.float32):
    return torch.arange(n, dtype=torch.float32).sub(2).to(dtype)


shared = count(12)
weights = collections.OrderedDict([
    ("module.a.weight", torch.nn.Parameter(count(6).reshape(2, 3))),
    ("turned", count(6).reshape(2, 3).t()),          # strides (1, 3)
    ("part", shared[4:8].reshape(2, 2)),             # an offset
    ("column", shared.reshape(3, 4)[:, 1]),          # of the same storage
    ("half", count(4, torch.float16)),
    ("bfloat", count(4, torch.bfloat16)),
    ("double", count(4, torch.float64)),
    ("long", torch.tensor(7)),
    ("int", count(4, torch.int32)),
    ("short", count(4, torch.int16)),
    ("char", count(4, torch.int8)),
    ("byte", count(4).abs().to(torch.uint8)),
    ("bool", count(4) > 0),
    ("empty", torch.zeros(0, 3)),
])
everything = {"epoch": 3, "best": 0.5, "name": "golden", "model_state_dict": weights}
torch.save(everything, os.path.join(FOLDER, "pth", "weights.pth"))
torch.save(everything, os.path.join(FOLDER, "pth", "weights_legacy.pth"),
           _use_new_zipfile_serialization=False)


class Attack:
    def __reduce__(self):
        return os.system, ("echo attacked",)


with open(os.path.join(FOLDER, "hostile.pth"), "wb") as file:
    for part in (0x1950a86a20f9469cfc6c, 1001, {}, {"weight": Attack()}, []):
        pickle.dump(part, file, protocol=2)
