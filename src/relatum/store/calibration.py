"""What a score is worth: how often items of such a score are linked.

In: a model and a catalogue that has the model's validation items.
Out: a probability for any score, under a known relation or any other text.
This file does not know of stores or queries.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression

from relatum.batch import Tokens
from relatum.catalogue import Catalogue, as_asked, directions, linked
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.scores import compare
from relatum.store.columns import clean

ITEMS = 600  # validation items at most: 360,000 pairs under each relation
PAIRS = 4_000_000  # of all relations together that are fitted at once, at most


@dataclass(frozen=True)
class Calibration:
    """The log-odds slope * score + offset, by text; `others` for texts that are not known."""

    known: Mapping[str, tuple[float, float]] = field(default_factory=dict)
    others: tuple[float, float] | None = None

    def to_json(self) -> dict[str, object]:
        """Return the lines for the manifest."""
        return {"known": dict(self.known), "others": self.others}

    @classmethod
    def from_json(cls, values: Mapping[str, Any]) -> "Calibration":
        """Rebuild what `to_json` returned."""
        known = {text: (line[0], line[1]) for text, line in values["known"].items()}
        others = values["others"]
        return cls(known, (others[0], others[1]) if others else None)

    def log_odds(self, text: str | None, score: float) -> float | None:
        """Return the log-odds of a link under a relation; None without a calibration."""
        line = self.known.get(text or "", self.others)
        return None if line is None else line[0] * score + line[1]

    def probability(self, weights: Mapping[str | None, float], scores: list[float]) -> float | None:
        """Return how likely a link is; for several relations by the weighted mean of log-odds."""
        pairs = zip(weights.items(), scores, strict=True)
        odds = [(weight, self.log_odds(text, score)) for (text, weight), score in pairs]
        total = sum(abs(weight) for weight, _ in odds)
        if not total or any(value is None for _, value in odds):
            return None
        return sigmoid(sum(weight * value for weight, value in odds if value is not None) / total)


def sigmoid(log_odds: float) -> float:
    """Return the probability of log-odds.

    >>> sigmoid(0.0)
    0.5
    """
    return 1 / (1 + math.exp(-max(min(log_odds, 500.0), -500.0)))


def calibrate(
    model: Model,
    catalogue: Catalogue,
    read: Callable[[Sequence[str]], Tokens],
    *,
    report: Report = silent,
) -> Calibration:
    """Fit on all pairs of the validation items: Platt scaling, so probability rises with score.

    A relation without links among them takes the line of all pairs; so does the text of no known
    relation, which makes it too sure of itself where the model generalises badly.
    """
    held_out = set(model.split.validation) if model.split else set()
    items = [item for item in catalogue.items if item.id in held_out][:ITEMS]
    if len(items) < 2 or not model.relations:
        return Calibration()
    tokens = read([clean(item.id) for item in items])
    plain = model.condition(tokens, None)
    rows = {item.id: row for row, item in enumerate(items)}
    pairs = ~np.eye(len(items), dtype=bool)
    known: dict[str, tuple[float, float] | None] = {}
    some: dict[str, tuple[np.ndarray, np.ndarray]] = {}
    any_link = np.zeros(pairs.sum(), dtype=bool)
    ways = [way for way in directions(model.relations) if _has(catalogue, way.relation)]
    share = PAIRS / max(len(ways) * len(any_link), 1)
    is_kept = np.random.default_rng(0).random(len(any_link)) < share
    for done, way in enumerate(ways, 1):
        links = as_asked(linked(catalogue, way.relation, rows), way).toarray() > 0
        asked = model.condition(tokens, way.text)
        scores, are_linked = compare(asked, plain, "both").numpy()[pairs], links[pairs]
        known[way.text] = _line(scores, are_linked)
        some[way.text] = scores[is_kept], are_linked[is_kept]
        any_link |= are_linked
        report("calibrate", done, len(ways), "")
    if not known:
        return Calibration()
    scores, are_linked = map(np.concatenate, zip(*some.values(), strict=True))
    known[""] = _line(compare(plain, plain, "both").numpy()[pairs], any_link)
    lines = {text: line for text, line in known.items() if line}
    return Calibration(lines, _line(scores, are_linked))


def _has(catalogue: Catalogue, relation: str) -> bool:
    return any(known.id == relation for known in catalogue.relations)


def _line(scores: np.ndarray, links: np.ndarray) -> tuple[float, float] | None:
    """Fit log-odds; None where all pairs are alike. A falling line is made level."""
    if links.all() or not links.any():
        return None
    fitted = LogisticRegression(C=1e4).fit(scores[:, None], links)
    slope, offset = float(fitted.coef_[0, 0]), float(fitted.intercept_[0])
    if slope > 0:
        return slope, offset
    share = float(links.mean())
    return 0.0, math.log(share / (1 - share))
