"""BN-Inception in PyTorch, the other side of tests/networks.cpp: branches as lists of layers, looked up by
the names that its ImageNet weights have."""
import torch
from torch import nn

# name: 1x1; 3x3 and its reduction; double 3x3 and its reduction; projection behind the pool. Blocks without
# a 1x1 halve the size.
BLOCKS = {
    "3a": (64, (64, 64), (64, 96), 32), "3b": (64, (64, 96), (64, 96), 64),
    "3c": (None, (128, 160), (64, 96), None),
    "4a": (224, (64, 96), (96, 128), 128), "4b": (192, (96, 128), (96, 128), 128),
    "4c": (160, (128, 160), (128, 160), 128), "4d": (96, (128, 192), (160, 192), 128),
    "4e": (None, (128, 192), (192, 256), None),
    "5a": (352, (192, 320), (160, 224), 128), "5b": (352, (192, 320), (192, 224), 128),
}


class BnInception(nn.Module):
    def __init__(self, dim):
        super().__init__()
        self.layer("conv1_7x7_s2", 3, 64, 7, 2)
        self.layer("conv2_3x3_reduce", 64, 64, 1)
        self.layer("conv2_3x3", 64, 192, 3)
        channels = 192
        for name, (one, (reduce, three), (double_reduce, double), projection) in BLOCKS.items():
            stride = 1 if one else 2
            prefix = f"inception_{name}_"
            self.layer(prefix + "3x3_reduce", channels, reduce, 1)
            self.layer(prefix + "3x3", reduce, three, 3, stride)
            self.layer(prefix + "double_3x3_reduce", channels, double_reduce, 1)
            self.layer(prefix + "double_3x3_1", double_reduce, double, 3)
            self.layer(prefix + "double_3x3_2", double, double, 3, stride)
            if one:
                self.layer(prefix + "1x1", channels, one, 1)
                self.layer(prefix + "pool_proj", channels, projection, 1)
            channels = (one or 0) + three + double + (projection or channels)
        self.fc = nn.Linear(channels, dim)

    def layer(self, name, inputs, outputs, size, stride=1):
        self.add_module(name, nn.Conv2d(inputs, outputs, size, stride, size // 2))
        self.add_module(name + "_bn", nn.BatchNorm2d(outputs))

    def run(self, x, *names):
        for name in names:
            x = torch.relu(getattr(self, name + "_bn")(getattr(self, name)(x)))
        return x

    def block(self, name, x):
        one, _, _, _ = BLOCKS[name]
        prefix = f"inception_{name}_"
        branches = [self.run(x, prefix + "3x3_reduce", prefix + "3x3"),
                    self.run(x, *(prefix + f"double_3x3_{part}" for part in ("reduce", "1", "2")))]
        if not one:
            return torch.cat(branches + [nn.functional.max_pool2d(x, 3, 2, ceil_mode=True)], 1)
        pool = nn.functional.max_pool2d if name == "5b" else nn.functional.avg_pool2d
        return torch.cat([self.run(x, prefix + "1x1")] + branches
                         + [self.run(pool(x, 3, 1, 1), prefix + "pool_proj")], 1)

    def forward(self, x):
        x = nn.functional.max_pool2d(self.run(x, "conv1_7x7_s2"), 3, 2, ceil_mode=True)
        x = nn.functional.max_pool2d(self.run(x, "conv2_3x3_reduce", "conv2_3x3"), 3, 2, ceil_mode=True)
        for name in BLOCKS:
            x = self.block(name, x)
        return self.fc(x.mean((2, 3)))
