"""Writes golden/ops.safetensors: values and gradients, by PyTorch in float64, of the rows of
train/op_table.cpp, and of the same rows at inputs where a formula has a corner ("relu@zero"). The losses
of the literature are in make_loss_golden.py.
Run with Debian's python3-torch, from anywhere:  /usr/bin/python3 tests/golden/make_golden.py
"""
import math

import torch
import torch.nn.functional as F

from golden_cases import row, save, tensors

INF = math.inf

# ---- Elementwise.
ONE = [(3, 5)]
row("neg", ONE, -1, 1, lambda x: -x)
row("relu", ONE, 0.1, 1, torch.relu, zero=[[-1.0, -0.0, 0.0, 1e-300, 2.0]])
row("relu_below", ONE, -1, -0.1, torch.relu)
row("is_positive", ONE, 0.1, 1, lambda x: (x > 0).double() + 0 * x, zero=[[-1.0, -0.0, 0.0, 1e-300, 2.0]])
row("nan_to_zero", ONE, -1, 1, lambda x: torch.nan_to_num(x, 0.0, INF, -INF), nan=[[math.nan, -1.0, INF, -INF]])
row("exp", ONE, -1, 1, torch.exp, large=[[-800.0, -INF, 0.0, 700.0]])
row("log", ONE, 0.5, 2, torch.log, zero=[[0.0, 1e-300, 1.0, INF]])
row("sqrt", ONE, 0.5, 2, torch.sqrt, zero=[[0.0, 1e-300, 4.0]])
row("square", ONE, -1, 1, torch.square, zero=[[0.0, -0.0, 1e200]])
row("reciprocal", ONE, 0.5, 2, torch.reciprocal, small=[[1e-100, -1e-100, 1e100]])
row("abs", ONE, -2, -0.1, torch.abs, zero=[[-0.0, 0.0, 1.0, -1.0]])
row("tanh", ONE, -1, 1, torch.tanh, large=[[-800.0, 0.0, 1e-300, 800.0]])
row("sigmoid", ONE, -4, 4, torch.sigmoid, large=[[-800.0, -30.0, 0.0, 30.0, 800.0]])
# PyTorch's softplus is x itself above a threshold of 20, which is wrong in the ninth digit.
row("softplus", ONE, -4, 4, lambda x: F.softplus(x, threshold=1e9 if x.max() < 700 else 40),
    large=[[-800.0, -30.0, 0.0, 45.0, 800.0]])
row("scale", ONE, -1, 1, lambda x: 2.5 * x)
row("shift", ONE, -1, 1, lambda x: x + 2.5)
row("leaky_relu", ONE, 0.1, 1, lambda x: F.leaky_relu(x, 0.1), zero=[[-1.0, -0.0, 0.0, 1.0]])
row("leaky_relu_below", ONE, -1, -0.1, lambda x: F.leaky_relu(x, 0.1))
row("power", ONE, 0.5, 2, lambda x: x**3.0, zero=[[0.0, -1.0, 2.0]])
row("power_0", ONE, 0.5, 2, lambda x: x**0.0, zero=[[0.0, -1.0, 2.0]])
row("at_least", ONE, 0.1, 1, lambda x: x.clamp(min=0.0), tie=[[-1.0, -0.0, 0.0, 1.0]])
row("at_most", ONE, 0.1, 1, lambda x: x.clamp(max=0.0), tie=[[-1.0, -0.0, 0.0, 1.0]])
row("add", [(3, 5), (3, 5)], -1, 1, torch.add)
row("add_rows", [(2, 3, 5), (5,)], -1, 1, torch.add)
row("sub", [(3, 5), (3, 1)], -1, 1, torch.sub)
row("mul", [(3, 5), (3, 5)], -1, 1, torch.mul, zero=[[0.0, 1.0], [2.0, 0.0]])
row("mul_twice", ONE, -1, 1, lambda x: x * x)
row("div", [(3, 1), (1, 5)], 0.5, 2, torch.div, zero=[[0.0, 1.0, -1.0], [2.0, 0.0, 0.0]],
    extreme=[[1e-200, 1e200, -1e-200], [1e-170, 1e180, 1e-170]])
