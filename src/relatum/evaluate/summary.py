"""Outcomes as numbers with intervals: what the report's tables hold.

In: the questions of one section and the outcomes of all methods.
Out: a `Section` of plain data.
This file does not know how tables are written.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Float

from relatum.evaluate.baselines import FROZEN
from relatum.metrics import bootstrap, macro_mean
from relatum.protocols.questions import Questions
from relatum.protocols.retrieval import METRICS, Outcome

BY_RELATION = ("hit@5", "other hit@5", "precision@10")
FEW = 30  # queries below which a direction says little, and sways the mean
Groups = list[Float[np.ndarray, " _"]]


@dataclass(frozen=True)
class Number:
    """A mean and its 95 % bootstrap interval."""

    value: float
    low: float
    high: float


@dataclass(frozen=True)
class Row:
    """A method compared in one way: a number for each measure."""

    method: str
    way: str
    numbers: dict[str, Number]


@dataclass(frozen=True)
class Difference:
    """How far one method is ahead of another on the same queries, for each measure."""

    method: str
    against: str
    numbers: dict[str, Number]


@dataclass(frozen=True)
class RelationRow:
    """One direction: what was asked, and `numbers[method][measure]` by the fused vectors.

    Where another frozen way than the best of all is best here, it is `best frozen here`.
    """

    name: str
    text: str
    queries: int
    targets: float
    left_out: int
    numbers: dict[str, dict[str, Number]]


@dataclass(frozen=True)
class Section:
    """The answers to one set of questions.

    `best_frozen` names, for each measure, the frozen way that did best on these very queries.
    `left_out` counts ordered pairs whose texts give the answer away.
    """

    title: str
    about: str
    candidates: int
    queries: int
    left_out: int
    best_frozen: dict[str, str]
    rows: list[Row]
    differences: list[Difference]
    relations: list[RelationRow]

    @property
    def few(self) -> list[RelationRow]:
        """Return the directions of few queries."""
        return [one for one in self.relations if one.queries < FEW]

    def find(self, method: str, way: str = "both") -> Row | None:
        """Return the row of a method compared in a way."""
        rows = (row for row in self.rows if (row.method, row.way) == (method, way))
        return next(rows, None)

    def best(self, metric: str) -> Number:
        """Return the number of the frozen way that did best on a measure."""
        name = self.best_frozen[metric]
        return next(row.numbers[metric] for row in self.rows if row.method == name)


def summarise(
    title: str, about: str, asked: Sequence[Questions], outcomes: Sequence[Outcome]
) -> Section:
    """Turn outcomes into a section. The first one is of the frozen encoders, by `FROZEN` ways."""
    frozen, *trained = outcomes
    best = {metric: _best_way(frozen, metric) for metric in METRICS}
    return Section(
        title=title,
        about=about,
        candidates=len(asked[0].right),
        queries=sum(len(one.sources) for one in asked),
        left_out=sum(one.left_out for one in asked),
        best_frozen={metric: FROZEN[way] for metric, way in best.items()},
        rows=[row for outcome in outcomes for row in _rows(outcome, outcome is frozen)],
        differences=_differences(frozen, trained, best),
        relations=[_relation_row(one, frozen, trained, best) for one in asked],
    )


def _best_way(frozen: Outcome, metric: str) -> str:
    means = [(frozen.mean(way, metric), way) for way in FROZEN]
    return max(means, key=lambda pair: pair[0])[1]


def _rows(outcome: Outcome, is_frozen: bool) -> list[Row]:
    rows: list[Row] = []
    for way in outcome.values:
        name = FROZEN[way] if is_frozen else outcome.name
        numbers = {metric: _number(outcome.groups(way, metric)) for metric in METRICS}
        rows.append(Row(name, way, numbers))
    return rows


def _differences(
    frozen: Outcome, trained: Sequence[Outcome], best: dict[str, str]
) -> list[Difference]:
    """Compare the last trained method with those before it and with the best frozen way."""
    *others, method = trained
    found = [_difference(method, other, dict.fromkeys(METRICS, "both")) for other in others]
    return [*found, _difference(method, frozen, best, "best frozen")]


def _difference(
    method: Outcome, other: Outcome, ways: dict[str, str], name: str | None = None
) -> Difference:
    numbers: dict[str, Number] = {}
    for metric in METRICS:
        ends = method.groups("both", metric), other.groups(ways[metric], metric)
        numbers[metric] = _number([a - b for a, b in zip(*ends, strict=True)])
    return Difference(method.name, name or other.name, numbers)


def _relation_row(
    asked: Questions, frozen: Outcome, trained: Sequence[Outcome], best: dict[str, str]
) -> RelationRow:
    name = asked.direction.name
    here = {
        metric: max((way, *FROZEN), key=lambda way: frozen.values[way][metric][name].mean())
        for metric, way in best.items()
    }
    numbers: dict[str, dict[str, Number]] = {}
    for metric in BY_RELATION:
        for title, ways in (("best frozen", best), ("best frozen here", here)):
            one = _number([frozen.values[ways[metric]][metric][name]])
            numbers.setdefault(title, {})[metric] = one
        for outcome in trained:
            one = _number([outcome.values["both"][metric][name]])
            numbers.setdefault(outcome.name, {})[metric] = one
    if numbers["best frozen here"] == numbers["best frozen"]:
        del numbers["best frozen here"]
    targets = float(asked.right[asked.sources].sum(1).mean())
    return RelationRow(
        name, asked.direction.text, len(asked.sources), targets, asked.left_out, numbers
    )


def _number(groups: Groups) -> Number:
    return Number(macro_mean(groups), *bootstrap(groups))
