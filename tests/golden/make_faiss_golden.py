"""Writes golden/faiss.json: the nearest neighbours that faiss finds in the sets of retrieval.json,
by its exact indices (IndexFlatIP of unit rows for cosine, IndexFlatL2). Run with a Python that has
numpy and faiss-cpu, from anywhere:
  python3 tests/golden/make_faiss_golden.py
"""
import json
import os

import faiss
import numpy as np

FOLDER = os.path.dirname(os.path.abspath(__file__))
K = 10


def neighbours(case):
    """The first K rows of each query's ranking, itself left out."""
    x = np.array(case["embeddings"], dtype=np.float32)
    every = np.arange(len(x))
    queries = every if case["queries"] is None else np.array(case["queries"])
    gallery = every if case["gallery"] is None else np.array(case["gallery"])
    if case["distance"] == "cosine":
        faiss.normalize_L2(x)
    index = (faiss.IndexFlatIP if case["distance"] == "cosine" else faiss.IndexFlatL2)(x.shape[1])
    index.add(x[gallery])
    _, found = index.search(x[queries], K + 1)
    rows = gallery[found]
    return [[int(r) for r in row if r != q][:K] for q, row in zip(queries, rows)]


with open(os.path.join(FOLDER, "retrieval.json")) as file:
    cases = json.load(file)["cases"]
golden = dict(faiss=faiss.__version__, k=K, neighbours=[neighbours(c) for c in cases])
with open(os.path.join(FOLDER, "faiss.json"), "w") as file:
    json.dump(golden, file, separators=(",", ":"))
    file.write("\n")
