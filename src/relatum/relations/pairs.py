"""Who occurs together, how much more than by chance, and which communities that makes.

In: (baskets, items) of ones, or lists of related items.
Out: pairs with counts, weights and strengths; the communities of their graph.
This file knows rows only.
"""

from dataclasses import dataclass

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse
from scipy.sparse.csgraph import connected_components
from sknetwork.clustering import Louvain


@dataclass(frozen=True)
class Pairs:
    """Pairs of rows, `one` before `other`: how often they occur together, and by chance would."""

    one: Int[np.ndarray, " pairs"]
    other: Int[np.ndarray, " pairs"]
    count: Float[np.ndarray, " pairs"]
    expected: Float[np.ndarray, " pairs"]
    total: float

    def weight(self) -> Float[np.ndarray, " pairs"]:
        """Return the normalised pointwise mutual information, cut to [0.01, 1]."""
        surprise = np.log(self.total / self.count)
        weight = np.log(self.count / self.expected) / np.maximum(surprise, 1e-9)
        return np.clip(np.nan_to_num(weight), 0.01, 1.0)

    def strength(self) -> Float[np.ndarray, " pairs"]:
        """Return twice the log-likelihood ratio of the count; 0 where it is not above chance."""
        ratio = 2 * (self.count * np.log(self.count / self.expected) - self.count + self.expected)
        return np.where(self.count > self.expected, np.maximum(ratio, 0), 0)

    def keep(self, kept: np.ndarray) -> "Pairs":
        """Return some of the pairs, by a mask or by their places."""
        ends = self.one[kept], self.other[kept]
        return Pairs(*ends, self.count[kept], self.expected[kept], self.total)


def count_together(baskets: sparse.csr_array) -> sparse.csr_array:
    """Return how many baskets hold both items, as a symmetric (items, items) matrix."""
    counts = sparse.csr_array(baskets.T @ baskets)
    counts.setdiag(0)
    counts.eliminate_zeros()
    return counts


def count_related(ends: Int[np.ndarray, "links 2"], items: int) -> sparse.csr_array:
    """Return 1 where one list names the other item, 2 where both do."""
    ones = np.ones(len(ends), dtype=np.int32)
    matrix = sparse.csr_array((ones, (ends[:, 0], ends[:, 1])), shape=(items, items))
    return sparse.csr_array(matrix + matrix.T)


def pairs_of(counts: sparse.csr_array) -> Pairs:
    """Return the pairs that occur, with what chance would give.

    By chance, pairs are drawn with each item's share of all ends of pairs (the configuration
    model), so that large baskets and popular items explain what they can.
    """
    ends = np.asarray(counts.sum(0), dtype=np.float64).ravel()
    upper = sparse.coo_array(sparse.triu(counts, 1))
    expected = ends[upper.row] * ends[upper.col] / max(ends.sum(), 1)
    places = upper.row.astype(np.int64), upper.col.astype(np.int64)
    return Pairs(*places, upper.data.astype(np.float64), expected, float(ends.sum()) / 2)


def strongest(pairs: Pairs, most: int) -> Pairs:
    """Keep each pair that is among the `most` strongest of one of its ends."""
    number, strength = np.arange(len(pairs.one)), pairs.strength()
    ends = np.concatenate([pairs.one, pairs.other])
    order = np.lexsort((np.concatenate([-strength, -strength]), ends))
    sorted_ends = ends[order]
    place = np.arange(len(order)) - np.searchsorted(sorted_ends, sorted_ends)
    return pairs.keep(np.unique(np.concatenate([number, number])[order][place < most]))


def communities(pairs: Pairs, items: int, *, resolution: float = 1.0) -> list[list[int]]:
    """Return communities of rows, largest first; rows without a pair are in none.

    Louvain, after which what does not hang together is taken apart, as Leiden promises (arXiv
    1810.08473). Leiden itself, as scikit-network 0.33 has it, draws from a state that nobody can
    set, and where gains are level to the last bit it may never end.
    """
    pairs = pairs.keep(pairs.strength() > 0)
    if not len(pairs.one):
        return []
    ends = (pairs.one, pairs.other)
    graph = sparse.csr_matrix((pairs.strength(), ends), shape=(items, items))
    labels = Louvain(resolution=resolution).fit_predict(graph + graph.T)
    inside = labels[pairs.one] == labels[pairs.other]
    kept = (inside[inside], (pairs.one[inside], pairs.other[inside]))
    labels = connected_components(sparse.csr_array(kept, shape=(items, items)))[1]
    linked = np.unique(np.concatenate(ends))
    order = linked[np.argsort(labels[linked], kind="stable")]
    found = np.split(order, np.flatnonzero(np.diff(labels[order])) + 1)
    return sorted((rows.tolist() for rows in found), key=lambda rows: (-len(rows), rows[0]))


def lift(
    counts: sparse.csr_array,
    one: Int[np.ndarray, " pairs"],
    other: Int[np.ndarray, " pairs"],
) -> float:
    """Return how often pairs occur together, as a multiple of what chance gives; nan if unseen.

    >>> counts = sparse.csr_array(np.array([[0, 2, 0], [2, 0, 1], [0, 1, 0]]))
    >>> lift(counts, np.array([0]), np.array([1]))
    2.0
    """
    ends = np.asarray(counts.sum(0), dtype=np.float64).ravel()
    expected = float((ends[one] * ends[other]).sum()) / max(ends.sum(), 1)
    seen = float(np.asarray(counts[one, other]).sum()) if len(one) else 0.0
    return float(seen / expected) if expected else float("nan")
