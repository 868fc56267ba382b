"""What is wrong, doubtful or worth knowing about a catalogue, in one pass.

In: the folder of a catalogue, the seed of a split.
Out: problems with a severity: errors row by row, warnings and notes with counts and examples.
This file does not know how to repair anything.
"""

from collections.abc import Iterable, Iterator, Sequence
from itertools import combinations
from pathlib import Path
from typing import Literal

import numpy as np

from relatum.catalogue.catalogue import Catalogue, read_all
from relatum.catalogue.copies import BLANK, close_pairs, joined, same_key, variant_key
from relatum.catalogue.overlap import jaccard, neighbours, sample_rows
from relatum.catalogue.page import Table, page
from relatum.catalogue.split import Split, split_catalogue
from relatum.catalogue.tables import Problem
from relatum.catalogue.words import all_stems, labels
from relatum.config import SplitConfig
from relatum.items import Item, image_key

EXAMPLES = 1000  # of what concerns many rows, that a page shows at most; a terminal shows a few
SMALL = 20  # linked items: a question offers 20 wrong ones
LARGE = 0.5  # share of all pairs
SAME = 0.9  # Jaccard of links
TOLD = 0.1  # share of members whose text holds the label
MUCH = 0.5  # the same, so that little is left to ask
SEVERITIES = ("error", "warning", "note")


def examine(source: str | Path, *, seed: int = 0) -> list[Problem]:
    """Return everything worth knowing about a catalogue, errors first.

    `seed` draws the split that is searched for copies on both sides. Raises `DataError` where
    there is no such catalogue.
    """
    reader = read_all(source)
    catalogue = Catalogue.of(reader)
    copies = _Copies(catalogue.items, reader.looks)
    found = [
        *_alike(copies),
        *_leaks(catalogue, copies, seed),
        *_relations(catalogue),
        *_groups(catalogue),
        *_unlinked(catalogue),
        *_labels(catalogue),
    ]
    return [*reader.problems, *sorted(found, key=lambda one: SEVERITIES.index(one.severity))]


def _many(
    severity: Literal["warning", "note"],
    what: str,
    where: str,
    examples: Sequence[str],
    fix: str,
    *,
    count: int | None = None,
    id: str = "",
) -> Problem:
    number = len(examples) if count is None else count
    return Problem(what, where, id, fix, severity, number, tuple(examples))


class _Copies:
    """Rows of items with the same picture, with pictures that look alike, with texts alike."""

    def __init__(self, items: Sequence[Item], looks: dict[str, np.ndarray]) -> None:
        self.items = items
        self.same = same_key([image_key(item) if item.image is not None else "" for item in items])
        rows = np.stack([looks.get(item.id, BLANK) for item in items] or [BLANK])
        self.alike = close_pairs(rows)
        self.texts = same_key([variant_key(item.text or "") for item in items])

    def names(self, clusters: Iterable[Sequence[int]]) -> list[str]:
        """Write each cluster as the ids of its first items."""
        return [" = ".join(self.items[row].id for row in rows[:4]) for rows in clusters]

    def clusters(self) -> list[list[int]]:
        """Join the copies of all three kinds."""
        chains = [pair for rows in (*self.same, *self.texts) for pair in _chain(rows)]
        pairs = np.concatenate([self.alike, np.array(chains, dtype=np.int64).reshape(-1, 2)])
        return joined(pairs, len(self.items))


def _chain(rows: Sequence[int]) -> list[tuple[int, int]]:
    return list(zip(rows, rows[1:], strict=False))


def _alike(copies: _Copies) -> Iterator[Problem]:
    fix = "remove the copies, or leave them: a split keeps them on one side"
    if copies.same:
        shared = sum(map(len, copies.same))
        what = f"{shared:,} items share their picture with another"
        yield _many("warning", what, "items", copies.names(copies.same), fix, count=shared)
    clusters = joined(copies.alike, len(copies.items))
    if clusters:
        shared = sum(map(len, clusters))
        what = f"{shared:,} items have a picture that looks like another's"
        fix = "look at them: variants may be linked, copies removed"
        yield _many("note", what, "items", copies.names(clusters), fix, count=shared)
    if copies.texts:
        shared = sum(map(len, copies.texts))
        what = (
            f"{shared:,} items have a text that differs from another's in "
            "nothing, or in numbers, sizes and colours"
        )
        fix = "say what tells them apart, or link them as variants"
        yield _many("note", what, "items", copies.names(copies.texts), fix, count=shared)


def _leaks(catalogue: Catalogue, copies: _Copies, seed: int) -> Iterator[Problem]:
    """Find held-out items with a copy among the training items."""
    split: Split = split_catalogue(catalogue, SplitConfig(seed=seed))
    train = set(split.train)
    found: list[str] = []
    for rows in copies.clusters():
        names = [catalogue.items[row].id for row in rows]
        seen = [name for name in names if name in train]
        found += [f"{name} ~ {seen[0]}" for name in names if seen and name not in train]
    if found:
        what = f"{len(found):,} held-out items have a near-copy among the training items"
        fix = "look at them; where both are the same thing, remove one"
        yield _many("warning", f"{what} (split seed {seed})", "items", found, fix)


