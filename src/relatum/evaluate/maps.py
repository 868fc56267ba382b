"""Which items to show under which two relations, and where they lie.

In: a model, a catalogue, the items asked about with their tokens.
Out: two views of the same items, and their pictures.
This file does not know how a map is drawn.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from PIL import Image

from relatum.batch import Tokens
from relatum.catalogue import Catalogue, Group, Relation, linked
from relatum.evaluate.plots import COLOURS, View, place, thumbnail
from relatum.items import Item, read_image
from relatum.model import Model

SHOWN = 60
SMALLEST = 4  # items of a group that are asked about, for the group to have a colour


@dataclass(frozen=True)
class Found:
    """Views of the same items, and the items' pictures (None where there is none)."""

    views: list[View]
    pictures: list[Image.Image | None]


def find_views(
    model: Model, catalogue: Catalogue, items: Sequence[Item], tokens: Tokens
) -> Found | None:
    """Take the two relations with most links that have groups; None where there are not two."""
    rows = {item.id: row for row, item in enumerate(items)}
    grouped = {r.id: _disjoint_groups(catalogue, r.id, rows) for r in catalogue.relations}
    relations = [r for r in catalogue.relations if len(grouped[r.id]) > 1 and not r.directed]
    relations.sort(key=lambda r: -linked(catalogue, r.id, rows).nnz)
    if len(relations) < 2:
        return None
    shown = relations[:2]
    chosen = _choose(items, [grouped[relation.id] for relation in shown])
    kept = tokens[torch.tensor([rows[item.id] for item in chosen])]
    views = [_view(model, relation, grouped[relation.id], chosen, kept) for relation in shown]
    return Found(views, [thumbnail(read_image(i)) if i.image is not None else None for i in chosen])


def _disjoint_groups(catalogue: Catalogue, relation: str, rows: dict[str, int]) -> list[Group]:
    """Return the largest groups with a text; one that mostly repeats a larger one is left out."""
    groups = [g for g in catalogue.groups if g.relation == relation and g.text]
    members = {g: {name for name in g.items if name in rows} for g in groups}
    found: list[Group] = []
    for group in sorted(groups, key=lambda g: -len(members[g])):
        taken = set().union(*(members[other] for other in found))
        fresh = members[group] - taken
        if len(fresh) >= max(SMALLEST, len(members[group]) / 2) and len(found) < len(COLOURS):
            found.append(group)
    return found


def _choose(items: Sequence[Item], sides: Sequence[Sequence[Group]]) -> list[Item]:
    """Choose about `SHOWN` items evenly over pairs of groups, those in a group on each side."""
    cells: dict[tuple[int, ...], list[Item]] = {}
    for item in items:
        cells.setdefault(tuple(_group_of(item, groups) for groups in sides), []).append(item)
    order = sorted(cells)
    queue = [
        (sum(group < 0 for group in cell), turn, item)
        for cell in order
        for turn, item in enumerate(cells[cell])
    ]
    queue.sort(key=lambda entry: entry[:2])
    return [item for _, _, item in queue[:SHOWN]]


def _group_of(item: Item, groups: Sequence[Group]) -> int:
    return next((place for place, group in enumerate(groups) if item.id in group.items), -1)


def _view(
    model: Model, relation: Relation, groups: Sequence[Group], items: Sequence[Item], tokens: Tokens
) -> View:
    places, shares = place(model.condition(tokens, relation.text).both.numpy())
    members = [_group_of(item, groups) for item in items]
    return View(relation.text, places, shares, members, [group.text or "" for group in groups])
