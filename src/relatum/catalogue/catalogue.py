"""A catalogue: items, relations, groups and links, read from a folder and checked.

In: a folder of up to four tables, or the name of a built-in catalogue.
Out: a `Catalogue`, or every problem of the folder.
This file does not know of splits, encoders or models.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from importlib import resources
from pathlib import Path

from relatum.catalogue.links import Group, Link, Relation
from relatum.catalogue.reader import CatalogueReader
from relatum.catalogue.tables import Problem
from relatum.errors import DataError
from relatum.items import Item, image_key

BUILT_IN = ("furniture", "survival")


@dataclass(frozen=True)
class Catalogue:
    """Items and what relates them. `left_out` says what `skip_bad` dropped."""

    name: str
    items: tuple[Item, ...]
    relations: tuple[Relation, ...]
    groups: tuple[Group, ...] = ()
    links: tuple[Link, ...] = ()
    left_out: tuple[Problem, ...] = field(default=(), repr=False)

    @classmethod
    def load(
        cls, source: str | Path, *, skip_bad: bool = False, pictures: bool = True
    ) -> "Catalogue":
        """Read a folder or a built-in catalogue.

        With `skip_bad`, whatever is bad is left out and told in `left_out`: pictures included,
        unless `pictures` is False, as whoever encodes them will leave out the bad ones.
        Raises `DataError` at the first problem otherwise; pictures are then decoded only when
        they are encoded.
        """
        folder = find_folder(source)
        reader = CatalogueReader(folder)
        reader.read()
        if skip_bad and pictures:
            reader.drop_bad_images()
        elif reader.problems and not skip_bad:
            raise _first_of(reader.problems, folder)
        if not reader.items:
            raise DataError("no item is left", where=folder, fix="see relatum validate")
        return cls.of(reader)

    @classmethod
    def of(cls, reader: CatalogueReader) -> "Catalogue":
        """Return what was good of what was read."""
        return cls(
            name=reader.folder.name,
            items=tuple(reader.items.values()),
            relations=tuple(reader.relations.values()),
            groups=tuple(reader.groups),
            links=tuple(reader.links),
            left_out=tuple(reader.problems),
        )

    def fingerprint(self) -> str:
        """Name the catalogue by its content, pictures included: 16 hex digits."""
        digest = hashlib.blake2b(digest_size=8)
        for item in self.items:
            picture = image_key(item) if item.image is not None else ""
            digest.update(f"{item.id}\0{item.text}\0{picture}\n".encode())
        for rows in (self.relations, self.groups, self.links):
            digest.update(repr(rows).encode("utf-8", "surrogatepass"))
        return digest.hexdigest()


def validate(source: str | Path) -> list[Problem]:
    """Return every problem of a catalogue, pictures included, in the order of its files.

    A table that cannot be read as a whole ends the list of those of the tables. Raises `DataError`
    where there is no such catalogue.
    """
    return read_all(source).problems


def read_all(source: str | Path) -> CatalogueReader:
    """Read what is good of a catalogue, pictures included, and note every problem."""
    reader = CatalogueReader(find_folder(source))
    try:
        reader.read()
    except DataError as error:
        reader.problems.append(Problem(error.what, error.where, fix=error.fix))
    reader.drop_bad_images()
    if not reader.items and not reader.problems:
        reader.problems.append(Problem("the items table is empty", str(reader.folder)))
    return reader


def load_items(source: str | Path) -> tuple[Item, ...]:
    """Read the items alone, of a catalogue that may have no relations yet."""
    reader = CatalogueReader(find_folder(source))
    reader.read_items()
    if reader.problems:
        raise _first_of(reader.problems, reader.folder)
    return tuple(reader.items.values())


def find_folder(source: str | Path) -> Path:
    """Return the folder of a catalogue: the one named, or a built-in one of that name."""
    folder = Path(source)
    if folder.is_dir():
        return folder
    if str(source) in BUILT_IN:
        return Path(str(resources.files("relatum"))) / "catalogues" / str(source)
    raise DataError(
        f"no catalogue at {str(source)!r}",
        fix=f"name a folder with an items table, or one of {', '.join(BUILT_IN)}",
    )


def _first_of(problems: Sequence[Problem], folder: Path) -> DataError:
    first, more = problems[0], len(problems) - 1
    if not more:
        return first.error()
    fix = f"{first.fix} (and at least {more} more: relatum validate {folder})"
    return DataError(first.what, where=first.where, fix=fix)
