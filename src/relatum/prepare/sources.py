"""Files of many formats as one stream of records, each with its place.

In: a file: JSON lines, CSV, TSV, Parquet, Arrow, tar shards, XML; plain or gzipped.
Out: records in the order of the file. One that cannot be read carries what is wrong instead, and a
file that breaks off ends with such a record; a file that is of no use at all is a `DataError`.
This file does not know what the columns mean. Nothing is held but the record at hand.
"""

import csv
import gzip
import io
import json
import re
import tarfile
import xml.etree.ElementTree as ElementTree
import zlib
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.ipc as ipc
import pyarrow.parquet as pq

from relatum.errors import DataError

LINE_LIMIT = 64_000_000  # bytes
MEMBER_LIMIT = 64_000_000  # bytes of one file in a tar shard
SUFFIXES = (".jsonl", ".json", ".ndjson", ".csv", ".tsv", ".txt", ".parquet", ".arrow", ".tar")
SUFFIXES += (".tgz", ".xml", ".rss", ".atom")
PICTURE = re.compile(r".*\.(png|jpe?g|webp|gif|bmp|tiff?)", re.IGNORECASE)
SURROGATE = re.compile("[\ud800-\udfff]")
BROKEN = (EOFError, zlib.error, tarfile.TarError, pa.ArrowException, OSError)
AGAIN = "get the file again; what stands before is good"
csv.field_size_limit(LINE_LIMIT)


@dataclass(frozen=True)
class Record:
    """A row of a source, or what is wrong with it."""

    where: str
    values: Mapping[str, Any] = field(default_factory=dict)
    problem: str = ""
    fix: str = ""


class Meter:
    """How many bytes of the sources have been read."""

    def __init__(self) -> None:
        self.done = 0
        self.file: io.BufferedIOBase | None = None

    def position(self) -> int:
        """Return the bytes of finished files and of the open one."""
        return self.done + (self.file.tell() if self.file and not self.file.closed else 0)


Reader = Callable[[io.BufferedIOBase, str, Sequence[str]], Iterator[Record]]


def is_table(path: Path) -> bool:
    """Tell whether `read_file` knows the name: `meta.jsonl.gz`, `feed.xml`."""
    name = path.name.lower().removesuffix(".gz")
    return name.endswith(SUFFIXES) and not name.startswith(".")


def read_file(path: Path, name: str, required: Sequence[str], meter: Meter) -> Iterator[Record]:
    """Yield the records of a file; `name` stands in their places.

    Raises `DataError` for an empty file, another format than the name says, UTF-16, or a table
    without a required column.
    """
    suffix = Path(path.name.lower().removesuffix(".gz")).suffix
    readers: dict[str, Reader] = {
        ".csv": _csv,
        ".tsv": _csv,
        ".txt": _csv,
        ".parquet": _parquet,
        ".arrow": _arrow,
        ".tar": _tar,
        ".tgz": _tar,
        ".xml": _xml,
        ".rss": _xml,
        ".atom": _xml,
    }
    last = name
    with _opened(path, name, meter) as file:
        try:
            for record in readers.get(suffix, _json_lines)(file, name, required):
                last = record.where
                yield record
        except BROKEN as error:
            if isinstance(error, OSError) and error.errno:
                raise  # the disk, not what is on it
            reason = " ".join(str(error).split()) or type(error).__name__
            yield Record(f"{last} (after it)", {}, f"the file breaks off: {reason}", AGAIN)


@contextmanager
def _opened(path: Path, name: str, meter: Meter) -> Iterator[Any]:
    try:
        raw = path.open("rb")
    except OSError as error:
        reason = (error.strerror or str(error)).lower()
        raise DataError(f"cannot be read: {reason}", where=name, fix="correct the path") from error
    with raw:
        head = raw.read(4)
        raw.seek(0)
        if not head:
            raise DataError("the file is empty", where=name, fix="get it again or leave it out")
        if head[:2] in (b"\xff\xfe", b"\xfe\xff"):
            raise DataError("expected UTF-8, got UTF-16", where=name, fix="save it as UTF-8")
        meter.file = raw
        if head[:2] == b"\x1f\x8b":
            with gzip.GzipFile(fileobj=raw) as unpacked:
                yield unpacked
        else:
            yield raw
        meter.done += path.stat().st_size
        meter.file = None


