"""Builders: each makes relations of a source, as its settings say.

In: a `Source` and the settings of one builder.
Out: `Mined` relations: a description with groups or links, and how they were found.
This file does not know of reports or files.
"""

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TypeGuard

import numpy as np
from jaxtyping import Float, Int
from scipy import sparse

from relatum.catalogue import Group, Link, Relation
from relatum.catalogue.copies import BLANK, close_pairs, joined, picture_look, same_key, variant_key
from relatum.catalogue.tables import Problem, read_rows
from relatum.errors import ConfigError, DataError
from relatum.items import Item, read_image
from relatum.relations.pairs import (
    Pairs,
    communities,
    count_related,
    count_together,
    pairs_of,
    strongest,
)
from relatum.relations.plan import After, Builder, Column, Copies, Table, Together, Topics
from relatum.relations.source import Source
from relatum.relations.words import distinguishing_words, phrase, slug

PEOPLE = {
    "baskets": ("are bought together", "turn up in the same basket", "are taken in one go"),
    "also_bought": ("are bought by the same people", "share their buyers"),
    "also_viewed": ("are looked at by the same people", "are weighed against each other"),
    "bought_together": ("are often bought together", "go into one basket"),
    "similar": ("are taken to be similar", "are named as alike"),
}
PURPOSE = ("are used together for the same purpose", "serve one need together", "form one kit")
SAME_PICTURE = ("show almost the same picture", "look the same in their pictures")
VARIANTS = ("are variants of one article", "differ in size, number or colour only")
TOPIC = {
    "text": ("are about the same topic", "are described in similar words"),
    "image": ("look alike", "have similar pictures"),
}


@dataclass(frozen=True)
class Mined:
    """A relation with its groups or links, who built it, and how in words."""

    relation: Relation
    groups: tuple[Group, ...]
    links: tuple[Link, ...]
    builder: Builder
    found: str


def build(source: Source, settings: Builder) -> list[Mined]:
    """Run one builder; the list is empty where the source has nothing for it."""
    match settings:
        case Column():
            found = build_column(source, settings)
        case Together():
            found = build_together(source, settings)
        case After():
            found = build_after(source, settings)
        case Copies():
            found = build_copies(source, settings)
        case Topics():
            found = build_topics(source, settings)
        case Table():
            found = build_table(source, settings)
    return [one for one in found if one.groups or one.links]


def build_column(source: Source, settings: Column) -> list[Mined]:
    """Group items with equal values, values in one window, or paths that begin alike.

    Raises `ConfigError` for a column that no item has, or a band of one without numbers.
    """
    _check_column(source, settings)
    members: dict[tuple[str, ...], list[int]] = {}
    for row, item in enumerate(source.items):
        for key in _keys(item.metadata.get(settings.column), settings):
            members.setdefault(key, []).append(row)
    most = min(settings.most * len(source.items), len(source.items) - 1)
    fit = {key: rows for key, rows in members.items() if settings.smallest <= len(rows) <= most}
    rng, name = np.random.default_rng(0), settings.column.replace("_", " ")
    clusters = [np.sort(rng.permutation(rows)[: settings.largest]) for rows in fit.values()]
    is_list = any(isinstance(it.metadata.get(settings.column), list) for it in source.items)
    words, before = (f"have the same {name}", f"are alike in {name}"), f"both have the {name} {{}}"
    if is_list and settings.depth is None:
        words, before = (f"have one of the {name} in common", words[1]), f"both have {{}} in {name}"
    relation = _relation(settings, settings.column, words)
    names = [" in ".join(reversed(key)) for key in fit]
    found = f"equal values of the column {settings.column!r}"
    large = {" in ".join(reversed(key)): len(rows) for key, rows in members.items()
             if len(rows) > max(most, settings.smallest - 1)}  # fmt: skip
    if large:
        told = ", ".join(f"{name!r} ({number:,} items)" for name, number in [*large.items()][:3])
        found += f"; left out as too large: {told}" + ", ..." * (len(large) > 3)
    return [_grouped(source, settings, relation, clusters, found, names, before)]


