"""Read the tables of a catalogue, row by row.

In: the folder of a catalogue.
Out: items, relations, groups and links that are good, and all that is wrong.
This file does not know what is done about a problem.
"""

import json
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np

from relatum.catalogue.copies import picture_look
from relatum.catalogue.links import Group, Link, Relation
from relatum.catalogue.tables import Problem, Row, find_table, read_rows
from relatum.errors import DataError
from relatum.items import Item, read_image


def is_id(name: object) -> bool:
    """Tell whether something may be an id: a text that is not blank, without control characters."""
    return isinstance(name, str) and bool(name.strip()) and all(ord(one) >= 32 for one in name)


class CatalogueReader:
    """Reads the tables in their order and keeps what is good apart from what is wrong."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.items: dict[str, Item] = {}
        self.relations: dict[str, Relation] = {}
        self.groups: list[Group] = []
        self.said: dict[tuple[str, str], tuple[Row, Group]] = {}  # of groups, with their first rows
        self.links: list[Link] = []
        self.problems: list[Problem] = []
        self.places: dict[str, str] = {}
        self.dropped: set[str] = set()
        self.looks: dict[str, np.ndarray] = {}  # of pictures, once they are decoded

    def read(self) -> None:
        """Read all tables; those that need ids come after those that give them."""
        self.read_items()
        for row in self._rows("relations", ("id", "text")):
            self._read_relation(row)
        for row in self._rows("groups", ("relation", "group", "items"), optional=True):
            self._read_group(row)
        self._close_groups()
        for row in self._rows("links", ("source", "relation", "target"), optional=True):
            self._read_link(row)
        self._check_relations()

    def read_items(self) -> None:
        """Read the items table."""
        for row in self._rows("items", ("id", "text", "image")):
            self._read_item(row)

    def drop_bad_images(self) -> None:
        """Decode every picture; drop the items whose picture is bad, and what points to them."""
        with ThreadPoolExecutor(2) as pool:
            found = pool.map(self._image_problem, list(self.items.values()))
            bad = [problem for problem in found if problem is not None]
        self.problems += bad
        names = {problem.id for problem in bad}
        if not names:
            return
        self.items = {key: item for key, item in self.items.items() if key not in names}
        self.links = [it for it in self.links if not names & {it.source, it.target}]
        kept: list[Group] = []
        for group in self.groups:
            members = tuple(name for name in group.items if name not in names)
            kept.append(replace(group, items=members))
        self.groups = [group for group in kept if len(group.items) > 1]
        self._check_relations()

    def _image_problem(self, item: Item) -> Problem | None:
        if item.image is None:
            return None
        try:
            self.looks[item.id] = picture_look(read_image(item))
        except DataError as error:
            place = self.places[item.id] + f" ({error.where})" * bool(error.where)
            return Problem(error.what, place, item.id, error.fix)
        return None

    def _rows(self, name: str, required: Sequence[str], *, optional: bool = False) -> Iterable[Row]:
        path = find_table(self.folder, name)
        if path is None and optional:
            return ()
        if path is None:
            raise DataError(
                f"expected {name}.jsonl, {name}.csv or {name}.parquet, found none",
                where=self.folder,
                fix="add the table (see docs/file-formats.md)"
                + ", or mine relations: relatum mine FOLDER" * (name == "relations"),
            )
        return read_rows(path, required, self.problems)

    def _problem(self, row: Row, what: str, fix: str, about: str = "") -> None:
        self.problems.append(Problem(what, row.where, about, fix))

    def _id(self, row: Row, taken: Mapping[str, object]) -> str | None:
        name = row.values["id"]
        if not isinstance(name, str) or not name.strip():
            self._problem(row, f"expected a text as id, got {name!r}", "give the row a unique id")
        elif name in taken:
            first = self.places[name] if name in self.places else "an earlier row"
            what = f"duplicate id {name!r}, first at {first}"
            self._problem(row, what, "rename or remove one of them", name)
        elif not is_id(name):
            self._problem(row, f"id {name!r} holds control characters", "remove them", name)
        else:
            return name
        return None

    def _read_item(self, row: Row) -> None:
        name = self._id(row, self.items)
        if name is None:
            return
        text, image = row.values["text"], row.values["image"]
        if text is not None and not isinstance(text, str):
            what = f"item {name!r}: expected a text or null, got {text!r}"
            return self._drop(row, name, what, "quote it")
        try:
            picture = self._image(name, image)
            metadata = {k: v for k, v in row.values.items() if k not in ("id", "text", "image")}
            self.items[name] = Item(name, text, picture, metadata)
            self.places[name] = row.where
        except DataError as error:
            self._drop(row, name, error.what, error.fix)

    def _drop(self, row: Row, name: str, what: str, fix: str) -> None:
        self.dropped.add(name)
        self._problem(row, what, fix, name)

    def _image(self, name: str, image: object) -> Path | bytes | None:
        if isinstance(image, dict):  # how Hugging Face datasets store pictures in Parquet
            image = image.get("bytes") or image.get("path")
        if image is None or isinstance(image, bytes):
            return image
        if not isinstance(image, str):
            raise DataError(f"item {name!r}: expected an image path, got {image!r}", fix="quote it")
        path = (self.folder / image).resolve()
        if not path.is_relative_to(self.folder.resolve()):
            what = f"item {name!r}: the image {image!r} lies outside the catalogue"
            raise DataError(what, fix="copy it into the folder")
        if not path.is_file():
            what = f"item {name!r}: the image {image!r} does not exist"
            raise DataError(what, fix="correct the path or set image to null")
        return path

    def _read_relation(self, row: Row) -> None:
        name = self._id(row, self.relations)
        if name is None:
            return
        text, inverse = row.values["text"], row.values.get("inverse")
        directed = _boolean(row.values.get("directed"))
        if not isinstance(text, str) or not text.strip():
            what = f"relation {name!r}: expected a description, got {text!r}"
            return self._problem(row, what, "describe the relation in plain words", name)
        if directed is None or (inverse is not None and not isinstance(inverse, str)):
            what = f"relation {name!r}: expected true or false as directed and a text as inverse"
            return self._problem(row, what, "correct the row", name)
        if directed and not inverse:
            what = f"relation {name!r} is directed but has no inverse text"
            return self._problem(row, what, 'say it from the other end, as "is used to make"', name)
        said = map(str, _names(row.values.get("paraphrases")))
        paraphrases = tuple(text for text in said if text.strip())
        inverse = inverse if directed else None
        self.relations[name] = Relation(name, text, directed, inverse, paraphrases)
        self.places.setdefault(name, row.where)

    def _relation_of(self, row: Row) -> str | None:
        relation = row.values["relation"]
        if isinstance(relation, str) and relation in self.relations:
            return relation
        known = ", ".join(list(self.relations)[:6])
        what = f"unknown relation {relation!r}, expected one of {known or 'none'}"
        self._problem(row, what, "correct it or add it to the relations")
        return None

    def _check_ends(self, row: Row, names: Sequence[object]) -> bool:
        gone = [name for name in names if name not in self.items]
        for name in [name for name in gone if name not in self.dropped][:3]:  # others were told
            what, fix = f"unknown item id {name!r}", "correct the id or add the item"
            self._problem(row, what, fix, str(name))
        return not gone

    def _read_group(self, row: Row) -> None:
        relation = self._relation_of(row)
        if relation is None:
            return
        name, text = row.values["group"], row.values.get("text")
        name = row.where if name is None else str(name)
        if not is_id(name):
            what = f"group {name!r} of {relation!r} is blank or holds control characters"
            return self._problem(row, what, "rename it", name)
        told = str(text) if text and str(text).strip() else None
        members = list(dict.fromkeys(_names(row.values["items"])))
        self._check_ends(row, members)
        first, old = self.said.get((relation, name), (row, Group(relation, name, (), None)))
        both = tuple(dict.fromkeys((*old.items, *members)))
        self.said[relation, name] = first, Group(relation, name, both, old.text or told)

    def _close_groups(self) -> None:
        """Take what rows said of groups, which may stand in several: their known items."""
        for row, group in self.said.values():
            members = tuple(name for name in group.items if name in self.items)
            if len(members) > 1:
                self.groups.append(replace(group, items=members))
            elif not self.dropped & {*group.items}:
                what = f"group {group.id!r} of {group.relation!r} has {len(members)} known items"
                self._problem(row, f"{what}, expected two", "add items or remove it", group.id)

    def _read_link(self, row: Row) -> None:
        relation = self._relation_of(row)
        ends = [row.values["source"], row.values["target"]]
        if relation is None or not self._check_ends(row, ends):
            return
        weight = row.values.get("weight")
        weight = 1.0 if weight is None else weight
        if not isinstance(weight, int | float) or not 0 < weight <= 1:
            what = f"expected a weight in (0, 1], got {weight!r}"
            return self._problem(row, what, "scale the weights")
        if ends[0] == ends[1]:
            return self._problem(row, f"item {ends[0]!r} is linked to itself", "remove the link")
        self.links.append(Link(str(ends[0]), relation, str(ends[1]), float(weight)))

    def _check_relations(self) -> None:
        used = {group.relation for group in self.groups} | {link.relation for link in self.links}
        for name in [name for name in self.relations if name not in used]:
            what = f"relation {name!r} has no links"
            fix = "add links or groups, or remove the relation"
            self.problems.append(Problem(what, self.places[name], name, fix))
            del self.relations[name]


def _names(value: object) -> list[str]:
    """Read a list of ids: a list, or in CSV a JSON list or names parted by `|`.

    >>> _names('["a", "b"]'), _names("a|b"), _names(["a"]), _names(None)
    (['a', 'b'], ['a', 'b'], ['a'], [])
    """
    if isinstance(value, str) and value.startswith("["):
        try:
            value = json.loads(value)
        except json.JSONDecodeError:
            return [str(value)]
    if isinstance(value, str):
        return value.split("|")
    return [str(name) for name in value] if isinstance(value, list | tuple) else []


def _boolean(value: object) -> bool | None:
    words = {"true": True, "1": True, "1.0": True, "false": False, "0": False, "0.0": False}
    return words.get(str(value).lower()) if value is not None else False
