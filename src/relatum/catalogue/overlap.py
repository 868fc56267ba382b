"""How much relations cover and share, seen from a sample of items, in linear time.

In: groups and links of a relation, the order of the items, the sample.
Out: the sampled items' neighbours as a sparse matrix; the share that two relations have in common.
This file does not know of texts or vectors.
"""

from collections.abc import Iterable, Mapping, Sequence

import numpy as np
from jaxtyping import Int
from scipy import sparse

from relatum.catalogue.links import Group, Link

SAMPLE = 200


def sample_rows(count: int, size: int = SAMPLE, seed: int = 0) -> Int[np.ndarray, " sample"]:
    """Return `size` rows of `count`, or all, in order."""
    return np.sort(np.random.default_rng(seed).permutation(count)[:size])


def neighbours(
    groups: Sequence[Group],
    links: Iterable[Link],
    rows: Mapping[str, int],
    sample: Int[np.ndarray, " sample"],
) -> sparse.csr_array:
    """Return who is linked to the sampled rows, in either direction, as (sample, items) of ones."""
    count = len(rows)
    ends = [(rows[link.source], rows[link.target]) for link in links]
    one, other = np.array(ends, dtype=np.int64).reshape(-1, 2).T
    direct = _ones(np.concatenate([one, other]), np.concatenate([other, one]), (count, count))
    places = [(rows[name], place) for place, group in enumerate(groups) for name in group.items]
    item, group = np.array(places, dtype=np.int64).reshape(-1, 2).T
    members = _ones(item, group, (count, max(len(groups), 1)))
    found = direct[sample] + members[sample] @ members.T
    found = sparse.coo_array(found)
    real = sample[found.row] != found.col
    return _ones(found.row[real], found.col[real], (len(sample), count))


def _ones(one: np.ndarray, other: np.ndarray, shape: tuple[int, int]) -> sparse.csr_array:
    matrix = sparse.csr_array((np.ones(len(one), dtype=np.int32), (one, other)), shape=shape)
    matrix.sum_duplicates()
    matrix.data[:] = 1
    return matrix


def jaccard(one: sparse.csr_array, other: sparse.csr_array) -> float:
    """Return the share of pairs that both have among those that either has.

    >>> matrix = sparse.csr_array(np.array([[0, 1, 1]]))
    >>> jaccard(matrix, sparse.csr_array(np.array([[0, 1, 0]])))
    0.5
    """
    both = int(one.multiply(other).sum())
    either = one.nnz + other.nnz - both
    return both / either if either else 0.0
