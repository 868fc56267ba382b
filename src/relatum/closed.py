"""What closed forms share: means, principal directions, buffers as long as what was fitted.

In: tensors of features.
Out: the same, of length 1, turned, or with room for what is loaded.
This room does not know what is fitted.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import torch
from jaxtyping import Bool, Float
from scipy import linalg
from torch import Tensor
from torch.nn import functional

from relatum.batch import Part

TINY = 1e-6  # share of the largest eigenvalue below which one is taken for 0


def unit(vectors: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
    """Bring vectors to length 1."""
    return functional.normalize(vectors, dim=-1)


def mean_of(part: Part) -> Float[Tensor, "1 width"]:
    """Return the mean of the pooled vectors, each of length 1; 0 where no item has the part."""
    there = unit(part.pooled[part.present])
    return there.mean(0, keepdim=True) if len(there) else torch.zeros_like(part.pooled[:1])


def alike(narrow: Bool[Tensor, " texts"]) -> Float[Tensor, " texts"]:
    """Return weights of mean 1 by which both kinds weigh alike, however many there are of each."""
    weight = torch.where(narrow, 1 / narrow.sum(), 1 / (~narrow).sum()).double()
    return weight / weight.mean()


def principal(
    matrix: Float[Tensor, "width width"], count: int
) -> tuple[Float[Tensor, " kept"], Float[Tensor, "width kept"]]:
    """Return the largest eigenvalues of a matrix that has no negative ones, and their vectors."""
    width = len(matrix)
    first = max(width - count, 0)
    values, vectors = linalg.eigh(matrix.numpy(), subset_by_index=(first, width - 1))
    kept = values > max(TINY * values[-1], 0)
    values, vectors = values[kept], vectors[:, kept]
    return torch.from_numpy(values), torch.from_numpy(vectors * signs(vectors))


def signs(columns: np.ndarray) -> np.ndarray:
    """Return by what each column is multiplied so that its largest number is positive."""
    return np.sign(columns[np.abs(columns).argmax(0), np.arange(columns.shape[1])])


def take_sizes(module: Any, tensors: Mapping[str, Tensor], prefix: str, *_: object) -> None:  # noqa: ANN401
    """Give the buffers that its `SIZES` names the lengths of what is loaded; a hook of torch."""
    for name in module.SIZES:
        if prefix + name in tensors:
            device = getattr(module, name).device
            setattr(module, name, torch.empty_like(tensors[prefix + name], device=device))
