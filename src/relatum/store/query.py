"""What is asked of a store and what it answers.

In: a source, relations and conditions.
Out: the same as frozen values; misuse is refused as they are made.
This file does not know how an answer is found.
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from numbers import Integral, Real
from pathlib import Path

import numpy as np
from PIL import Image

from relatum.errors import StoreError

EXAMPLES = 30  # pairs that a query may bring
NONE = type(None)
KINDS: tuple[tuple[tuple[str, ...], tuple[type, ...], str], ...] = (
    (("item",), (str, NONE), "an item's id"),
    (("text", "where"), (str, NONE), "a text"),
    (("image",), (str, bytes, Path, Image.Image, NONE), "a path, bytes or a PIL image"),
    (("relation",), (str, Mapping, NONE), "a text, texts with weights, or None"),
    (("k", "offset"), (Integral,), "a whole number"),
    (("min_score",), (Real, NONE), "a number"),
    (("exclude_linked", "explain"), (bool, np.bool_), "True or False"),
    (("examples",), (list, tuple), "a list of pairs of ids"),
)


@dataclass(frozen=True)
class Query:
    """A question: what stands in a relation to a source?

    The source is an item's id, or a text and/or a picture. `relation` is any text, several texts
    with their weights ({"same room": 1, "same kind": -1}), or None: the null relation. However it
    is spelled, a known relation's text, a paraphrase or its id stand for it; a group's text is
    known to the catalogue as the narrower relation that it is. A hit passes the SQL
    filter `where`, has a probability of at least `min_score`, and with `exclude_linked` is not
    linked to the item under any of the relations; where one is not known to the catalogue, under
    any at all. `k` hits follow the first `offset`; with
    `explain` the best of them say what carried them. `examples` are pairs of ids, source and
    target, of which the relation holds: at most `EXAMPLES`. Hits then have no probability.
    """

    item: str | None = None
    text: str | None = None
    image: Path | str | bytes | Image.Image | None = None
    relation: str | Mapping[str, float | int] | None = None
    k: int = 10
    offset: int = 0
    where: str | None = None
    min_score: float | None = None
    exclude_linked: bool = False
    explain: bool = False
    examples: Sequence[Sequence[str]] = ()

    def __post_init__(self) -> None:
        """Refuse what cannot be answered: `ValueError` for misuse, `StoreError` for a value."""
        for names, kinds, what in KINDS:
            for name, value in ((name, getattr(self, name)) for name in names):
                if not isinstance(value, kinds) or (isinstance(value, bool) and bool not in kinds):
                    raise StoreError(f"{name}: expected {what}, got {type(value).__name__}")
        if isinstance(self.relation, Mapping):
            for text, weight in self.relation.items():
                is_number = isinstance(weight, Real) and not isinstance(weight, bool)
                if not isinstance(text, str) or not is_number:
                    what = f"expected texts with numbers as weights, got {text!r}: {weight!r}"
                    raise StoreError(f"relation: {what}")
        if (self.item is None) == (self.text is None and self.image is None):
            raise ValueError("expected one source: item, or text and/or image")
        if self.k < 1 or self.offset < 0:
            what = f"expected k of at least 1 and offset of at least 0, got {self.k}, {self.offset}"
            raise StoreError(what)
        if self.min_score is not None and not 0 <= self.min_score <= 1:
            raise StoreError(f"expected min_score, a probability, in [0, 1], got {self.min_score}")
        if odd := [one for one in self.examples if not _is_pair(one)]:
            raise StoreError(f"expected pairs of ids as examples, got {odd[0]!r}")
        if len(self.examples) > EXAMPLES:
            raise StoreError(f"expected at most {EXAMPLES} examples, got {len(self.examples)}")
        if self.examples and self.min_score is not None:
            what, fix = "with examples there is no probability", "leave out min_score"
            raise StoreError(what, fix=fix)
        weights = self.weights.values()
        if not any(weights) or not all(map(math.isfinite, weights)):
            raise StoreError(f"expected finite weights, not all 0, got {[*weights]}")
        if self.min_score is not None and not any(weight > 0 for weight in weights):
            raise StoreError("with no relation of positive weight there is no probability",
                             fix="leave out min_score")  # fmt: skip
        if any(text is not None and not text.strip() for text in self.weights):
            raise StoreError("the relation is empty", fix="describe it in words, or leave it out")

    @property
    def weights(self) -> dict[str | None, float]:
        """Return the relations' texts with their weights.

        >>> Query(item="a", relation="go together").weights
        {'go together': 1.0}
        """
        if not self.relation or isinstance(self.relation, str):
            return {self.relation if isinstance(self.relation, str) else None: 1.0}
        return {text: float(weight) for text, weight in self.relation.items()}


def _is_pair(example: Sequence[str]) -> bool:
    is_two = isinstance(example, list | tuple) and len(example) == 2
    return is_two and all(isinstance(id, str) for id in example)


@dataclass(frozen=True)
class Attribution:
    """How much of a score each part of an item carries: what is lost when it is hidden.

    `grid` holds the picture's regions row by row; `words` pairs slices of the text with their
    weights; `image` and `text` are what is lost without the whole picture or the whole text.
    None where the item has no such part.
    """

    grid: tuple[tuple[float, ...], ...] | None
    words: tuple[tuple[str, float], ...] | None
    image: float | None
    text: float | None


@dataclass(frozen=True)
class Explanation:
    """What carried a match, seen from both ends."""

    query: Attribution
    hit: Attribution


@dataclass(frozen=True)
class Hit:
    """An item that was found. `rank` counts from 1, `offset` included.

    `score` is the cosine under the relation (less for what lacks a text or an image), or the
    weighted sum of cosines. `probability` is how often hits of that score, of a source like this
    one, are linked; None with examples, without a calibration and where no relation is wanted.
    `is_linked`: the catalogue links it so to the source; None where that is no item of the store,
    a text is none of the catalogue's and the model's, or one of the two came by `Store.add`.
    `groups` names its groups under the relations, and tells if the source is in them.
    """

    rank: int
    id: str
    score: float
    probability: float | None
    text: str | None
    metadata: Mapping[str, object]
    is_linked: bool | None = None
    groups: Mapping[str, bool] = field(default_factory=dict)
    explanation: Explanation | None = None


@dataclass(frozen=True)
class Tie:
    """How well a known relation fits two items. `is_linked`: the catalogue links them so.

    None where the catalogue tells nothing of the relation, or of one of the items.
    """

    relation: str
    text: str
    score: float
    probability: float | None
    is_linked: bool | None
