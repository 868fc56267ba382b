"""Relation-guided retrieval: how well a method answers the questions.

In: questions, and a method that scores all items against all under a direction.
Out: per direction and way to compare, the outcome of every query.
This file does not know how a method scores.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from relatum.catalogue import Direction
from relatum.metrics import (
    filtered_reciprocal,
    hit_at,
    macro_mean,
    precision_at,
    rank_of_first,
    reciprocal,
)
from relatum.protocols.questions import Questions

Scores = Mapping[str, Float[np.ndarray, "items items"]]  # by the way to compare
Method = Callable[[Direction], Scores]

METRICS = (
    "hit@5",
    "hit@1",
    "mrr",
    "other hit@5",
    "other hit@1",
    "other mrr",
    "precision@10",
    "full mrr",
)


@dataclass(frozen=True)
class Outcome:
    """A method's results: `values[way][metric][direction name]` is an array over queries."""

    name: str
    values: Mapping[str, Mapping[str, Mapping[str, Float[np.ndarray, " _"]]]]

    def groups(self, way: str, metric: str) -> list[Float[np.ndarray, " _"]]:
        """Return the outcomes by direction, as the intervals need them."""
        return list(self.values[way][metric].values())

    def mean(self, way: str, metric: str) -> float:
        """Return the mean over directions of the mean over queries."""
        return macro_mean(self.groups(way, metric))


def measure(name: str, method: Method, questions: Sequence[Questions]) -> Outcome:
    """Ask a method all questions."""
    values: dict[str, dict[str, dict[str, np.ndarray]]] = {}
    for asked in questions:
        for way, scores in method(asked.direction).items():
            results = _answers(asked, scores)
            for metric in METRICS:
                by_direction = values.setdefault(way, {}).setdefault(metric, {})
                by_direction[asked.direction.name] = results[metric]
    return Outcome(name, values)


def _answers(
    asked: Questions, scores: Float[np.ndarray, "items items"]
) -> dict[str, Float[np.ndarray, " queries"]]:
    results: dict[str, np.ndarray] = {}
    for prefix, offered in (("", asked.random), ("other ", asked.other)):
        ranks = rank_of_first(scores[asked.sources[:, None], offered])
        results[f"{prefix}hit@5"] = hit_at(ranks, 5)
        results[f"{prefix}hit@1"] = hit_at(ranks, 1)
        results[f"{prefix}mrr"] = reciprocal(ranks)
    rows = asked.sources
    everything = scores[rows], asked.right[rows], asked.allowed[rows]
    results["precision@10"] = precision_at(*everything, 10)
    results["full mrr"] = filtered_reciprocal(*everything)
    return results