row("maximum", [(3, 5), (3, 5)], -1, 1, torch.maximum, tie=[[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])
row("minimum", [(3, 5), (3, 5)], -1, 1, torch.minimum, tie=[[1.0, 2.0, 3.0], [2.0, 2.0, 2.0]])

# ---- Reductions and shapes.
row("sum_to", [(4, 3, 5)], -1, 1, lambda x: x.sum((0, 2)).reshape(3, 1))
row("broadcast_to", [(3, 1)], -1, 1, lambda x: x.broadcast_to(4, 3, 5))
row("sum", ONE, -1, 1, torch.sum)
row("mean", ONE, -1, 1, torch.mean)
row("reshape", ONE, -1, 1, lambda x: x.reshape(5, 3))
row("sum_last", [(4, 3, 5)], -1, 1, lambda x: x.sum(-1))
row("mean_last", [(4, 3, 5)], -1, 1, lambda x: x.mean(-1))
row("max_last", [(4, 3, 5)], -1, 1, lambda x: x.max(-1).values,
    tie=[[[1.0, 3.0, 3.0, 2.0], [-INF, -INF, -INF, -INF], [0.0, 0.0, -0.0, 0.0]]])
row("concatenate", [(2, 3, 4), (2, 1, 4), (2, 2, 4)], -1, 1, lambda *x: torch.cat(x, 1))
row("concatenate_twice", [(2, 3)], -1, 1, lambda x: torch.cat([x, x], -1))
row("slice_rows", [(5, 3)], -1, 1, lambda x: x[1:4])

# ---- Matrix products.
row("matmul", [(3, 5), (5, 4)], -1, 1, torch.mm)
row("matmul_ta", [(5, 3), (5, 4)], -1, 1, lambda a, b: a.T @ b)
row("matmul_tb", [(3, 5), (4, 5)], -1, 1, lambda a, b: a @ b.T)
row("matmul_tab", [(5, 3), (4, 5)], -1, 1, lambda a, b: a.T @ b.T)
row("matmul_twice", [(5, 5)], -1, 1, lambda a: a @ a.T)
row("matmul_tiles", [(37, 19), (19, 41)], -1, 1, torch.mm)
row("matmul_one", [(1, 1), (1, 1)], -1, 1, torch.mm)
row("matmul_empty", [(0, 5), (5, 4)], -1, 1, torch.mm)
row("matmul_of_nothing", [(3, 0), (0, 4)], -1, 1, torch.mm)

# ---- Rows.
MASKED = [[[0.0, -INF, 1.0, -INF], [-INF, -INF, -INF, 2.0]]]
LARGE = [[[1e4, -1e4, 1e4, 0.0], [-1e4, -1e4, -1e4, -1e4]]]
row("normalize_rows", [(4, 7)], -1, 1, lambda x: F.normalize(x, dim=1, eps=1e-12),
    zero=[[[0.0, 0.0, 0.0], [1e-13, -1e-13, 0.0], [3.0, 0.0, 4.0]]])
row("softmax", [(4, 7)], -3, 3, lambda x: x.softmax(-1), masked=MASKED, large=LARGE)
row("softmax_one", [(3, 1)], -3, 3, lambda x: x.softmax(-1))
row("softmax_empty", [(0, 7)], -3, 3, lambda x: x.softmax(-1))
row("softmax_prime", [(31, 37)], -3, 3, lambda x: x.softmax(-1))
row("log_softmax", [(2, 3, 7)], -3, 3, lambda x: x.log_softmax(-1), masked=MASKED, large=LARGE)
row("log_sum_exp", [(2, 3, 7)], -3, 3, lambda x: x.logsumexp(-1), masked=MASKED, large=LARGE)
row("layer_norm", [(4, 7), (7,), (7,)], -1, 1, lambda x, g, b: F.layer_norm(x, (x.shape[1],), g, b),
    constant=[[[2.0, 2.0], [1.0, 3.0]], [0.5, 2.0], [0.1, -0.1]])
row("layer_norm_plain", [(4, 7)], -1, 1, lambda x: F.layer_norm(x, (7,), eps=1e-3))
row("cross_entropy", [(4, 7)], -3, 3, lambda x: F.cross_entropy(x, torch.tensor([3, 0, 6, 3])),
    large=[[[1e4, 0, 0, -1e4, 0, 0, 0], [-1e4, 0, 0, 0, 0, 0, 1e4], [0.0] * 7, [1e4] * 7]])
row("cross_entropy_ignored", [(4, 7)], -3, 3,
    lambda x: F.cross_entropy(x, torch.tensor([3, -100, 6, -100])))

# ---- Picking by index.
row("gather_rows", [(4, 2, 3)], -1, 1, lambda x: x[torch.tensor([2, 0, 2, 3, 2])])
row("pick", ONE, -1, 1, lambda x: x.gather(1, torch.tensor([[4], [0], [4]])).squeeze(1))


# ---- Images: NHWC and KRSC outside, NCHW and KCRS inside PyTorch.
def images(function):
    return lambda x, *rest: function(x.permute(0, 3, 1, 2), *rest).permute(0, 2, 3, 1)


def conv(name, x, w, stride=1, padding=0):
    row(name, [x, w], -1, 1, images(
        lambda x, w: F.conv2d(x, w.permute(0, 3, 1, 2), stride=stride, padding=padding)))


conv("conv2d_1x1", (2, 4, 3, 5), (3, 1, 1, 5))
conv("conv2d_1x1_s2", (2, 5, 4, 3), (7, 1, 1, 3), stride=2)
conv("conv2d_3x3", (2, 5, 4, 3), (4, 3, 3, 3), padding=1)
conv("conv2d_3x3_valid", (1, 4, 5, 2), (3, 3, 3, 2))
conv("conv2d_3x3_s2", (2, 6, 5, 3), (5, 3, 3, 3), stride=2, padding=1)
conv("conv2d_7x7_s2", (1, 9, 8, 3), (4, 7, 7, 3), stride=2, padding=3)
conv("conv2d_2x5_s3", (1, 7, 8, 2), (3, 2, 5, 2), stride=3, padding=2)
conv("conv2d_prime", (1, 3, 3, 13), (17, 3, 3, 13), padding=1)
row("conv2d_shared", [(2, 5, 4, 3), (4, 3, 3, 3), (4, 1, 1, 3)], -1, 1, images(
    lambda x, v, w: F.conv2d(x, v.permute(0, 3, 1, 2), padding=1) + F.conv2d(x, w.permute(0, 3, 1, 2))))
conv("conv2d_one", (1, 1, 1, 1), (1, 1, 1, 1))

TIES = [[[[[1.0], [2.0], [2.0], [0.0]], [[2.0], [1.0], [0.0], [0.0]],
          [[0.0], [0.0], [-1.0], [-1.0]], [[0.0], [0.0], [-1.0], [-2.0]]]]]
MAX3 = images(lambda x: F.max_pool2d(x, 3, 2, 1))
row("max_pool2d", [(2, 4, 6, 3)], -1, 1, images(lambda x: F.max_pool2d(x, 2)), tie=TIES)
row("max_pool2d_3_s2", [(2, 7, 6, 3)], -1, 1, MAX3, tie=TIES)
row("max_pool2d_3_s1", [(1, 5, 4, 2)], -1, 1, images(lambda x: F.max_pool2d(x, 3, 1, 1)), tie=TIES)
row("max_pool2d_up", [(2, 6, 7, 3)], -1, 1, images(lambda x: F.max_pool2d(x, 3, 2, ceil_mode=True)))
row("avg_pool2d", [(2, 4, 6, 3)], -1, 1, images(lambda x: F.avg_pool2d(x, 2)))
row("avg_pool2d_3_s2", [(2, 7, 6, 3)], -1, 1, images(lambda x: F.avg_pool2d(x, 3, 2, 1)))
row("global_avg_pool", [(2, 3, 4, 5)], -1, 1, lambda x: x.mean((1, 2)))
row("global_max_pool", [(2, 3, 4, 5)], -1, 1,
    lambda x: F.adaptive_max_pool2d(x.permute(0, 3, 1, 2), 1).flatten(1), tie=TIES)


def gem(x, p):
    return x.clamp(min=1e-6).pow(p).mean((1, 2)).pow(1 / p)


row("gem_pool", [(2, 3, 4, 5), (1,)], 0.5, 3, gem)
row("gem_pool_clamped", [(2, 3, 4, 5), (1,)], -1, 3, lambda x, p: gem(x, p**2 + 1.5))


def batch_norm(training=True, relu=False, eps=1e-5, keep=None):
    def run(x, gamma, beta, residual=None):
        x = x.movedim(-1, 1)
        mean, var = torch.full_like(gamma, 0.1), torch.full_like(gamma, 0.8)
        y = F.batch_norm(x, mean, var, gamma, beta, training, 0.1, eps).movedim(1, -1)
        if keep is not None:
            tensors[f"{keep}/running_mean"], tensors[f"{keep}/running_var"] = mean, var
        y = y if residual is None else y + residual
        return y.relu() if relu else y
    return run


IMAGE, CHANNELS = (2, 3, 4, 5), (5,)
NORM, NORM_ADD = [IMAGE, CHANNELS, CHANNELS], [IMAGE, CHANNELS, CHANNELS, IMAGE]
CONSTANT = [[[2.0, 0.0], [2.0, 1.0], [2.0, -1.0]], [0.5, 2.0], [0.0, 0.0]]  # relu meets 0 exactly
row("batch_norm", NORM, -1, 1, batch_norm(), constant=CONSTANT)
row("batch_norm_rows", [(7, 3), (3,), (3,)], -1, 1, batch_norm(eps=1e-3))
row("batch_norm_relu", NORM, -1, 1, batch_norm(relu=True), constant=CONSTANT)
row("batch_norm_add", NORM_ADD, -1, 1, batch_norm())
row("batch_norm_add_relu", NORM_ADD, -1, 1, batch_norm(relu=True))
row("batch_norm_eval", NORM, -1, 1, batch_norm(training=False))
row("batch_norm_eval_add_relu", NORM_ADD, -1, 1, batch_norm(training=False, relu=True))
row("batch_norm@running", NORM, -1, 1, batch_norm(keep="batch_norm@running"))

save("ops.safetensors")