def _check_column(source: Source, settings: Column) -> None:
    values = [item.metadata.get(settings.column) for item in source.items]
    values = [value for value in values if value is not None]
    there = dict.fromkeys(name for item in source.items for name in item.metadata)
    if source.items and settings.column not in there:
        fix = f"there are {', '.join(there) or 'none'}"
        raise ConfigError(f"no item has a column {settings.column!r}", where="plan", fix=fix)
    if settings.band is not None and values and not any(map(_is_number, values)):
        what = f"expected numbers in the column {settings.column!r} for a band, got {values[0]!r}"
        raise ConfigError(what, where="plan", fix="leave out the band, or name another column")


def _is_number(value: object) -> TypeGuard[float]:
    return isinstance(value, int | float) and math.isfinite(value)


def _keys(value: object, settings: Column) -> Iterable[tuple[str, ...]]:
    """Return the groups that a value belongs to.

    >>> _keys(["Home", "Kitchen", "Pans"], Column(column="category", depth=2))
    [('Home', 'Kitchen')]
    >>> _keys(7.0, Column(column="price", band=10))
    [('0 to 10',), ('5 to 15',)]
    """
    if value is None or value == "":
        return []
    if settings.band is not None:
        if not _is_number(value):
            return []
        last = math.floor(2 * value / settings.band)
        starts = [settings.band * (last - 1) / 2, settings.band * last / 2]
        return [(f"{start:g} to {start + settings.band:g}",) for start in starts]
    if settings.depth is not None:
        path = value if isinstance(value, list | tuple) else str(value).split(settings.separator)
        levels = tuple(str(level).strip() for level in path)[: settings.depth]
        return [levels] if len(levels) == settings.depth else []
    values = value if isinstance(value, list | tuple) else [value]
    names = dict.fromkeys(str(one).strip() for one in values)
    return [(name,) for name in names if name]


def build_together(source: Source, settings: Together) -> list[Mined]:
    """Link items that occur together more than by chance, or group their communities."""
    pairs = pairs_together(source, settings)
    words = PEOPLE.get(settings.signal, (f"are {settings.signal.replace('_', ' ')}",))
    if settings.shape == "links":
        relation = _relation(settings, settings.signal, words)
        found = f"pairs of {settings.signal} above chance (log-likelihood ratio), weighted by NPMI"
        links = _links(source, relation, pairs.one, pairs.other, pairs.weight())
        return [Mined(relation, (), links, settings, found)]
    rows = communities(pairs, len(source.items), resolution=settings.resolution)
    rows = [some for some in rows if len(some) >= settings.smallest]
    relation = _relation(settings, f"{settings.signal}-purpose", PURPOSE)
    found = f"communities (Louvain, connected) of pairs of {settings.signal}"
    whole = _grouped(source, settings, relation, rows, found)
    return [whole] if settings.shape == "groups" else _one_each(whole)


def count_signal(source: Source, settings: Together) -> sparse.csr_array | None:
    """Return how often items occur together in what the settings name, or None without it."""
    items = len(source.items)
    if settings.signal != "baskets":
        ends = source.related.get(settings.signal)
        return None if ends is None else count_related(ends, items)
    if source.baskets is None:
        return None
    return count_together(source.baskets.matrix(items, settings.largest_basket))


def pairs_together(source: Source, settings: Together) -> Pairs:
    """Return the pairs with enough support and significance, each item's strongest."""
    counts = count_signal(source, settings)
    items = len(source.items)
    pairs = pairs_of(sparse.csr_array((items, items)) if counts is None else counts)
    listed = settings.signal != "baskets"  # a shop's list is believed as it stands
    enough = pairs.count >= (1 if listed else settings.support)
    pairs = pairs.keep(enough & (pairs.strength() >= (0 if listed else settings.significance**2)))
    return strongest(pairs, settings.neighbours)


