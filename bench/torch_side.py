"""What the comparisons with PyTorch share: reading the files that proxent leaves for them, and its loss."""
import json
import struct

import torch
import torch.nn.functional as F

DTYPES = {"F32": torch.float32, "F64": torch.float64, "I32": torch.int32, "I64": torch.int64, "U8": torch.uint8}


def read_safetensors(path):
    """Tensors by name: eight bytes of length, a JSON header, then the data."""
    with open(path, "rb") as file:
        header = json.loads(file.read(struct.unpack("<Q", file.read(8))[0]))
        data = bytearray(file.read())
    header.pop("__metadata__", None)
    tensors = {}
    for name, entry in header.items():
        begin, end = entry["data_offsets"]
        flat = torch.frombuffer(data, dtype=torch.uint8)[begin:end].clone()
        tensors[name] = flat.view(DTYPES[entry["dtype"]]).reshape(entry["shape"])
    return tensors


def multi_proxy_entropy(embeddings, proxies, labels, sigma=18.0, weight_inter=0.1, weight_intra=0.1):
    """The defaults of losses/multi_proxy_entropy.h: scores by log-sum-exp over a class's proxies, every class counts."""
    classes, per_class, _ = proxies.shape
    similarities = F.normalize(embeddings) @ F.normalize(proxies.flatten(0, 1)).t()
    logits = sigma * similarities.float().view(-1, classes, per_class)
    log_p = F.log_softmax(torch.logsumexp(logits, dim=2), dim=1)
    own = logits.gather(1, labels.view(-1, 1, 1).expand(-1, 1, per_class)).squeeze(1)
    log_q = F.log_softmax(own / 2, dim=1)  # sigma_a = sigma / 2
    inter = -(log_p.exp() * log_p).sum(1).mean()
    intra = -(log_q.exp() * log_q).sum(1).mean()
    return F.nll_loss(log_p, labels) - weight_inter * inter + weight_intra * intra
