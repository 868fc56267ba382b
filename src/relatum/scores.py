"""How alike items are: the five similarities of the paper and the fused one.

In: vectors of queries and of candidates.
Out: inner products, one matrix for each way to compare.
This room does not know under which relation the vectors were made.
"""

from typing import Literal

import torch
from jaxtyping import Float
from torch import Tensor

from relatum.batch import Vectors

Way = Literal["TT", "II", "TI", "IT", "AVG", "both"]
WAYS: tuple[Way, ...] = ("TT", "II", "TI", "IT", "AVG", "both")


def compare(queries: Vectors, candidates: Vectors, way: Way) -> Float[Tensor, "queries candidates"]:
    """Return cosines; AVG is the mean of TT, II, TI and IT where both ends have the modality."""
    if way == "both":
        return queries.both @ candidates.both.T
    if way == "AVG":
        pairs = [_pair(queries, candidates, one) for one in ("TT", "II", "TI", "IT")]
        present = [(a.any(1).float()[:, None] * b.any(1).float()) for a, b in pairs]
        total = torch.stack([a @ b.T for a, b in pairs]).sum(0)
        return total / torch.stack(present).sum(0).clamp(min=1)
    query, candidate = _pair(queries, candidates, way)
    return query @ candidate.T


def _pair(queries: Vectors, candidates: Vectors, way: Way) -> tuple[Tensor, Tensor]:
    query = queries.text if way[0] == "T" else queries.image
    return query, candidates.text if way[1] == "T" else candidates.image
