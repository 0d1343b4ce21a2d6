"""Writes golden/losses.safetensors: values and gradients of the losses of the literature, by
pytorch-metric-learning where it has them and from their formulas in PyTorch where not.
Run with Debian's python3-torch, and the wheel of pytorch-metric-learning (2.9.0), which needs scipy, on PYTHONPATH:
  PYTHONPATH=pytorch_metric_learning-2.9.0-py3-none-any.whl /usr/bin/python3 tests/golden/make_loss_golden.py
"""
import math

import pytorch_metric_learning
import torch
import torch.nn.functional as F
from pytorch_metric_learning import losses, miners, reducers

from golden_cases import row, save

B, C, D = 7, 5, 6
LABELS = torch.tensor([0, 4, 2, 0, 4, 1, 0])
Z = (B, D)


def with_weights(make, weights_of, K=1):
    """A loss of the library as a function of embeddings and proxies (C, K, D)."""
    def run(z, w):
        loss = make().double()
        name, value = weights_of(w)
        delattr(loss, name)  # a Parameter, for which a computed tensor cannot stand
        setattr(loss, name, value)
        return loss(z, LABELS)
    return run


def columns(w):
    return "W", w.reshape(-1, D).t()


row("proxy_anchor", [Z, (C, 1, D)], -1, 1,
    with_weights(lambda: losses.ProxyAnchorLoss(C, D, margin=0.1, alpha=5),
                 lambda w: ("proxies", w[:, 0])))
row("arcface", [Z, (C, 1, D)], -1, 1,
    with_weights(lambda: losses.ArcFaceLoss(C, D, margin=math.degrees(0.5), scale=5), columns))
row("arcface_of_3_centres", [Z, (C, 3, D)], -1, 1,
    with_weights(lambda: losses.SubCenterArcFaceLoss(
        num_classes=C, embedding_size=D, margin=math.degrees(0.5), scale=5, sub_centers=3),
                 columns))

row("cosface", [Z, (C, 1, D)], -1, 1,
    with_weights(lambda: losses.CosFaceLoss(C, D, margin=0.35, scale=5), columns))
row("norm_softmax", [Z, (C, 1, D)], -1, 1,
    with_weights(lambda: losses.NormalizedSoftmaxLoss(C, D, temperature=0.05), columns))
# ProxyNCA++: its scale of 3 on both sides is 3^2 times the squared distance.
row("proxy_nca", [Z, (C, 1, D)], -1, 1,
    with_weights(lambda: losses.ProxyNCALoss(C, D, softmax_scale=9), lambda w: ("proxies", w[:, 0])))
row("soft_triple", [Z, (C, 3, D)], -1, 1,
    with_weights(lambda: losses.SoftTripleLoss(
        C, D, centers_per_class=3, la=5, gamma=0.3, margin=0.05),
                 lambda w: ("fc", w.reshape(-1, D).t())))


def proxy_gml(z, w, share=0.45, weight=0.3):
    K = w.shape[1]
    own = F.one_hot(LABELS, C).double()
    proxies = F.normalize(w, dim=-1)
    s = torch.einsum("bd,ckd->bck", F.normalize(z, dim=-1), proxies)
    kept = (s + 1000 * own[:, :, None]).flatten(1).topk(math.ceil(share * C * K), dim=1).indices
    mask = torch.zeros(B, C * K, dtype=torch.bool).scatter(1, kept, True).view(B, C, K)
    logits = torch.where(mask, s, torch.zeros_like(s)).sum(-1)
    logits = logits.masked_fill(~mask.any(-1), -math.inf)
    sums = torch.einsum("ad,ckd->ac", proxies.reshape(C * K, D), proxies)
    of_proxies = torch.arange(C).repeat_interleave(K)
    return F.cross_entropy(logits, LABELS) + weight * F.cross_entropy(sums, of_proxies)


row("proxy_gml", [Z, (C, 2, D)], -1, 1, proxy_gml)


def merging_penalty(w):
    K = w.shape[1]
    w = F.normalize(w, dim=-1)
    total = 0
    for s in range(K):
        for t in range(s + 1, K):
            total = total + torch.sqrt(2 + 1e-5 - 2 * (w[:, s] * w[:, t]).sum(-1)).sum()
    return total / (C * K * (K - 1))


