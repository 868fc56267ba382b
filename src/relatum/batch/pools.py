"""Draw the pools that a training step contrasts, with their positives from the whole graph.

In: a catalogue's links among training items, the texts that may be asked, a random generator.
Out: `Pool`s: rows of items, the texts they are conditioned under, and who is a positive of whom.
This file does not know of tokens, vectors or losses.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from scipy import sparse

from relatum.catalogue import (
    Catalogue,
    Direction,
    Relation,
    Split,
    as_asked,
    clique,
    directions,
    linked,
)

MIN_GROUP = 3  # a narrower text is asked when so many training items share it


@dataclass(frozen=True)
class Ask:
    """One way to ask: the texts of both ends (None: the null relation) and the links it means."""

    text: str | None
    inverse: str | None
    links: sparse.csr_array


@dataclass(frozen=True)
class Theme:
    """A direction of a relation: how it may be asked as a whole, and the narrower group texts."""

    whole: Sequence[Ask]
    groups: Sequence[Ask] = ()


@dataclass(frozen=True)
class Pool:
    """Some items under one ask. `positives[i, j]`: row j is wanted when row i is asked for."""

    rows: np.ndarray
    text: str | None
    inverse: str | None
    positives: np.ndarray


def training_themes(
    catalogue: Catalogue,
    split: Split,
    rows: Mapping[str, int],
    *,
    share: float = 1.0,
    seed: int = 0,
) -> tuple[list[Theme], sparse.csr_array]:
    """Return what may be asked in training, and a matrix of who is linked under anything.

    `rows` holds training items only. The last theme is the null relation. Of each relation, a
    `share` of the linked pairs is used, drawn by `seed`.
    """
    relations = [r for r in catalogue.relations if r.id not in split.relations_held_out]
    anything = sparse.csr_array((len(rows), len(rows)), dtype=np.float32)
    themes: list[Theme] = []
    for relation in relations:
        matrix = linked(catalogue, relation.id, rows, split.groups_held_out)
        if share < 1:
            matrix = _thinned(matrix, share, seed)
        anything = anything.maximum(matrix).maximum(matrix.T)
        narrower = _group_asks(catalogue, relation, rows, split.groups_held_out)
        if share < 1:
            narrower = [replace(ask, links=_within(ask.links, matrix)) for ask in narrower]
            narrower = [ask for ask in narrower if ask.links.nnz]
        for direction in directions([relation]):
            whole = _whole_asks(relation, direction, as_asked(matrix, direction))
            if matrix.nnz:
                themes.append(Theme(whole, tuple(narrower)))
    anything = sparse.csr_array(anything)
    themes.append(Theme((Ask(None, None, anything),)))
    return themes, anything


def _thinned(matrix: sparse.csr_array, share: float, seed: int) -> sparse.csr_array:
    """Keep a share of the linked pairs, each with both of its directions."""
    rows, columns = matrix.nonzero()
    names = np.minimum(rows, columns) * len(matrix.indptr) + np.maximum(rows, columns)
    pairs, place = np.unique(names, return_inverse=True)
    kept = np.random.default_rng(seed).random(len(pairs)) < share
    chosen = kept[place]
    data = np.asarray(matrix[rows, columns])[chosen]
    return sparse.csr_array((data, (rows[chosen], columns[chosen])), shape=matrix.shape)


def _within(links: sparse.csr_array, matrix: sparse.csr_array) -> sparse.csr_array:
    return sparse.csr_array(links.multiply(matrix > 0))


def _whole_asks(
    relation: Relation, direction: Direction, matrix: sparse.csr_array
) -> tuple[Ask, ...]:
    asks = [Ask(direction.text, direction.inverse, matrix)]
    for paraphrase in relation.paraphrases:  # they say the forward text in other words
        if not relation.directed:
            asks.append(Ask(paraphrase, paraphrase, matrix))
        elif direction.is_backward:
            asks.append(Ask(direction.text, paraphrase, matrix))
        else:
            asks.append(Ask(paraphrase, direction.inverse, matrix))
    return tuple(asks)


def _group_asks(
    catalogue: Catalogue, relation: Relation, rows: Mapping[str, int], held_out: Collection[str]
) -> list[Ask]:
    asks: list[Ask] = []
    for group in catalogue.groups:
        if group.relation != relation.id or group.text is None or group.name in held_out:
            continue
        if sum(name in rows for name in group.items) >= MIN_GROUP:
            asks.append(Ask(group.text, group.text, clique(group, rows)))
    return asks


def draw_ask(
    theme: Theme, rng: np.random.Generator, *, group_share: float, paraphrase_share: float
) -> Ask:
    """Draw how a theme is asked: by a group's text, by a paraphrase, or by its own text."""
    if theme.groups and rng.random() < group_share:
        return theme.groups[int(rng.integers(len(theme.groups)))]
    if len(theme.whole) > 1 and rng.random() < paraphrase_share:
        return theme.whole[int(rng.integers(1, len(theme.whole)))]
    return theme.whole[0]


def draw_pool(
    ask: Ask,
    anything: sparse.csr_array,
    rng: np.random.Generator,
    *,
    size: int,
    hard_share: float,
) -> Pool:
    """Draw about `size` items: anchors, a linked item for each, and hard negatives.

    A hard negative is linked to the anchor under another relation but not under this one: the
    right item under the wrong relation. What is left is filled at random.
    """
    links = ask.links
    degrees = np.diff(links.indptr)
    sources = np.flatnonzero(degrees)
    hard = round(size * hard_share)
    anchors = rng.choice(sources, size=min(len(sources), (size - hard) // 2), replace=False)
    targets = [_draw_target(links, row, rng) for row in anchors.tolist()]
    others = _draw_hard(links, anything, anchors[:hard], rng)
    rows = np.unique(np.concatenate([anchors, np.array(targets, dtype=np.int64), others]))
    is_left = np.ones(len(degrees), dtype=bool)
    is_left[rows] = False
    rest = np.flatnonzero(is_left)
    fill = rng.choice(rest, size=min(len(rest), max(size - len(rows), 0)), replace=False)
    rows = np.concatenate([rows, fill])
    positives = _cut(links, rows)
    return Pool(rows, ask.text, ask.inverse, positives)


def _cut(links: sparse.csr_array, rows: np.ndarray) -> np.ndarray:
    """Return who is linked to whom among some rows."""
    return links[np.ix_(rows, rows)].toarray() > 0


def _row(links: sparse.csr_array, row: int) -> slice:
    return slice(links.indptr[row], links.indptr[row + 1])


def _draw_target(links: sparse.csr_array, row: int, rng: np.random.Generator) -> int:
    here = _row(links, row)
    upto = np.cumsum(links.data[here])
    return int(links.indices[here][np.searchsorted(upto, rng.random() * upto[-1])])


def _draw_hard(
    links: sparse.csr_array,
    anything: sparse.csr_array,
    anchors: np.ndarray,
    rng: np.random.Generator,
) -> np.ndarray:
    found: list[int] = []
    for row in anchors.tolist():
        linked = links.indices[_row(links, row)].tolist()
        others = set(anything.indices[_row(anything, row)].tolist()).difference(linked)
        if others:
            found.append(int(rng.choice(sorted(others))))
    return np.array(found, dtype=np.int64)
