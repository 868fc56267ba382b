"""How good rankings are, and how sure that is.

In: scores of candidates and which of them are right.
Out: ranks, Hit@k, MRR, precision@k; bootstrap intervals, paired where two methods are compared.
This room knows arrays only.
"""

from collections.abc import Sequence

import numpy as np
from jaxtyping import Bool, Float


def rank_of_first(scores: Float[np.ndarray, "queries candidates"]) -> Float[np.ndarray, " queries"]:
    """Return the rank (1 is best) of candidate 0 of each row; ties share their mean rank.

    A score that is no number is never better: the last rank.

    >>> rank_of_first(np.array([[0.5, 0.9, 0.1], [0.5, 0.5, 0.1]])).tolist()
    [2.0, 1.5]
    """
    first, rest = scores[:, :1], scores[:, 1:]
    below, level = (rest < first).sum(1), (rest == first).sum(1)
    return 1.0 + rest.shape[1] - below - 0.5 * level


def hit_at(ranks: Float[np.ndarray, " queries"], k: int) -> Float[np.ndarray, " queries"]:
    """Return 1 where the rank is at most k, else 0.

    >>> hit_at(np.array([1.0, 6.0]), 5).tolist()
    [1.0, 0.0]
    """
    return (ranks <= k).astype(np.float64)


def reciprocal(ranks: Float[np.ndarray, " queries"]) -> Float[np.ndarray, " queries"]:
    """Return 1 / rank, whose mean is the MRR.

    >>> reciprocal(np.array([1.0, 4.0])).tolist()
    [1.0, 0.25]
    """
    return 1.0 / ranks


def precision_at(
    scores: Float[np.ndarray, "queries candidates"],
    right: Bool[np.ndarray, "queries candidates"],
    candidates: Bool[np.ndarray, "queries candidates"],
    k: int,
) -> Float[np.ndarray, " queries"]:
    """Return the share of right ones among the k best candidates of each row.

    Where fewer than k are right, the best possible share is below 1, as usual. Of equal scores
    the earlier candidate comes first.
    """
    order = np.argsort(-np.where(candidates, scores, -np.inf), axis=1, kind="stable")[:, :k]
    return np.take_along_axis(right & candidates, order, axis=1).mean(1)


def filtered_reciprocal(
    scores: Float[np.ndarray, "queries candidates"],
    right: Bool[np.ndarray, "queries candidates"],
    candidates: Bool[np.ndarray, "queries candidates"],
) -> Float[np.ndarray, " queries"]:
    """Return the mean of 1 / rank over the right ones, each ranked against the wrong ones only."""
    wrong = candidates & ~right
    result = np.zeros(len(scores))
    for row in range(len(scores)):
        bad = np.sort(scores[row][wrong[row]])
        good = scores[row][right[row] & candidates[row]]
        above = len(bad) - np.searchsorted(bad, good, side="right")
        level = np.searchsorted(bad, good, side="right") - np.searchsorted(bad, good, side="left")
        result[row] = np.mean(1.0 / (1.0 + above + 0.5 * level)) if len(good) else 0.0
    return result


def macro_mean(groups: Sequence[Float[np.ndarray, " _"]]) -> float:
    """Return the mean over groups (relations) of the mean over their queries.

    >>> macro_mean([np.array([1.0, 0.0]), np.array([1.0])])
    0.75
    """
    means = [float(values.mean()) for values in groups if len(values)]
    return float(np.mean(means)) if means else float("nan")


def bootstrap(
    groups: Sequence[Float[np.ndarray, " _"]], *, draws: int = 1000, seed: int = 0
) -> tuple[float, float]:
    """Return the 95 % percentile interval of `macro_mean`, queries resampled within groups.

    Give differences of two methods on the same queries for a paired interval.
    """
    rng = np.random.default_rng(seed)
    means = []
    for values in groups:
        if len(values):
            picks = rng.integers(len(values), size=(draws, len(values)))
            means.append(values[picks].mean(1))
    if not means:
        return float("nan"), float("nan")
    low, high = np.percentile(np.mean(means, axis=0), [2.5, 97.5])
    return float(low), float(high)
