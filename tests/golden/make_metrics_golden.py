"""Writes golden/metrics.json: NMI, AMI, average precision, nDCG, ROC curves and k-means of small
random cases as scikit-learn computes them, and MRR and mean average precision as
pytorch-metric-learning does. Run with a Python that has both, from anywhere:
  python3 tests/golden/make_metrics_golden.py
"""
import json
import os
import warnings

import numpy as np
import pytorch_metric_learning
import sklearn
import torch
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN
from pytorch_metric_learning.distances import CosineSimilarity
from sklearn.cluster import KMeans
from sklearn.metrics import (adjusted_mutual_info_score, average_precision_score, ndcg_score,
                             normalized_mutual_info_score, roc_auc_score, roc_curve)

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "metrics.json")
FARS = (0.5, 1e-1, 1e-2, 1e-3)
KS = (1, 3, 10, 1000)


def partitions():
    """Pairs of labellings: alike, unrelated, of very different sizes, many of one picture."""
    rng = np.random.RandomState(1)
    for n, a_parts, b_parts, noise in ((60, 4, 4, .2), (200, 7, 11, 1), (150, 2, 90, .5),
                                       (300, 150, 150, .3), (40, 3, 3, 0)):
        a = rng.randint(0, a_parts, n)
        b = np.where(rng.rand(n) < noise, rng.randint(0, b_parts, n), a % b_parts)
        yield dict(a=a.tolist(), b=b.tolist(),
                   nmi_arithmetic=normalized_mutual_info_score(a, b),
                   nmi_geometric=normalized_mutual_info_score(a, b, average_method="geometric"),
                   ami=adjusted_mutual_info_score(a, b),
                   ami_geometric=adjusted_mutual_info_score(a, b, average_method="geometric"))


def rankings():
    """Whether each row of a ranking is a match."""
    rng = np.random.RandomState(2)
    for n, share in ((1, 1), (5, .5), (40, .1), (40, .9), (400, .3)):
        match = rng.rand(n) < share
        match[rng.randint(n)] = True
        score = -np.arange(n, dtype=float)
        ndcg = [ndcg_score([match.astype(float)], [score], k=k, ignore_ties=True) if n > 1 else 1.0
                for k in KS]
        yield dict(match=match.astype(int).tolist(), ks=KS, ndcg=ndcg,
                   precision=[float(match[:k].sum() / k) for k in KS],
                   average_precision=average_precision_score(match, score))


def embedded(seed, rows, dim, classes):
    """Small integers, so that float32 holds them exactly."""
    rng = np.random.RandomState(seed)
    labels = rng.randint(0, classes, rows)
    x = rng.randint(-60, 61, (classes, dim))[labels] + rng.randint(-70, 71, (rows, dim))
    return x, labels


def unit(x):
    x = x.astype(np.float64)
    return x / np.linalg.norm(x, axis=1, keepdims=True)


def embeddings():
    for seed, rows, dim, classes in ((3, 80, 6, 5), (4, 120, 8, 30)):
        x, labels = embedded(seed, rows, dim, classes)
        calculator = AccuracyCalculator(include=("mean_reciprocal_rank", "mean_average_precision"),
                                        k=rows - 1, knn_func=CustomKNN(CosineSimilarity()))
        found = calculator.get_accuracy(torch.tensor(x, dtype=torch.float32), torch.tensor(labels))
        i, j = np.triu_indices(rows, 1)
        same, score = labels[i] == labels[j], (unit(x) @ unit(x).T)[i, j]
        far, tar, _ = roc_curve(same, score, drop_intermediate=False)
        k_means = KMeans(len(np.unique(labels)), n_init=20, random_state=0).fit(unit(x))
        yield dict(embeddings=x.tolist(), labels=labels.tolist(),
                   mrr=float(found["mean_reciprocal_rank"]),
                   mean_average_precision=float(found["mean_average_precision"]),
                   positives=int(same.sum()), negatives=int((~same).sum()),
                   auc=roc_auc_score(same, score), fars=FARS,
                   tar=[float(tar[far <= f].max()) for f in FARS], inertia=k_means.inertia_)


warnings.filterwarnings("ignore")
golden = dict(sklearn=sklearn.__version__, torch=torch.__version__,
              pytorch_metric_learning=pytorch_metric_learning.__version__,
              partitions=list(partitions()), rankings=list(rankings()),
              embeddings=list(embeddings()))
with open(OUT, "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
print(OUT, os.path.getsize(OUT), "bytes;",
      [round(c["ami"], 3) for c in golden["partitions"]],
      [(round(c["mrr"], 3), round(c["auc"], 3), c["tar"]) for c in golden["embeddings"]])
