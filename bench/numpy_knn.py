#!/usr/bin/env python3
"""Exact Recall@K in NumPy: what `proxent bench knn` is compared with. Prints one JSON object.

Same sizes, same tiles, float32. --only products multiplies the tiles and throws them away, the
least that NumPy could need; --only recall also counts, for every query, the rows that come before
its best match, which gives Recall@K for every K. Neither finds what MAP@R needs."""
import argparse
import json
import resource
import time

import numpy as np

parser = argparse.ArgumentParser(description=__doc__)
parser.add_argument("--rows", type=int, default=60502)
parser.add_argument("--dim", type=int, default=512)
parser.add_argument("--classes", type=int, default=11316)
parser.add_argument("--only", choices=["products", "recall"], default="recall")
parser.add_argument("--query-tile", type=int, default=2048)
parser.add_argument("--gallery-tile", type=int, default=1024)
options = parser.parse_args()

rng = np.random.default_rng(0)
labels = np.arange(options.rows) % options.classes
x = rng.standard_normal((options.rows, options.dim), dtype=np.float32)
x *= np.float32(2.2)
x += rng.standard_normal((options.classes, options.dim), dtype=np.float32)[labels]


def starts(step):
    return range(0, options.rows, step)


def first_match(q):
    """For the queries q .. q + tile: how many rows come before the best match."""
    queries = unit[q:q + options.query_tile]
    best = np.full(len(queries), -2, np.float32)
    before = np.zeros(len(queries), np.int64)
    for i, row in enumerate(queries if options.only == "recall" else []):
        own = np.arange((q + i) % options.classes, options.rows, options.classes)
        own = own[own != q + i]
        if len(own):
            best[i] = (unit[own] @ row).max()
    for g in starts(options.gallery_tile):
        tile = queries @ unit[g:g + options.gallery_tile].T
        if options.only == "recall":
            before += np.count_nonzero(tile > best[:, None] + 1e-6, axis=1)
    return before - 1  # itself


start = time.perf_counter()
unit = x / np.linalg.norm(x, axis=1, keepdims=True)
before = np.concatenate([first_match(q) for q in starts(options.query_tile)])
seconds = time.perf_counter() - start
result = {"numpy": np.__version__, "only": options.only, "rows": options.rows, "dim": options.dim,
          "seconds": seconds, "gflops": 2e-9 * options.rows**2 * options.dim / seconds,
          "peak_rss_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024}
if options.only == "recall":
    result |= {f"r@{k}": float((before < k).mean()) for k in (1, 10, 100, 1000)}
print(json.dumps(result))