def _one_each(whole: Mined) -> list[Mined]:
    """Turn each group into a relation of its own."""
    found = []
    for group in whole.groups:
        words = (group.text or "").removeprefix("both ")
        ways = (f"belong with {words.removeprefix('go with ')}",)
        relation = Relation(f"{whole.relation.id}-{group.id}", words, paraphrases=ways)
        groups = (Group(relation.id, group.id, group.items),)
        found.append(Mined(relation, groups, (), whole.builder, whole.found))
    return found


def build_after(source: Source, settings: After) -> list[Mined]:
    """Link each item to those it follows in time, more often than they follow it."""
    found = "which item follows which in time, within one basket"
    ways = ("is bought later than", "comes in a later purchase than")
    inverse = settings.inverse or "is bought before"
    relation = _relation(settings, "after", ("is bought after", *ways), inverse)
    baskets, items = source.baskets, len(source.items)
    if baskets is None or not np.isfinite(baskets.time).any():
        return []
    steps = sparse.csr_array((items, items), dtype=np.int64)
    for step in range(1, settings.window + 1):
        one, other = slice(None, -step), slice(step, None)
        good = baskets.basket[one] == baskets.basket[other]
        good &= baskets.time[one] < baskets.time[other]
        good &= baskets.item[one] != baskets.item[other]
        ends = baskets.item[other][good], baskets.item[one][good]
        ones = np.ones(len(ends[0]), dtype=np.int64)
        steps += sparse.csr_array((ones, ends), shape=(items, items))
    table = sparse.coo_array(steps)
    back = np.asarray(steps[table.col, table.row]).ravel()
    gain, total = table.data - back, table.data + back
    kept = (table.data >= settings.support) & (gain >= settings.significance * np.sqrt(total))
    links = _links(source, relation, table.row[kept], table.col[kept], (gain / total)[kept])
    return [Mined(relation, (), links, settings, found)]


def build_copies(source: Source, settings: Copies) -> list[Mined]:
    """Group pictures that look the same, or texts that differ in sizes and colours only."""
    items = source.items
    if settings.by == "image":
        looks, unread = _looks(items)
        clusters = joined(close_pairs(np.stack(looks)), len(items)) if looks else []
        relation = _relation(settings, "same-picture", SAME_PICTURE)
        found = "difference hashes of the pictures and their colours"
        found += f"; {unread:,} pictures cannot be read, see relatum validate" * bool(unread)
    else:
        clusters = same_key([variant_key(item.text or "") for item in items])
        relation = _relation(settings, "text-variants", VARIANTS)
        found = "texts that are equal but for numbers, sizes and colours"
    clusters = [rows for rows in clusters if len(rows) <= settings.largest]
    names = [items[rows[0]].id for rows in clusters]
    return [_grouped(source, settings, relation, clusters, found, names, said="")]


def build_topics(source: Source, settings: Topics) -> list[Mined]:
    """Cluster vectors by density; what lies between clusters is in none."""
    vectors = source.vectors.get(settings.vectors)
    if vectors is None:
        return []
    from sklearn.cluster import HDBSCAN  # takes a second, which nothing else here needs
    from sklearn.decomposition import PCA

    seed = 0 if source.half is None else source.half.seed + 1
    rows = np.random.default_rng(seed).permutation(len(vectors))
    kept = len(rows) if source.half is None else len(rows) * 4 // 5
    rows = np.sort(rows[: min(kept, settings.most)])
    rows = rows[np.linalg.norm(vectors[rows], axis=1) > 0]  # zero: the item lacks the modality
    if len(rows) <= 2 * settings.smallest:
        return []
    some = vectors[rows] / np.linalg.norm(vectors[rows], axis=1, keepdims=True)
    small = PCA(min(settings.dimensions, *some.shape), random_state=0).fit_transform(some)
    cluster = HDBSCAN(min_cluster_size=settings.smallest, copy=True)  # pyright: ignore[reportArgumentType]
    labels = cluster.fit_predict(small)
    clusters = [rows[labels == label].tolist() for label in range(int(labels.max()) + 1)]
    words = TOPIC.get(settings.vectors, (f"are alike in {settings.vectors}",))
    relation = _relation(settings, f"topic-{settings.vectors}", words)
    found = f"HDBSCAN of the {settings.vectors} vectors"
    return [_grouped(source, settings, relation, clusters, found)]


