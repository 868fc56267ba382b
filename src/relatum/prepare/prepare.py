"""A catalogue from the files that people have.

In: a format's name, a file or folder, and where the catalogue is to be.
Out: the catalogue: items, pictures, signals, relations mined from them, and every problem.
This file does not know how relations are mined.
"""

import hashlib
import json
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict, dataclass, field, replace
from functools import partial
from itertools import islice
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

from relatum.disk import cache_folder, check_place, write_file
from relatum.errors import ConfigError, DataError
from relatum.prepare.clean import Unusable
from relatum.prepare.folders import read_dataset, read_pictures
from relatum.prepare.kinds import KINDS, Basket, Kind, Row, by_book_number, find_kind, merge_rows
from relatum.prepare.kinds import RELATED as RELATED_KINDS
from relatum.prepare.parts import as_table, merge, write_table
from relatum.prepare.pictures import Pictures, state
from relatum.prepare.sources import Meter, Record, is_table, read_file
from relatum.prepare.stage import Problem, Stage, finish, open_stage, outcome
from relatum.progress import Report, silent
from relatum.relations import Plan, mine
from relatum.relations.report import headline

FORMAT = 1
NONE = "no relations were mined"
ITEMS, BASKETS = 4_000, 200_000  # records in a chunk
AT_ONCE = 64  # records whose pictures are in memory
BASKET = pa.schema([("basket", pa.string()), ("item", pa.string()), ("time", pa.int64())])
RELATED = pa.schema([("source", pa.string()), ("kind", pa.string()), ("target", pa.string())])
GO_ON = "correct it, or go on without it: --skip-bad"


@dataclass(frozen=True)
class Settings:
    """How to read a source. `columns` maps our names to a table's: text to (title, description)."""

    columns: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    baskets: Path | None = None  # a table of who took what
    pictures: Path | None = None  # where paths of pictures begin; default: the source's folder
    with_pictures: bool = True
    rate: float = 8.0  # downloads a second and host
    cache: Path | None = None  # of downloads; default: in the token cache's folder
    plan: Plan | None = None  # of the relations to mine; default: from what there is
    with_relations: bool = True  # False leaves mining for later: `relatum mine`


@dataclass(frozen=True)
class Prepared:
    """What was made: how many of what, what was left out, and what was mined."""

    kind: str
    items: int
    pictures: int
    related: int
    baskets: int
    left_out: dict[str, int]
    relations: str = NONE

    def headline(self) -> str:
        """Return one line for people."""
        bad = ", ".join(
            f"{count:,} {what}{'s' * (count != 1)}" for what, count in sorted(self.left_out.items())
        )
        bad = f"left out {bad}, see problems.jsonl" if bad else "nothing left out"
        told = self.relations.removesuffix(".")
        return f"{self.items:,} items, {self.pictures:,} with a picture; {bad}; {told}"


