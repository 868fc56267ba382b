"""Which items, groups and relations are for training, validation and testing.

In: a catalogue, shares and a seed.
Out: a `Split` of ids, decided before anything is fitted and kept in the model folder.
This file does not know what is done with either side.
"""

import hashlib
import re
from collections.abc import Iterable, Sequence
from dataclasses import asdict, dataclass

import numpy as np

from relatum.catalogue.catalogue import Catalogue
from relatum.catalogue.copies import joined
from relatum.config import SplitConfig
from relatum.errors import ConfigError
from relatum.items import Item, image_key


@dataclass(frozen=True)
class Split:
    """Ids by side.

    Groups are named `relation/group`. The links of a group or relation that is held out are not
    trained on.
    """

    train: tuple[str, ...]
    validation: tuple[str, ...]
    test: tuple[str, ...]
    groups_held_out: tuple[str, ...] = ()
    relations_held_out: tuple[str, ...] = ()

    def to_json(self) -> dict[str, object]:
        """Return the split as plain lists."""
        return {name: list(ids) for name, ids in asdict(self).items()}

    @classmethod
    def from_json(cls, values: dict[str, list[str]]) -> "Split":
        """Rebuild the split that `to_json` wrote."""
        return cls(**{name: tuple(ids) for name, ids in values.items()})


def split_catalogue(catalogue: Catalogue, config: SplitConfig) -> Split:
    """Split a catalogue by item, by group and by relation.

    Items with the same picture or with texts that differ in digits only stay on one side. An item
    that is added later does not move more than the items at the borders.
    """
    clusters = sorted(_clusters(catalogue.items), key=lambda ids: _draw(config.seed, ids[0]))
    sides: dict[str, list[str]] = {"test": [], "validation": [], "train": []}
    count = len(catalogue.items)
    shares = {"test": config.test_items, "validation": config.validation_items}
    for ids in clusters:
        side = next((s for s, part in shares.items() if len(sides[s]) < part * count), "train")
        sides[side] += ids
    groups = [group.name for group in catalogue.groups if group.text]
    groups.sort(key=lambda name: _draw(config.seed, name))
    return Split(
        train=_in_order(catalogue, sides["train"]),
        validation=_in_order(catalogue, sides["validation"]),
        test=_in_order(catalogue, sides["test"]),
        groups_held_out=tuple(sorted(groups[: round(config.held_out_groups * len(groups))])),
        relations_held_out=_relations_held_out(catalogue, config),
    )


def _draw(seed: int, name: str) -> str:
    return hashlib.sha256(f"{seed}:{name}".encode("utf-8", "surrogatepass")).hexdigest()


def _in_order(catalogue: Catalogue, ids: Iterable[str]) -> tuple[str, ...]:
    chosen = set(ids)
    return tuple(item.id for item in catalogue.items if item.id in chosen)


def _relations_held_out(catalogue: Catalogue, config: SplitConfig) -> tuple[str, ...]:
    known = {relation.id for relation in catalogue.relations}
    names = config.held_out_relations
    if isinstance(names, int):
        return tuple(sorted(sorted(known, key=lambda name: _draw(config.seed, name))[:names]))
    for name in names:
        if name not in known:
            raise ConfigError(
                f"split.held_out_relations: unknown relation {name!r}",
                fix=f"expected one of {', '.join(sorted(known))}",
            )
    return tuple(names)


def _clusters(items: Sequence[Item]) -> list[list[str]]:
    """Join items that share a picture or a text up to its digits, directly or through others."""
    first: dict[str, int] = {}
    keys = [(key, row) for row, item in enumerate(items) for key in _likeness(item)]
    pairs = [(first.setdefault(key, row), row) for key, row in keys]
    together = joined(np.array(pairs, dtype=np.int64).reshape(-1, 2), len(items))
    alone = {*range(len(items))} - {row for rows in together for row in rows}
    clusters = sorted([*together, *([row] for row in alone)])
    return [[items[row].id for row in rows] for rows in clusters]


def _likeness(item: Item) -> list[str]:
    text = " ".join(re.sub(r"\d+", " ", item.text or "").lower().split())
    keys = [f"text {text}"] if text else []
    return keys + ([f"image {image_key(item)}"] if item.image is not None else [])
