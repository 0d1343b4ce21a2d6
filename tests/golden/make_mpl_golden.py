#!/usr/bin/env python3
"""Regenerates tests/golden/multi_proxy_entropy.safetensors: inputs, losses, terms and gradients of the
multi-proxy entropy loss in float64, from its definition in plain NumPy. The gradients are complex-step
derivatives (d f/dx = Im f(x + ih) / h, exact to rounding), so no closed form of ours enters.
Usage: make_mpl_golden.py [OUT]"""
import json
import os
import struct
import sys

import numpy as np

STEP = 1e-30
IGNORED = -100


def unit(rows):
    return rows / np.sqrt((rows * rows).sum(-1, keepdims=True))  # no conjugate: stays analytic


def log_sum_exp(x):
    top = x.real.max()
    return top + np.log(np.exp(x - top).sum())


def log_softmax(x):
    return x - log_sum_exp(x)


def entropy(x):
    """Of softmax(x)."""
    log_p = log_softmax(x)
    return -(np.exp(log_p) * log_p).sum()


def class_score(s, o):
    """The score of a class whose K proxies have similarities s."""
    if o["select"] == "max":
        return s[np.argmax(s.real)]
    gamma = o["gamma"] or (1 / o["sigma"] if o["select"] == "lse" else 0.1)
    if o["select"] == "lse":
        return gamma * log_sum_exp(s / gamma)
    q = np.exp(log_softmax(s / gamma))
    return ((q.real if o["detach_selection"] else q) * s).sum()


def sample_terms(s, y, usage, o):
    """Cross-entropy, inter and intra entropy and usage term of one sample; s is (C, K)."""
    C, K = s.shape
    sigma, sigma_h, sigma_a = o["sigma"], o["sigma_h"] or o["sigma"], o["sigma_a"] or o["sigma"] / 2
    S = np.array([class_score(s[c], o) for c in range(C)])
    others = np.arange(C) != y
    positive = sigma * (S[y] - o["margin"])
    negatives = sigma * (S[others] if o["negatives"] == "selected" else s[others].reshape(-1))
    ce = log_sum_exp(np.concatenate([[positive], negatives])) - positive
    rivals = S if o["inter"] == "all" else S[others]
    inter = entropy(sigma_h * rivals) if len(rivals) else 0.0
    log_q = log_softmax(sigma_a * s[y])
    intra = -(np.exp(log_q) * log_q).sum()
    used = 0.0
    if usage is not None:
        log_r = log_softmax(log_q.real - np.log(usage[y]))  # real: a target without a derivative
        used = (np.exp(log_r) * (log_r - log_q)).sum()
    if o["normalise_entropy"]:
        inter = inter / np.log(C) if C > 1 else inter
        intra = intra / np.log(K) if K > 1 else intra
        used = used / np.log(K) if K > 1 else used
    return np.array([ce, inter, intra, used])


def loss(z, w, labels, usage, o):
    s = np.einsum("bd,ckd->bck", unit(z), unit(w))
    rows = [sample_terms(s[i], y, usage, o) for i, y in enumerate(labels) if y != IGNORED]
    terms = np.mean(rows, axis=0)
    weights = np.array([1, -o["weight_inter"], o["weight_intra"], o["weight_usage"]])
    return (weights * terms).sum(), terms


def complex_step(f, x):
    gradient = np.zeros(x.shape)
    for i in np.ndindex(x.shape):
        moved = x.astype(complex)
        moved[i] += 1j * STEP
        gradient[i] = f(moved).imag / STEP
    return gradient


DEFAULTS = dict(sigma=18.0, sigma_h=None, sigma_a=None, gamma=None, margin=0.0, select="lse",
                negatives="selected", inter="all", weight_inter=0.1, weight_intra=0.1,
                weight_usage=0.0, normalise_entropy=False, detach_selection=False)


def cases():
    base = dict(sigma=9.0, sigma_h=7.0, sigma_a=5.0, margin=0.05, weight_inter=0.3, weight_intra=0.7,
                gamma=0.2)
    for select in ("max", "soft", "lse"):
        for inter in ("all", "complement"):
            for negatives in ("selected", "all_proxies"):
                yield f"{select}_{inter}_{negatives}", (5, 7, 3, 6), dict(
                    base, select=select, inter=inter, negatives=negatives)
    yield "defaults", (5, 7, 3, 6), {}
    yield "soft_defaults", (5, 7, 3, 6), dict(select="soft")
    yield "normalised", (5, 7, 3, 6), dict(base, normalise_entropy=True, weight_usage=0.3)
    yield "detached", (5, 7, 3, 6), dict(base, select="soft", detach_selection=True)
    yield "usage", (5, 7, 3, 6), dict(weight_usage=0.3)
    yield "usage_max", (5, 7, 3, 6), dict(base, select="max", weight_usage=0.3)
    yield "ignored_rows", (6, 5, 2, 4), dict(base)
    yield "one_proxy", (4, 7, 1, 5), dict(base)
    yield "one_class_complement", (3, 1, 4, 5), dict(base, inter="complement")
    yield "two_classes_complement", (3, 2, 2, 5), dict(base, inter="complement", margin=0.3)
    yield "one_dimension", (3, 5, 2, 1), dict(base)
    yield "one_row", (1, 11, 2, 3), dict(base, negatives="all_proxies")
    yield "many_classes", (3, 67, 2, 2), dict(base, sigma_h=None)


def make_case(number, shape, options):
    B, C, K, D = shape
    o = dict(DEFAULTS, **options)
    # The twelve combinations share the inputs that the method's reference prints its losses for.
    rng = np.random.default_rng(0 if shape == (5, 7, 3, 6) else number)
    z = rng.normal(size=(B, D)) * 2
    w = rng.normal(size=(C, K, D))
    labels = rng.integers(0, C, B)
    if shape == (6, 5, 2, 4):
        labels[[1, 4]] = IGNORED
    usage = rng.dirichlet(np.full(K, 2.0), size=C) if o["weight_usage"] else None
    value, terms = loss(z, w, labels, usage, o)
    arrays = dict(
        embeddings=z, proxies=w, labels=labels.astype(np.int32), loss=np.array(value),
        terms=terms.astype(float), dz=complex_step(lambda x: loss(x, w, labels, usage, o)[0], z),
        dw=complex_step(lambda x: loss(z, x, labels, usage, o)[0], w))
    if usage is not None:
        arrays["usage"] = usage
    return o, arrays


def write_safetensors(path, arrays, metadata):
    names = {np.dtype(np.float64): "F64", np.dtype(np.int32): "I32"}
    header, data = {"__metadata__": metadata}, b""
    for name, array in arrays.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = dict(dtype=names[array.dtype], shape=list(array.shape),
                            data_offsets=[len(data), len(data) + len(raw)])
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as out:
        out.write(struct.pack("<Q", len(text)) + text + data)


def main():
    here = os.path.dirname(os.path.abspath(__file__))
    out = sys.argv[1] if len(sys.argv) > 1 else os.path.join(here, "multi_proxy_entropy.safetensors")
    arrays, metadata = {}, {"numpy": np.__version__}
    for number, (name, shape, options) in enumerate(cases()):
        o, made = make_case(number, shape, options)
        metadata[name] = json.dumps(o)
        arrays.update({f"{name}.{key}": value for key, value in made.items()})
        print(f"{name:28s} L = {made['loss']:.12f}")
    write_safetensors(out, arrays, metadata)


if __name__ == "__main__":
    main()