row("merging_penalty", [(C, 3, D)], -1, 1, merging_penalty)


def mined(loss, miner):
    return lambda z: loss(z, LABELS, miner(z, LABELS))


MEAN = reducers.MeanReducer()
row("contrastive", [Z], -1, 1,
    lambda z: losses.ContrastiveLoss(pos_margin=0.4, neg_margin=1.2)(z, LABELS))
row("triplet_batch_hard", [Z], -1, 1,
    mined(losses.TripletMarginLoss(margin=0.3, reducer=MEAN), miners.BatchHardMiner()))
row("triplet_semi_hard", [Z], -1, 1,
    mined(losses.TripletMarginLoss(margin=0.5), miners.TripletMarginMiner(0.5, "semihard")))
row("multi_similarity", [Z], -1, 1,
    mined(losses.MultiSimilarityLoss(alpha=2, beta=5, base=0.5), miners.MultiSimilarityMiner(0.3)))


# Cross-batch memory, from its formulas: the library's gives no gradient to the batch as references.
def memory_after(batches, size):
    """What a queue of so many places holds after the batches, newest first: rows and labels."""
    rows, labels = torch.empty(0, D, dtype=torch.float64), torch.empty(0, dtype=torch.long)
    for first, batch_labels in batches:
        i = first + torch.arange(len(batch_labels), dtype=torch.float64)[:, None]
        d = torch.arange(D, dtype=torch.float64)
        batch = F.normalize((5 * i + 3 * d + i * d) % 11 - 5)
        rows = torch.cat([batch.float().double(), rows])[:size]  # kept in float32
        labels = torch.cat([torch.tensor(batch_labels), labels])[:size]
    return rows, labels


def against_memory(loss):
    rows, labels = memory_after([(0, [0, 1, 4]), (3, [3, 4, 0, 1])], 5)
    positive = LABELS[:, None] == torch.cat([LABELS, labels])
    negative = ~positive
    positive[range(B), range(B)] = False

    def run(z):
        z = F.normalize(z)
        return loss(z @ torch.cat([z, rows]).t(), positive, negative)
    return run


def mean_above_zero(x):
    return x[x > 0].mean()


def contrastive(s, positive, negative):
    d = torch.sqrt(2 - 2 * s[positive | negative])
    kind = positive[positive | negative]
    return mean_above_zero(d[kind] - 0.4) + mean_above_zero(1.2 - d[~kind])


def multi_similarity(s, positive, negative, alpha=2, beta=5, base=0.5, epsilon=0.3):
    least = s.masked_fill(~positive, math.inf).amin(1, keepdim=True)
    greatest = s.masked_fill(~negative, -math.inf).amax(1, keepdim=True)
    p, n = positive & (s < greatest + epsilon), negative & (s > least - epsilon)
    pull = torch.log(1 + (torch.exp(-alpha * (s - base)) * p).sum(1)) / alpha
    push = torch.log(1 + (torch.exp(beta * (s - base)) * n).sum(1)) / beta
    return (pull + push).mean()


def distances(s):  # clamped: at 0, a row's distance from itself, the root has no slope
    return torch.sqrt(2 - 2 * s.clamp(max=1 - 1e-15))


def triplet_batch_hard(s, positive, negative, margin=0.3):
    d = distances(s)
    is_anchor = positive.any(1) & negative.any(1)
    farthest = d.masked_fill(~positive, -math.inf).amax(1)
    nearest = d.masked_fill(~negative, math.inf).amin(1)
    return F.relu(farthest - nearest + margin)[is_anchor].mean()


def triplet_semi_hard(s, positive, negative, margin=0.5):
    d = distances(s)
    gap = d[:, None, :] - d[:, :, None]  # of anchor, positive, negative
    chosen = positive[:, :, None] & negative[:, None, :] & (gap > 0) & (gap < margin)
    return (margin - gap)[chosen].mean()


row("contrastive_with_memory", [Z], -1, 1, against_memory(contrastive))
row("triplet_batch_hard_with_memory", [Z], -1, 1, against_memory(triplet_batch_hard))
row("triplet_semi_hard_with_memory", [Z], -1, 1, against_memory(triplet_semi_hard))
row("multi_similarity_with_memory", [Z], -1, 1, against_memory(multi_similarity))

save("losses.safetensors", pytorch_metric_learning=pytorch_metric_learning.__version__)
