"""What a score is worth: how often items that a search finds with such a score are linked.

In: a model, a catalogue that has the model's validation items, vectors of items to find.
Out: a probability for any score, under a known relation or any other text.
This file does not know of stores or queries.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from jaxtyping import Bool, Float
from scipy.optimize import minimize
from scipy.special import expit
from torch import Tensor

from relatum.batch import Tokens
from relatum.catalogue import Catalogue, as_asked, directions, linked
from relatum.errors import StoreError
from relatum.model import Model
from relatum.progress import Report, silent

ASKED = 600  # validation items at most
FOUND = 2048  # items of the whole catalogue at most: 1.2 million pairs under each relation
BINS = 256  # of scores, that a relation's pairs are counted in
LEVELS = 16  # of reach, for each of which there are such bins
TINY = 1e-6  # a deviation of reach below which it is taken for none
PRIOR = 4.0  # slopes of relations deviate from the common one by a share of 1 / PRIOR


Line = tuple[float, float, float]  # log-odds: by score, by reach, offset
Counts = Float[np.ndarray, "4 bins"]  # of each bin: score, reach, weight of pairs, of links
Flags = Bool[np.ndarray, "asked found"]


@dataclass(frozen=True)
class Lines:
    """Log-odds by a text's score and reach; `others`, for texts not known, by the score alone.

    Reach is how much of the vector that asks comes of links (`Model.reach`): a source that is
    like none with links of the relation has little of it.
    """

    known: Mapping[str, Line]
    others: Line

    def probability(
        self, weights: Mapping[str | None, float], scores: Sequence[float], reach: Sequence[float]
    ) -> float | None:
        """Return how likely a link is; for several relations by the weighted mean of log-odds.

        Relations that are not wanted, of negative weights, do not count; None where all are such.
        """
        total, odds = 0.0, 0.0
        for (text, weight), *ends in zip(weights.items(), scores, reach, strict=True):
            if weight > 0:
                line = self.known.get(text or "", self.others)
                total += weight
                odds += weight * (line[0] * ends[0] + line[1] * ends[1] + line[2])
        return float(expit(odds / total)) if total else None


@dataclass(frozen=True)
class Calibration:
    """Lines by what an item that asks has: a text or an image alone has scores of another scale."""

    kinds: Mapping[str, Lines] = field(default_factory=dict)

    def to_json(self) -> dict[str, object]:
        """Return the lines for the manifest."""
        return {kind: vars(lines) for kind, lines in self.kinds.items()}

    @classmethod
    def from_json(cls, values: Mapping[str, Mapping[str, Any]]) -> "Calibration":
        """Rebuild what `to_json` returned."""
        kinds: dict[str, Lines] = {}
        for kind, lines in values.items():
            known = {text: _line(values) for text, values in lines["known"].items()}
            kinds[kind] = Lines(known, _line(lines["others"]))
        return cls(kinds)

    def lines(self, source: Tokens) -> Lines | None:
        """Return the lines for one item that asks; None where none like it was calibrated on."""
        has_image, has_text = source.image.mask.any(), source.text.mask.any()
        return self.kinds.get(
            "both" if has_image and has_text else "image" if has_image else "text"
        )


def calibrate(
    model: Model,
    catalogue: Catalogue,
    read: Callable[[Sequence[str]], Tokens],
    found: tuple[Sequence[str], Float[Tensor, "found dim"]],
    *,
    report: Report = silent,
) -> Calibration:
    """Fit on what validation items find: Platt scaling, so probability rises with score.

    `read` gives tokens by id; `found` is a sample of all items, ids and null vectors. What is found
    first is looked at most, so the pair at rank n has weight 1 / n: each tenfold longer list as
    much, and each item that asks alike, however many are linked to it. The items ask as they are,
    by their text alone and by their image alone.

    A few links say little of how fast it rises; so slopes are drawn to that of all pairs, by a
    normal prior. A relation without links among them takes the line of all pairs by their scores
    alone; so does the text of no known relation, which makes it too sure of itself where the model
    generalises badly.
    """
    held_out = set(model.split.validation) if model.split else set()
    names = [item.id for item in catalogue.items if item.id in held_out][:ASKED]
    ways = [way for way in directions(model.relations) if _has(catalogue, way.relation)]
    if len(names) < 2 or not ways:
        return Calibration()
    rows = {name: row for row, name in enumerate(dict.fromkeys([*names, *found[0]]))}
    given = {item.id: rows[item.id] for item in catalogue.items if item.id in rows}
    there = [rows[name] for name in found[0]]
    is_pair = np.arange(len(names))[:, None] != there
    any_link = np.zeros_like(is_pair)
    askers = _askers(read(names))
    for done, way in enumerate(ways, 1):
        links = as_asked(linked(catalogue, way.relation, given), way)
        links = links[: len(names)][:, there].toarray() > 0
        any_link |= links
        for one in askers:
            one.ask(model, way.text, found[1], links, is_pair)
        report("calibrate", done, len(ways), "")
    for one in askers:
        one.ask(model, None, found[1], any_link, is_pair)
    return Calibration({one.kind: lines for one in askers if (lines := one.fit())})


@dataclass
class _Askers:
    """Items that ask with what a kind shows of them, and what they found."""

    kind: str
    rows: np.ndarray
    tokens: Tokens
    counted: dict[str | None, Counts] = field(default_factory=dict)

    def ask(
        self,
        model: Model,
        text: str | None,
        plain: Float[Tensor, "found dim"],
        links: Flags,
        is_pair: Flags,
    ) -> None:
        """Count the scores under a text."""
        asking = model.condition(self.tokens, text).both
        scores, reach = (asking @ plain.T).numpy(), model.reach(asking).numpy()
        self.counted[text] = count_scores(scores, links[self.rows], is_pair[self.rows], reach)

    def fit(self) -> Lines | None:
        """Return a line for each text that has links, drawn to that of all relations."""
        told = [counts for text, counts in self.counted.items() if text is not None]
        everything = np.concatenate(told, axis=1)
        common = fit_line(everything)
        others = fit_line(everything * [[1], [0], [1], [1]])  # a new text reaches less
        if common is None or others is None:
            return None
        ratio = ratio_of_spreads(everything)
        fitted = {text or "": fit_line(one, common, ratio) for text, one in self.counted.items()}
        return Lines({text: line for text, line in fitted.items() if line}, others)


def _askers(tokens: Tokens) -> list[_Askers]:
    """Return the kinds that have two items or more."""
    image, text = tokens.image.present, tokens.text.present
    kinds: list[tuple[str, Tensor, Tokens]] = [
        ("both", image & text, tokens),
        ("text", text, tokens.only("text")),
        ("image", image, tokens.only("image")),
    ]
    return [
        _Askers(kind, has.nonzero()[:, 0].numpy(), shown[has])
        for kind, has, shown in kinds
        if has.sum() > 1
    ]


def _has(catalogue: Catalogue, relation: str) -> bool:
    return any(known.id == relation for known in catalogue.relations)


def _line(values: Sequence[float]) -> Line:
    score, reach, offset = values
    return score, reach, offset


def count_scores(
    scores: Float[np.ndarray, "asked found"],
    links: Flags,
    is_pair: Flags,
    reach: Float[np.ndarray, " asked"],
) -> Counts:
    """Return each bin's middle, its mean reach, the weight of its pairs and of its links.

    A pair weighs 1 / its rank among all that its row finds; those of one bin share their weight.
    Raises `StoreError` for scores that are no numbers.
    """
    if not np.isfinite(scores).all():
        what = "the model gives scores that are no numbers"
        raise StoreError(what, fix="train it again")
    low = scores.min()
    kept = np.where(is_pair, scores, low)
    width = (np.ptp(kept) or 1.0) / BINS
    cells = np.minimum((kept - low) / width, BINS - 1).astype(np.int64)
    cells += BINS * np.arange(len(scores))[:, None]

    def count(some: np.ndarray) -> np.ndarray:
        return np.bincount(some, minlength=len(scores) * BINS).reshape(-1, BINS)

    pairs = count(cells.ravel()) - count(cells[~is_pair])
    ranks = np.flip(np.flip(pairs, 1).cumsum(1), 1)  # how many have this score or more
    harmonic = np.cumsum([0.0, *1 / np.arange(1.0, scores.shape[1] + 1)])
    weights = harmonic[ranks] - harmonic[ranks - pairs]
    linked = count(cells[links & is_pair]) * weights / np.maximum(pairs, 1)
    centres = low + width * (np.arange(BINS) + 0.5)
    found: list[np.ndarray] = []
    level = np.minimum((reach - reach.min()) / (np.ptp(reach) or 1.0) * LEVELS, LEVELS - 1)
    for one in np.unique(level.astype(np.int64)):
        rows = level.astype(np.int64) == one
        middle = np.full(BINS, reach[rows].mean())
        found.append(np.stack([centres, middle, weights[rows].sum(0), linked[rows].sum(0)]))
    everything = np.concatenate(found, axis=1)
    return everything[:, everything[2] > 0]


def ratio_of_spreads(counts: Counts) -> float:
    """Return by how much scores deviate more than reaches; 0 where reaches do not."""
    deviations = [math.sqrt(np.cov(values, aweights=counts[2], ddof=0)) for values in counts[:2]]
    return deviations[0] / deviations[1] if deviations[1] > TINY else 0.0


def fit_line(counts: Counts, common: Line | None = None, ratio: float = 0.0) -> Line | None:
    """Fit log-odds; None where all pairs are alike. A falling line is made level.

    With `common`, the line of all pairs, slopes have a normal prior about its own, as wide for
    reach as for the score where one deviates as much as the other: `ratio` says how much it does.
    """
    scores, reach, pairs, links = counts
    share = float(links.sum() / pairs.sum())
    if share in (0.0, 1.0):
        return None
    start = math.log(share / (1 - share))
    centre, precision = np.zeros(3), np.array([1e-4, 1e-4, 0.0])
    if common is not None and common[0] > 0:
        centre = np.array([common[0], common[1], 0.0])
        precision = (PRIOR / common[0] / np.array([1.0, ratio or 1.0, np.inf])) ** 2
    sides = np.stack([scores, reach, np.ones_like(scores)])

    def cost(line: np.ndarray) -> tuple[float, np.ndarray]:
        odds, off = line @ sides, line - centre
        value = (pairs * np.logaddexp(0, odds) - links * odds).sum() + precision @ off**2 / 2
        return value, sides @ (pairs * expit(odds) - links) + precision * off

    first = [*centre[:2], start - centre @ sides.mean(1)]
    line = _line(minimize(cost, first, jac=True).x.tolist())
    return line if line[0] > 0 else (0.0, 0.0, start)
