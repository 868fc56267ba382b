"""Item classification: can a metadata column be read off the vectors?

In: a catalogue's items on both sides, a contestant's vectors.
Out: accuracy of a linear probe and of the nearest class text, with and without a relation.
This file does not know how vectors were made.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from torch.nn import functional

from relatum.catalogue import Direction
from relatum.items import Item
from relatum.protocols.contestant import Contestant, Participants
from relatum.protocols.pairs import fit_probe

LEAST = 5  # training items of a class
MOST = 50  # classes of a column


@dataclass(frozen=True)
class ClassOutcome:
    """One column: per test item, was its class found?"""

    column: str
    classes: int
    probed: np.ndarray
    nearest: np.ndarray
    commonest: float


def find_columns(train: Sequence[Item], test: Sequence[Item]) -> list[str]:
    """Return the columns of words with 2 to `MOST` classes of `LEAST` training items, in both."""
    names = dict.fromkeys(name for item in train for name in item.metadata)
    found = [name for name in names if 2 <= len(_classes(train, name)) <= MOST]
    return [name for name in found if _labelled(test, name, _classes(train, name))]


def _classes(items: Sequence[Item], column: str) -> list[str]:
    values = [item.metadata.get(column) for item in items]
    counts = Counter(value for value in values if isinstance(value, str) and value.strip())
    return sorted(value for value, count in counts.items() if count >= LEAST)


def classify(
    contestant: Contestant,
    train: Participants,
    test: Participants,
    texts: Participants,
    column: str,
    *,
    conditioned: bool,
) -> ClassOutcome:
    """Find the class of each test item by a probe on training items, and by the nearest text.

    `texts` are items of a text alone, one a class in the order of `class_texts`. With
    `conditioned`, items ask under "have the same <column>", a relation never trained on, and the
    class texts are what is wanted, as in a search.
    """
    classes = _classes(train.items, column)
    text = f"have the same {column.replace('_', ' ')}"
    relation = Direction(column, text, text) if conditioned else None
    known, wanted = _labelled(train.items, column, classes), _labelled(test.items, column, classes)
    seen, asked, named = (
        functional.normalize(contestant.ends(side, relation)[end], dim=-1).numpy()
        for side, end in ((train, 0), (test, 0), (texts, 1))
    )
    labels = np.array([classes.index(str(train.items[row].metadata[column])) for row in known])
    truth = np.array([classes.index(str(test.items[row].metadata[column])) for row in wanted])
    probe = fit_probe(seen[known], labels, scaled=False, strength=10.0)
    probed = probe.predict(asked[wanted]) == truth
    nearest = (asked[wanted] @ named.T).argmax(1) == truth
    commonest = float((truth == np.bincount(labels).argmax()).mean())
    return ClassOutcome(column, len(classes), probed * 1.0, nearest * 1.0, commonest)


def class_texts(train: Sequence[Item], column: str) -> list[Item]:
    """Return an item of a text alone for each class."""
    return [Item(f"class {value}", value, None) for value in _classes(train, column)]


def _labelled(items: Sequence[Item], column: str, classes: Sequence[str]) -> list[int]:
    return [row for row, item in enumerate(items) if item.metadata.get(column) in classes]