def column_names(pairs: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """Read a mapping of columns, ours to theirs.

    >>> column_names(["text=title+description"])
    {'text': ('title', 'description')}
    """
    known = ("id", "text", "image", *RELATED_KINDS, *BASKET.names)
    found: dict[str, tuple[str, ...]] = {}
    for pair in pairs:
        ours, _, theirs = pair.partition("=")
        if ours not in known or not theirs:
            what = f"expected ours=theirs with one of {', '.join(known)}, got {pair!r}"
            raise ConfigError(what, where="--column", fix="as in --column text=title+description")
        found[ours] = tuple(theirs.split("+"))
    return found


def prepare(
    kind: str,
    source: Path,
    output: Path,
    *,
    settings: Settings = Settings(),  # noqa: B008 - frozen
    skip_bad: bool = False,
    report: Report = silent,
) -> Prepared:
    """Write the catalogue of a source to `output`; what was made is in its `prepare.json` too.

    The same call goes on where a killed one was, and gives the same bytes. Raises `DataError` for a
    source that is of no use, and without `skip_bad` for one with any problem; the work is kept.
    """
    if kind not in KINDS:
        raise ConfigError(f"expected one of {', '.join(KINDS)}, got {kind!r}", where="KIND")
    if not settings.rate > 0:
        raise ConfigError(f"expected more than 0, got {settings.rate}", where="--rate")
    _check_output(source, output)
    work = _Work(kind, find_kind(kind, settings.columns), source, settings, report)
    with open_stage(output, work.job(), partial(work.state, again=not skip_bad)) as stage:
        work.items(stage)
        work.baskets(stage)
        found = work.gather(stage, skip_bad=skip_bad)
        if settings.with_relations:
            mined = mine(stage.ready, settings.plan, report=report)
            found = replace(found, relations=headline(mined))
        write_file(stage.ready / "prepare.json", (json.dumps(asdict(found)) + "\n").encode())
        finish(stage, output)
    return found


def _check_output(source: Path, output: Path) -> None:
    check_place(output)
    if source.is_dir() and output.absolute().is_relative_to(source.absolute()):
        raise DataError("lies inside the source", where=output, fix="name a folder elsewhere")
    if output.is_dir() and any(output.iterdir()) and not (output / "prepare.json").is_file():
        what = "the folder holds something that prepare did not write"
        raise DataError(what, where=output, fix="name another folder, or empty it")


class _Work:
    def __init__(
        self, name: str, kind: Kind, source: Path, settings: Settings, report: Report
    ) -> None:
        self.name, self.kind, self.source, self.settings = name, kind, source, settings
        self.report, self.meter = report, Meter()
        self.root = source if source.is_dir() else source.parent
        if settings.pictures is not None and not settings.pictures.is_dir():
            what, fix = "expected a folder of pictures, found none", "correct --pictures"
            raise DataError(what, where=settings.pictures, fix=fix)
        self.files, self.basket_files = _find_files(name, kind, source, settings.baskets)
        self.state = partial(state, settings.pictures or self.root)  # of a picture

    def job(self) -> dict[str, object]:
        """Return what makes two runs the same job: format, settings, and the files as they are."""
        digest, size = hashlib.blake2b(digest_size=16), 0
        for path in _walk(self.source, self.settings.baskets):
            facts = path.stat()
            digest.update(
                f"{path}\0{facts.st_size}\0{facts.st_mtime_ns}\n".encode(errors="replace")
            )
            size += facts.st_size
        self.size = size
        columns = {key: list(names) for key, names in self.settings.columns.items()}
        pictures = [str(self.settings.pictures), self.settings.with_pictures]
        return {
            "format": FORMAT,
            "kind": self.name,
            "source": digest.hexdigest(),
            "columns": columns,
            "pictures": pictures,
        }

    def records(self) -> Iterator[Record]:
        """Yield the records of all files with items."""
        if self.name == "folder":
            yield from read_pictures(self.root, self.meter)
        elif self.name == "datasets":
            yield from read_dataset(self.root, self.kind.required, self.meter)
        else:
            for path in self.files:
                found = read_file(path, path.name, self.kind.required, self.meter)
                yield from merge_rows(found, self.kind.group) if self.kind.group else found

    def items(self, stage: Stage) -> None:
        """Write the chunks of items, their pictures and what is related to them."""
        pictures = Pictures(
            stage.ready / "images",
            root=self.settings.pictures or self.root,
            cache=(self.settings.cache or cache_folder()) / "downloads",
            rate=self.settings.rate,
        )
        csv = any(path.name.lower().removesuffix(".gz")[-4:] == ".csv" for path in self.files)
        with_numbers = self.name == "folder" or (self.name == "table" and csv)
        for name, records in stage.chunks("items", self.records(), ITEMS):
            problems: list[Problem] = []
            rows: list[Row] = []
            with ThreadPoolExecutor(8) as pool:
                while some := list(islice(records, AT_ONCE)):
                    found = [(one, self._row(stage, one, name, problems)) for one in some]
                    images = pool.map(partial(self._keep, pictures), [row for _, row in found])
                    rows += _with_images(found, images, problems)
            related = [
                (row.id, kind, target)
                for row in rows
                for kind, target in dict.fromkeys(row.related)
                if target != row.id
            ]
            flat = [
                {"id": row.id, "text": row.text, "image": row.image, **row.metadata} for row in rows
            ]
            stage.write_problems(name, problems)
            related_path = stage.parts / f"related{name.removeprefix('items')}.parquet"
            write_table(_columns(related, RELATED), related_path)
            stage.commit()
            table = as_table(flat, with_numbers=with_numbers)
            write_table(table, stage.parts / f"{name}.parquet")  # from now on it is done
            self.report("read items", self.meter.position(), self.size, name)

    def _row(self, stage: Stage, record: Record, chunk: str, problems: list[Problem]) -> Row | None:
        notes: list[str] = []
        about = str(record.values.get("id", ""))[:200]
        try:
            if record.problem:
                raise Unusable(record.problem, record.fix)
            row = self.kind.row(record.values, notes)
            about = row.id
            if row.text is None and (row.image is None or not self.settings.with_pictures):
                raise Unusable("the row has neither a text nor a picture", "give it one of the two")
            first = stage.claim(row.id, record.where, chunk)
            if first is not None:
                what = f"duplicate id {row.id!r}, first at {first}"
                raise Unusable(what, "rename or remove one of them")
        except Unusable as error:
            problems.append(outcome(record, error.what, error.fix, about=about, left_out="row"))
            return None
        problems += [outcome(record, one, GO_ON, about=about, left_out="value") for one in notes]
        return row

    def _keep(self, pictures: Pictures, row: Row | None) -> str | None | Unusable:
        if row is None or row.image is None or not self.settings.with_pictures:
            return None
        try:
            return pictures.keep(row.image)
        except Unusable as error:
            return error

    def baskets(self, stage: Stage) -> None:
        """Write the chunks of who took what."""
        for name, chunk in stage.chunks("baskets", self._taken(), BASKETS):
            taken = list(chunk)
            stage.write_problems(name, [one for one in taken if isinstance(one, dict)])
            table = _columns([one for one in taken if isinstance(one, tuple)], BASKET)
            write_table(table, stage.parts / f"{name}.parquet")
            self.report("read baskets", self.meter.position(), self.size, name)

    def _taken(self) -> Iterator[Basket | Problem]:
        for path in self.basket_files:
            basket = self.kind.basket
            if self.name == "goodreads" and path.name.removesuffix(".gz").endswith(".csv"):
                basket = by_book_number(path, basket)
            for record in read_file(path, path.name, (), self.meter):
                try:
                    if record.problem:
                        raise Unusable(record.problem, record.fix)
                    yield basket(record.values)
                except Unusable as error:
                    yield outcome(record, error.what, error.fix, left_out="basket row")

    def gather(self, stage: Stage, *, skip_bad: bool) -> Prepared:
        """Join the chunks to the catalogue's tables, unless there are problems that count."""
        left_out, first = stage.gather_problems()
        count = sum(left_out.values())
        if first is not None and not skip_bad:
            stage.note_refused(self.state)
            what = f"{first['what']} (and {count - 1:,} more: {stage.ready / 'problems.jsonl'})"
            fix = f"{first['fix']}; with --skip-bad the work goes on from here"
            raise DataError(what, where=first["where"], fix=fix)
        counts = {
            name: self._join(stage, name, place)
            for name, place in (
                ("items", "items"),
                ("related", "signals/related"),
                ("baskets", "signals/baskets"),
            )
        }
        if not counts["items"]:
            what = "no row is left" if first is None else f"no row is left: {first['what']}"
            raise DataError(what, where=self.source, fix="see relatum prepare --help")
        images = pq.read_table(stage.ready / "items.parquet", columns=["image"]).column(0)
        pictures = len(images) - images.null_count
        items, related, baskets = counts.values()
        return Prepared(self.name, items, pictures, related, baskets, left_out)

    def _join(self, stage: Stage, name: str, place: str) -> int:
        parts = sorted(stage.parts.glob(f"{name}-*.parquet"))
        rows = {part: pq.read_metadata(part).num_rows for part in parts}
        if any(rows.values()):
            merge([part for part in parts if rows[part]], stage.ready / f"{place}.parquet")
        return sum(rows.values())


def _with_images(
    found: Sequence[tuple[Record, Row | None]],
    images: Iterator[str | None | Unusable],
    problems: list[Problem],
) -> Iterator[Row]:
    """Yield the rows with their kept pictures; without text and picture a row is left out."""
    for (record, row), image in zip(found, images, strict=True):
        if row is None:
            continue
        if isinstance(image, Unusable):
            left_out = "image" if row.text else "row"
            facts = {"about": row.id, "left_out": left_out}
            name = row.image if isinstance(row.image, str) else ""
            problems.append(outcome(record, image.what, image.fix, **facts, picture=name))
            image = None
        if row.text or image:
            yield replace(row, image=image)


def _columns(rows: Sequence[tuple[object, ...]], schema: pa.Schema) -> pa.Table:
    columns = list(zip(*rows, strict=True)) or [()] * len(schema)
    arrays = [pa.array(column, field.type) for column, field in zip(columns, schema, strict=True)]
    return pa.Table.from_arrays(arrays, schema=schema)


def _walk(*places: Path | None) -> Iterator[Path]:
    for place in places:
        if place is not None and place.is_dir():
            for here, folders, files in os.walk(place):
                folders.sort()
                yield from (Path(here) / name for name in sorted(files))
        elif place is not None:
            yield place


def _find_files(
    name: str, kind: Kind, source: Path, baskets: Path | None
) -> tuple[list[Path], list[Path]]:
    """Return the files with items and those with baskets, in the order of their names."""
    for path in (source, baskets):
        if path is not None and not path.exists():
            raise DataError("there is no such file or folder", where=path, fix="correct the path")
    more = [baskets] if baskets else []
    if name in ("folder", "datasets"):
        if not source.is_dir():
            raise DataError("expected a folder", where=source, fix=f"{name} reads folders")
        return [], more
    if source.is_file():
        return [source], more
    is_tar = name == "webdataset"
    found = [
        path
        for path in sorted(source.iterdir())
        if is_table(path)
        and path.is_file()
        and is_tar == (".tar" in path.name.lower() or path.suffix == ".tgz")
    ]
    items = [path for path in found if path.name.startswith(kind.items)]
    if not items:
        what = f"found no file called {kind.items}*" if kind.items else "found no table"
        raise DataError(what, where=source, fix="name the file or a folder that holds it")
    others = [path for path in found if path not in items and kind.baskets in path.name]
    return items, more or (others if kind.items else [])
