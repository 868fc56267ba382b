"""The cells of a study as a table: mean and deviation over seeds, paired differences.

In: cells.
Out: `Table` of plain data, and as Markdown.
This file does not know how cells came about.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from relatum.metrics import bootstrap, macro_mean
from relatum.page import markdown_table
from relatum.study.measure import KEPT, Cell

TITLES = {
    "hit@5": "Hit@5",
    "other hit@5": "Hit@5, other relation",
    "precision@10": "precision@10",
    "full mrr": "MRR",
}
FROZEN = ("frozen text", "frozen image", "frozen both")


@dataclass(frozen=True)
class Number:
    """A mean over seeds and its standard deviation."""

    mean: float
    deviation: float


@dataclass(frozen=True)
class Difference:
    """Reference minus rival on the same queries: mean, 95 % interval, ratio of the means."""

    mean: float
    low: float
    high: float
    ratio: float


@dataclass(frozen=True)
class Row:
    """A method: its numbers, and how far the reference is ahead of it."""

    method: str
    seeds: int
    is_blind: bool
    seconds: float
    numbers: dict[str, Number]
    behind: dict[str, Difference]


@dataclass(frozen=True)
class Table:
    """A study's result; `best` are the rows of the best frozen and best relation-blind methods."""

    kind: str
    catalogue: str
    rows: list[Row]
    best: list[Row]

    def to_markdown(self) -> str:
        """Return the tables as Markdown: retrieval, the other protocols, differences."""
        others = [name for row in self.rows for name in row.numbers if name not in KEPT]
        parts = [self._numbers(KEPT), self._numbers(list(dict.fromkeys(others)))]
        head = [f"{self.rows[0].method} minus", *(TITLES[name] for name in KEPT)]
        lines = [
            [row.method, *(_difference(row.behind.get(name)) for name in KEPT)]
            for row in [*self.best, *self.rows[1:]]
        ]
        parts.append(markdown_table(head, lines))
        return "\n\n".join(part for part in parts if part) + "\n"

    def _numbers(self, names: Sequence[str]) -> str:
        rows = [row for row in self.rows if any(name in row.numbers for name in names)]
        head = ["method", "seeds", *(TITLES.get(name, name) for name in names)]
        lines = [
            [row.method, str(row.seeds), *(_number(name, row.numbers.get(name)) for name in names)]
            for row in rows
        ]
        return markdown_table(head, lines) if names else ""


def tabulate(kind: str, catalogue: str, cells: Sequence[Cell]) -> Table:
    """Group the cells by method, the first method being the reference."""
    by_method: dict[str, list[Cell]] = {}
    for cell in cells:
        if cell.answers:
            by_method.setdefault(cell.method, []).append(cell)
    if not by_method:
        return Table(kind, catalogue, [], [])
    reference = next(iter(by_method.values()))
    rows = [_row(some[0].method, reference, some) for some in by_method.values()]
    best: list[Row] = []
    for name, chosen in (
        ("best frozen similarity", [one for one in by_method if one in FROZEN]),
        ("best relation-blind", [one for one, some in by_method.items() if some[0].is_blind]),
    ):
        if chosen:
            best.append(_best(name, reference, [by_method[one] for one in chosen]))
    return Table(kind, catalogue, rows, best)


def _best(name: str, reference: Sequence[Cell], rivals: Sequence[Sequence[Cell]]) -> Row:
    """Take, for each measure, the rival that is best on it over all seeds."""
    rows = [_row(name, reference, rival) for rival in rivals]
    numbers, behind = {}, {}
    for metric in KEPT:
        top = max(rows, key=lambda row: row.numbers[metric].mean)
        numbers[metric], behind[metric] = top.numbers[metric], top.behind[metric]
    return Row(name, rows[0].seeds, True, 0.0, numbers, behind)


def _row(name: str, reference: Sequence[Cell], cells: Sequence[Cell]) -> Row:
    numbers = {metric: _over_seeds(cells, metric) for metric in KEPT}
    for extra in dict.fromkeys(key for cell in cells for key in cell.numbers):
        numbers[extra] = _mean([cell.numbers[extra] for cell in cells if extra in cell.numbers])
    seeds = len({cell.seed for cell in cells})
    seconds = float(np.mean([cell.seconds for cell in cells]))
    behind = {metric: _behind(reference, cells, metric) for metric in KEPT}
    return Row(name, seeds, cells[0].is_blind, seconds, numbers, behind)


def _over_seeds(cells: Sequence[Cell], metric: str) -> Number:
    """Average over the folds of a seed, then over seeds."""
    by_seed: dict[int, list[np.ndarray]] = {}
    for cell in cells:
        by_seed.setdefault(cell.seed, []).extend(_arrays(cell, metric).values())
    return _mean([macro_mean(groups) for groups in by_seed.values()])


def _mean(values: Sequence[float]) -> Number:
    deviation = float(np.std(values, ddof=1)) if len(values) > 1 else 0.0
    return Number(float(np.mean(values)), deviation)


def _arrays(cell: Cell, metric: str) -> dict[str, np.ndarray]:
    return {name: np.array(values) for name, values in cell.answers[metric].items()}


def _behind(reference: Sequence[Cell], cells: Sequence[Cell], metric: str) -> Difference:
    others = {(cell.seed, cell.fold): _arrays(cell, metric) for cell in cells}
    groups: list[np.ndarray] = []
    mine: list[np.ndarray] = []
    for cell in reference:
        for name, values in _arrays(cell, metric).items():
            other = others.get((cell.seed, cell.fold), {}).get(name)
            if other is not None:
                groups.append(values - other)
                mine.append(values)
    mean, total = macro_mean(groups), macro_mean(mine)
    ratio = total / (total - mean) - 1 if total != mean else float("inf")
    return Difference(mean, *bootstrap(groups), ratio)


def _number(name: str, number: Number | None) -> str:
    if number is None:
        return ""
    if name == "claims":
        return f"{number.mean:,.0f}"
    return f"{100 * number.mean:.1f} ± {100 * number.deviation:.1f}"


def _difference(one: Difference | None) -> str:
    if one is None:
        return ""
    return f"{100 * one.mean:+.1f} [{100 * one.low:+.1f}, {100 * one.high:+.1f}] ({one.ratio:+.0%})"
