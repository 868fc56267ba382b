"""The questions of relation-guided retrieval: who is asked, what is right, what else is offered.

In: a catalogue and the ids of the items that may take part.
Out: for each direction of each relation, queries with one positive and 20 negatives, and who is
linked to whom for the ranking of all items. Chosen once, so that every method gets the same.
This file does not know of models.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Int

from relatum.catalogue import Catalogue, Direction, directions, linked
from relatum.catalogue.words import all_stems, labels

NEGATIVES = 20
QUERIES = 500  # a direction at most, for questions of one positive and 20 negatives
ITEMS = 5_000  # taking part at most


@dataclass(frozen=True)
class Questions:
    """One direction. Rows are positions in the list of items that take part.

    `random` and `other` hold the positive first, then 20 negatives: drawn at random, or from the
    items linked to the source under another relation (filled up at random where too few).
    `right` marks the targets that count; `allowed` the items that may be ranked for a source.
    """

    direction: Direction
    sources: Int[np.ndarray, " queries"]
    random: Int[np.ndarray, "queries offered"]
    other: Int[np.ndarray, "queries offered"]
    right: Bool[np.ndarray, "items items"]
    allowed: Bool[np.ndarray, "items items"]
    left_out: int


def some_of(ids: Sequence[str], seed: int = 0) -> list[str]:
    """Return at most `ITEMS` of the ids, drawn at random, in their order."""
    if len(ids) <= ITEMS:
        return list(ids)
    rows = np.random.default_rng(seed).choice(len(ids), ITEMS, replace=False)
    return [ids[int(row)] for row in np.sort(rows)]


def build_questions(
    catalogue: Catalogue,
    ids: Sequence[str],
    *,
    seed: int = 0,
    relations: Sequence[str] | None = None,
) -> list[Questions]:
    """Build the questions of all relations, or of those named, among the items `ids`.

    A pair that shares a group whose label word stands in both texts is left out: the texts give
    the answer away ("cotton shirt", "cotton sock" under "both are made of cotton"; `labels` says
    which words count). Raises `ValueError` for more ids than `ITEMS`: draw some with `some_of`
    first.
    """
    if len(ids) > ITEMS:
        raise ValueError(f"{len(ids)} items, expected at most {ITEMS}")
    rng = np.random.default_rng(seed)
    rows = {name: row for row, name in enumerate(ids)}
    matrices = {r.id: linked(catalogue, r.id, rows).toarray() > 0 for r in catalogue.relations}
    anything = np.zeros((len(ids), len(ids)), dtype=bool)
    for matrix in matrices.values():
        anything |= matrix | matrix.T
    found: list[Questions] = []
    for direction in directions(catalogue.relations):
        if relations is not None and direction.relation not in relations:
            continue
        links = matrices[direction.relation]
        links = links.T if direction.is_backward else links
        leaks = links & _leaks(catalogue, direction.relation, rows)
        built = _build(direction, links, leaks, anything, rng)
        if built is not None:
            found.append(built)
    return found


def _build(
    direction: Direction,
    links: Bool[np.ndarray, "items items"],
    leaks: Bool[np.ndarray, "items items"],
    anything: Bool[np.ndarray, "items items"],
    rng: np.random.Generator,
) -> Questions | None:
    right = links & ~leaks
    allowed = ~leaks & ~np.eye(len(links), dtype=bool)
    pairs = np.argwhere(right & ((allowed & ~links).sum(1) >= NEGATIVES)[:, None])
    if not len(pairs):
        return None
    sources = rng.permutation(np.unique(pairs[:, 0]))[:QUERIES]
    random, other = [], []
    for source in sources:
        positive = rng.choice(np.flatnonzero(right[source]))
        free = np.flatnonzero(allowed[source] & ~links[source])
        hard = np.flatnonzero(anything[source] & ~links[source] & allowed[source])
        hard = rng.permutation(hard)[:NEGATIVES]
        rest = rng.permutation(np.setdiff1d(free, hard))[: NEGATIVES - len(hard)]
        random.append([positive, *rng.choice(free, NEGATIVES, replace=False)])
        other.append([positive, *hard, *rest])
    return Questions(
        direction, sources, np.array(random), np.array(other), right, allowed, int(leaks.sum())
    )


def _leaks(
    catalogue: Catalogue, relation: str, rows: dict[str, int]
) -> Bool[np.ndarray, "items items"]:
    """Mark the pairs of a group whose own words stand in both texts."""
    texts = {item.id: all_stems(item.text or "") for item in catalogue.items if item.id in rows}
    asked = next(r.text for r in catalogue.relations if r.id == relation)
    groups = [group for group in catalogue.groups if group.relation == relation and group.text]
    named = labels(asked, [group.text for group in groups if group.text])
    leaks = np.zeros((len(rows), len(rows)), dtype=bool)
    for group in groups:
        for word in named[group.text or ""]:
            members = [rows[name] for name in group.items if word in texts.get(name, ())]
            leaks[np.ix_(members, members)] = True
    return leaks