def _relations(catalogue: Catalogue) -> Iterator[Problem]:
    """Find relations that are too small, too large, or the same as another."""
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    sample = sample_rows(len(rows))
    near = {}
    for relation in catalogue.relations:
        groups = [group for group in catalogue.groups if group.relation == relation.id]
        links = [link for link in catalogue.links if link.relation == relation.id]
        ends = {name for link in links for name in (link.source, link.target)}
        linked = ends.union(*(group.items for group in groups))
        near[relation.id] = neighbours(groups, links, rows, sample)
        share = near[relation.id].nnz / max(len(sample) * (len(rows) - 1), 1)
        if len(linked) < SMALL:
            what = f"relation {relation.id!r} links {len(linked)} items, expected {SMALL}"
            fix = "add links, or join it to a wider relation"
            yield _many("warning", what, "relations", sorted(linked), fix, id=relation.id)
        if share > LARGE:
            what = f"relation {relation.id!r} links {share:.0%} of all pairs: it tells little"
            fix = "split its groups, or remove it"
            yield _many("warning", what, "relations", [], fix, count=1, id=relation.id)
    for one, other in combinations(near, 2):
        share = jaccard(near[one], near[other])
        if share >= SAME:
            what = f"relations {one!r} and {other!r} have {share:.0%} of their links in common"
            fix = "keep one, or make their links differ"
            yield _many("warning", what, "relations", [], fix, count=1, id=other)


def _groups(catalogue: Catalogue) -> Iterator[Problem]:
    """Find groups of a relation that have the same members."""
    for relation in catalogue.relations:
        alike: dict[frozenset[str], list[str]] = {}
        for group in catalogue.groups:
            if group.relation == relation.id:
                alike.setdefault(frozenset(group.items), []).append(group.text or group.id)
        same = [names for names in alike.values() if len(names) > 1]
        if same:
            shared = sum(map(len, same))
            what = f"under {relation.id!r}, {shared:,} groups share all members with another"
            fix = "keep one of each, or leave them: their pairs are linked once"
            told = [" = ".join(names[:4]) for names in same]
            yield _many("note", what, "groups", told, fix, count=shared, id=relation.id)


def _unlinked(catalogue: Catalogue) -> Iterator[Problem]:
    ends = {name for link in catalogue.links for name in (link.source, link.target)}
    linked = ends.union(*(group.items for group in catalogue.groups))
    alone = [item.id for item in catalogue.items if item.id not in linked]
    if alone:
        what = f"{len(alone):,} of {len(catalogue.items):,} items stand in no relation"
        fix = "nothing has to be done: they train the null relation and can be found"
        yield _many("note", what, "items", alone, fix)


def _labels(catalogue: Catalogue) -> Iterator[Problem]:
    """Find the relations whose groups' own words stand in their members' texts."""
    words = {item.id: all_stems(item.text or "") for item in catalogue.items}
    for relation in catalogue.relations:
        groups = [g for g in catalogue.groups if g.relation == relation.id and g.text]
        named = labels(relation.text, [group.text for group in groups if group.text])
        told, total = [], sum(len(group.items) for group in groups)
        for group in groups:
            label = named[group.text or ""]
            told += [f"{name}: {group.text}" for name in group.items if words[name] & label]
        if total and len(told) >= TOLD * total:
            is_much = len(told) > MUCH * total
            what = (
                f"under {relation.id!r}, {len(told) / total:.0%} of the items have a word of their "
                "group's label in the text"
            )
            fix = "nothing has to be done: questions leave such pairs out"
            if is_much:
                fix = "questions leave such pairs out: take the words from the items' texts"
            yield _many("warning" if is_much else "note", what, "groups", told, fix, id=relation.id)


def counts(problems: Sequence[Problem]) -> str:
    """Say how many there are of each severity.

    >>> counts([Problem("x", "y"), Problem("x", "y", severity="note")])
    '1 error, 0 warnings, 1 note'
    """
    numbers = [sum(one.severity == name for one in problems) for name in SEVERITIES]
    pairs = zip(numbers, SEVERITIES, strict=True)
    return ", ".join(f"{number:,} {name}{'s' * (number != 1)}" for number, name in pairs)


def problems_page(source: str | Path, problems: Sequence[Problem]) -> str:
    """Return the problems as one self-contained page."""
    tables = []
    for severity in SEVERITIES:
        found = [one for one in problems if one.severity == severity]
        rows = [(f"{p.where}: {p.what}", p.count, _listed(p.examples), p.fix) for p in found]
        if rows:
            head = ("what", "count", "examples", "what to do")
            tables.append(Table(f"{severity.capitalize()}s", "", head, tuple(rows)))
    return page(f"Validation of {Path(source).name}", counts(problems) + ".", tables)


def _listed(examples: Sequence[str]) -> str:
    more = len(examples) - EXAMPLES
    return ", ".join(examples[:EXAMPLES]) + (f" and {more:,} more (--json)" if more > 0 else "")
