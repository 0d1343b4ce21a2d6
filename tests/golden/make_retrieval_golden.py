"""Writes golden/retrieval.json: retrieval metrics of small random sets as pytorch-metric-learning
computes them (MAP@R, R-precision, and Recall@1, which it calls precision at 1), and Recall@K by
sorting in NumPy. Run with a Python that has torch and pytorch-metric-learning 2, from anywhere:
  python3 tests/golden/make_retrieval_golden.py
"""
import json
import os

import numpy as np
import pytorch_metric_learning
import torch
from pytorch_metric_learning.distances import CosineSimilarity, LpDistance
from pytorch_metric_learning.utils.accuracy_calculator import AccuracyCalculator
from pytorch_metric_learning.utils.inference import CustomKNN

OUT = os.path.join(os.path.dirname(os.path.abspath(__file__)), "retrieval.json")
METRICS = ("precision_at_1", "r_precision", "mean_average_precision_at_r")
KS = (1, 2, 4, 8, 30)


def recalls(x, labels, queries, gallery, distance):
    """Recall@K in float64 over queries that have a match; None where a match ties with another."""
    x = x.astype(np.float64)
    if distance == "cosine":
        x = x / np.linalg.norm(x, axis=1, keepdims=True)
        score = x @ x.T
    else:
        score = -((x[:, None] - x[None]) ** 2).sum(-1)
    hits = {k: [] for k in KS}
    for q in queries:
        others = np.array([g for g in gallery if g != q])
        order = others[np.argsort(-score[q, others], kind="stable")]
        match = labels[order] == labels[q]
        if (-np.diff(score[q, order])[match[1:] != match[:-1]]).min(initial=1) < 1e-6:
            return None
        if match.any():
            for k in KS:
                hits[k].append(match[:k].any())
    return [float(np.mean(hits[k])) for k in KS]


def case(name, seed, rows, dim, classes, distance, has_split):
    rng = np.random.RandomState(seed)
    labels = np.concatenate([rng.randint(0, classes, rows - 3), classes + np.arange(3)])
    centre = rng.randint(-60, 61, (classes + 3, dim))
    x = centre[labels] + rng.randint(-90, 91, (rows, dim))
    queries = gallery = np.arange(rows)
    if has_split:
        queries, gallery = np.split(rng.permutation(rows), [rows // 3])
    kernel = LpDistance(normalize_embeddings=False) if distance == "euclidean" else CosineSimilarity()
    calculator = AccuracyCalculator(include=METRICS, k="max_bin_count", knn_func=CustomKNN(kernel))
    rows_of = lambda i: (torch.tensor(x[i], dtype=torch.float32), torch.tensor(labels[i]))
    arguments = (*rows_of(queries), *rows_of(gallery)) if has_split else rows_of(queries)
    found = calculator.get_accuracy(*arguments)
    recall = recalls(x, labels, queries, gallery, distance)
    if recall is None:
        return case(name, seed + 100, rows, dim, classes, distance, has_split)
    assert abs(recall[0] - found["precision_at_1"]) < 1e-9
    return dict(
        name=name, distance=distance, embeddings=x.tolist(), labels=labels.tolist(),
        queries=queries.tolist() if has_split else None,
        gallery=gallery.tolist() if has_split else None,
        recall_at=KS, recall=recall, r_precision=float(found["r_precision"]),
        map_at_r=float(found["mean_average_precision_at_r"]))


golden = dict(
    torch=torch.__version__, pytorch_metric_learning=pytorch_metric_learning.__version__,
    cases=[
        case("cosine", 1, 90, 6, 9, "cosine", False),
        case("euclidean", 2, 90, 6, 9, "euclidean", False),
        case("query and gallery", 3, 120, 5, 12, "cosine", True),
        case("many small classes", 4, 100, 7, 40, "cosine", False),
    ])
with open(OUT, "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
print(OUT, os.path.getsize(OUT), "bytes;",
      [(c["name"], round(c["recall"][0], 3), round(c["map_at_r"], 3)) for c in golden["cases"]])