def _looks(items: Sequence[Item]) -> tuple[list[np.ndarray], int]:
    """Return what pictures look like, blank where there is none, and how many cannot be read."""
    looks, unread = [], 0
    for item in items:
        look = BLANK
        try:
            look = BLANK if item.image is None else picture_look(read_image(item))
        except DataError:
            unread += 1
        looks.append(look)
    return looks, unread


def build_table(source: Source, settings: Table) -> list[Mined]:
    """Take the links of a table; those of items that the catalogue lacks are left out."""
    path = source.folder / settings.path  # an absolute one stays as it is
    if path.suffix not in (".jsonl", ".csv", ".parquet") or not path.is_file():
        what = "expected a .jsonl, .csv or .parquet file"
        what += "; there is no such file beside the plan or in the catalogue" * (not path.is_file())
        raise DataError(what, where=settings.path, fix="correct the plan's path")
    if not settings.text or (settings.directed and not settings.inverse):
        what = "links from a table need a text, and an inverse where directed"
        raise ConfigError(what, where=f"plan, {path.name}", fix="say what the links mean")
    relation = _relation(settings, path.stem, (), settings.inverse)
    problems: list[Problem] = []
    links: dict[tuple[str, str], Link] = {}
    rows = unknown = alike = 0
    for row in read_rows(path, ("source", "target"), problems):
        ends = str(row.values["source"]), str(row.values["target"])
        weight = row.values.get("weight")
        weight = float(weight) if isinstance(weight, int | float) and 0 < weight <= 1 else 1.0
        rows += 1
        if not all(name in source.rows for name in ends):
            unknown += 1
        elif ends[0] == ends[1]:
            alike += 1
        else:
            links[ends] = Link(ends[0], relation.id, ends[1], weight)
    if problems:
        raise problems[0].error()
    found = f"the table {path.name}"
    if unknown or alike:
        found += (
            f"; of {rows:,} rows, {unknown:,} name an unknown item and {alike:,} one item twice"
        )
    return [Mined(relation, (), tuple(links.values()), settings, found)]


def _relation(settings: Builder, name: str, words: Sequence[str], inverse: str = "") -> Relation:
    """Describe a relation: as the settings say, or by the templates."""
    text = settings.text or words[0]
    ways = settings.paraphrases or (() if settings.text else tuple(words[1:]))
    id = settings.id or slug([name], set())
    return Relation(id, text, bool(inverse), inverse or None, ways)


def _grouped(
    source: Source,
    settings: Column | Together | Copies | Topics,
    relation: Relation,
    clusters: Sequence[Sequence[int] | np.ndarray],
    found: str,
    names: Sequence[str] | None = None,
    said: str = "both go with {}",
) -> Mined:
    """Name clusters as given, or by their texts; a group's text is `said` with its name."""
    if names is None:
        words = [[source.items[row].text or "" for row in rows] for rows in clusters]
        names = [phrase(some) for some in distinguishing_words(words)]
    taken: set[str] = set()
    said, groups = settings.group_text or said, []
    for rows, name in zip(clusters, names, strict=True):
        ids = tuple(source.items[row].id for row in rows)
        text = said.replace("{}", name) if said and name else None
        groups.append(Group(relation.id, slug([name], taken), ids, text))
    return Mined(relation, tuple(groups), (), settings, found)


def _links(
    source: Source,
    relation: Relation,
    one: Int[np.ndarray, " links"],
    other: Int[np.ndarray, " links"],
    weight: Float[np.ndarray, " links"],
) -> tuple[Link, ...]:
    names = [item.id for item in source.items]
    ends = zip(one.tolist(), other.tolist(), weight.tolist(), strict=True)
    return tuple(Link(names[a], relation.id, names[b], round(w, 4)) for a, b, w in ends)