def _json_lines(file: io.BufferedIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    number = 0
    while line := file.readline(LINE_LIMIT):
        number += 1
        where = f"{name}:{number}"
        if len(line) == LINE_LIMIT:
            while not line.endswith(b"\n") and line:
                line = file.readline(LINE_LIMIT)
            yield Record(where, {}, "a line of over 64 MB", "write one object a line")
            continue
        if number == 1:
            line = line.removeprefix(b"\xef\xbb\xbf")
            if line.lstrip().startswith(b"["):
                what = "expected an object a line, got one JSON list"
                raise DataError(what, where=where, fix="write it as JSON lines (jq -c '.[]')")
        if line.strip():
            yield _json_record(line, where, required)


NAME_IT = "add the key, or say which it is: --column id=sku"


def _json_record(line: bytes, where: str, required: Sequence[str]) -> Record:
    try:
        values = json.loads(line.decode())
    except UnicodeDecodeError as error:
        what = f"expected UTF-8, got the byte 0x{line[error.start]:02x}"
        return Record(where, {}, what, "save the file as UTF-8")
    except (ValueError, RecursionError) as error:
        what = f"expected a JSON object, got {line[:40]!r} ({error})"
        return Record(where, {}, what, "correct the line")
    if not isinstance(values, dict):
        what = f"expected a JSON object, got {type(values).__name__}"
        return Record(where, {}, what, "write one object a line")
    if required and required[0] not in values:  # the id; other keys may be missing for null
        got = ", ".join(list(values)[:8]) or "none"
        return Record(where, values, f"expected the key {required[0]}, got {got}", NAME_IT)
    return Record(where, values)


def _check_columns(columns: Sequence[str], required: Sequence[str], name: str) -> None:
    missing = [key for key in required if key not in columns]
    if missing:
        got = ", ".join(list(columns)[:12]) or "none"
        what = f"expected the columns {', '.join(required)}, got {got}"
        fix = "correct the header, or name the columns: --column id=sku"
        raise DataError(what, where=name, fix=fix)
    twice = [key for key in columns if list(columns).count(key) > 1]
    if twice:
        raise DataError(f"two columns are called {twice[0]!r}", where=name, fix="rename one")


def _csv(file: io.BufferedIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    raw: Any = file  # whatever pyright thinks, a file that is unpacked may be wrapped
    text = io.TextIOWrapper(raw, "utf-8-sig", errors="surrogateescape", newline="")
    try:
        yield from _csv_rows(text, name, required)
    finally:
        text.detach()


def _csv_rows(text: io.TextIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    header = text.readline(1_000_000)
    delimiter = max(",;\t|", key=header.count)
    columns = next(csv.reader([header], delimiter=delimiter), [])
    columns = [column.strip() for column in columns]
    _check_columns(columns, required, f"{name}:1")
    reader = csv.reader(text, delimiter=delimiter, strict=True)
    while True:
        try:
            row = next(reader)
        except StopIteration:
            return
        except csv.Error as error:
            where = f"{name}:{reader.line_num + 1}"
            yield Record(where, {}, f"the row cannot be read: {error}", "quote its cells")
            continue
        if row:
            yield _csv_record(row, columns, f"{name}:{reader.line_num + 1}")


def _csv_record(row: list[str], columns: Sequence[str], where: str) -> Record:
    if len(row) != len(columns):
        what = f"expected {len(columns)} cells, got {len(row)}"
        return Record(where, {}, what, "quote cells that hold the delimiter or line breaks")
    bad = None if all(map(str.isascii, row)) else SURROGATE.search("".join(row))
    if bad:
        what = f"expected UTF-8, got the byte 0x{ord(bad.group()) & 255:02x}"
        return Record(where, {}, what, "save the file as UTF-8 (iconv -f latin1 -t utf-8)")
    return Record(where, {key: cell or None for key, cell in zip(columns, row, strict=True)})


def _parquet(file: io.BufferedIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    try:
        table = pq.ParquetFile(file)
    except pa.ArrowException as error:
        what = f"expected a Parquet file: {' '.join(str(error).split())}"
        raise DataError(what, where=name, fix="get the file again") from error
    _check_columns(table.schema_arrow.names, required, name)
    yield from _batches(table.iter_batches(batch_size=256), name)


def _arrow(file: io.BufferedIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    try:
        stream = ipc.open_stream(pa.PythonFile(file))
    except pa.ArrowException as error:
        what = f"expected an Arrow stream: {' '.join(str(error).split())}"
        raise DataError(what, where=name, fix="save the dataset again") from error
    _check_columns(stream.schema.names, required, name)
    yield from _batches(stream, name)


def _batches(batches: Iterator[pa.RecordBatch], name: str) -> Iterator[Record]:
    number = 0
    for batch in batches:
        for start in range(0, len(batch), 64):
            for values in batch.slice(start, 64).to_pylist():
                number += 1
                yield Record(f"{name}:{number}", values)


def _tar(file: io.BufferedIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    """Yield a record for each run of members with one base name, up to its first dot."""
    del required
    key, parts = "", {}
    with tarfile.open(fileobj=file, mode="r|") as tar:
        for member in tar:
            tar.members.clear()  # pyright: ignore[reportAttributeAccessIssue] - tarfile would keep them all
            where = f"{name}:{member.name}"
            if member.isdir() or Path(member.name).name.startswith((".", "__")):
                continue
            problem = _member_problem(member)
            if problem:
                yield Record(where, {}, problem, "pack the shard again without it")
                continue
            folder, slash, last = member.name.rpartition("/")
            base, _, extension = last.partition(".")
            if parts and key != folder + slash + base:
                yield Record(f"{name}:{key}", parts)
                parts = {}
            key = parts["__key__"] = folder + slash + base
            content = tar.extractfile(member)
            parts[extension.lower()] = content.read() if content else b""
    if parts:
        yield Record(f"{name}:{key}", parts)


def _member_problem(member: tarfile.TarInfo) -> str:
    if not member.isreg():
        return "expected a file, got a link or a device"
    if member.name.startswith("/") or ".." in Path(member.name).parts:
        return "the name leads out of the archive"
    return "a file of over 64 MB" if member.size > MEMBER_LIMIT else ""


def _xml(file: io.BufferedIOBase, name: str, required: Sequence[str]) -> Iterator[Record]:
    """Yield a record for each `item` (RSS) or `entry` (Atom); Google's namespace wins."""
    del required
    open_elements: list[ElementTree.Element] = []
    number = 0
    try:
        for event, element in ElementTree.iterparse(file, ("start", "end")):
            if event == "start":
                open_elements.append(element)
                continue
            open_elements.pop()
            if _local(element) in ("item", "entry"):
                number += 1
                yield Record(f"{name}: item {number}", _children(element))
                open_elements[-1].clear() if open_elements else None
    except (ElementTree.ParseError, ValueError, LookupError) as error:
        what = f"the XML cannot be read further: {error}"
        yield Record(f"{name} (after item {number})", {}, what, AGAIN)


def _local(element: ElementTree.Element) -> str:
    return element.tag.rpartition("}")[2].lower()


def _children(element: ElementTree.Element) -> dict[str, str]:
    values: dict[str, str] = {}
    for child in sorted(element, key=lambda one: "base.google.com" not in one.tag):
        if child.text and len(child) == 0:
            values.setdefault(_local(child), child.text)
    return values
