"""Rows of a table with the place each came from.

In: a folder and a table's name; the table is `.jsonl`, `.csv` or `.parquet`.
Out: the rows in order, each with `file:line`, and the problems of rows that cannot be read.
This file does not know what the columns mean.
"""

import csv
import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import pyarrow as pa
import pyarrow.parquet as pq

from relatum.errors import DataError
from relatum.items import clean

SUFFIXES = (".jsonl", ".csv", ".parquet")
csv.field_size_limit(16_000_000)


@dataclass(frozen=True)
class Problem:
    """One thing that is wrong with a catalogue: what, where, about which id, and what to do.

    What concerns many rows is one warning or note with a count and examples.
    """

    what: str
    where: str
    id: str = ""
    fix: str = ""
    severity: Literal["error", "warning", "note"] = "error"
    count: int = 1
    examples: tuple[str, ...] = ()

    def error(self) -> DataError:
        """Return the problem as an exception."""
        return DataError(self.what, where=self.where, fix=self.fix)

    def __str__(self) -> str:
        """Return the problem as the one line its exception prints."""
        return str(self.error())


@dataclass(frozen=True)
class Row:
    """One row and its place: `items.csv:3` (for Parquet, the row's number from 1)."""

    where: str
    values: dict[str, object]


def find_table(folder: Path, name: str) -> Path | None:
    """Return the file that holds the table `name`, or None; two of them are a `DataError`."""
    found = [folder / (name + suffix) for suffix in SUFFIXES if (folder / (name + suffix)).exists()]
    if len(found) > 1:
        names = ", ".join(path.name for path in found)
        raise DataError(f"expected one {name} table, got {names}", where=folder, fix="keep one")
    return found[0] if found else None


def read_rows(
    path: Path, required: Sequence[str], problems: list[Problem], *, kind: str = ""
) -> Iterator[Row]:
    """Yield the rows of `path`; a row that cannot be read goes to `problems` instead.

    Raises `DataError` where the table as a whole cannot be read: a header without a required
    column, a broken Parquet file, a text that is not UTF-8.
    """
    readers = {".jsonl": _read_jsonl, ".csv": _read_csv, ".parquet": _read_parquet}
    try:
        yield from readers[kind or path.suffix](path, required, problems)
    except UnicodeDecodeError as error:
        what = f"expected UTF-8 text, got the byte 0x{error.object[error.start]:02x}"
        raise DataError(what, where=path.name, fix="save the file as UTF-8") from error
    except (pa.ArrowException, csv.Error, OSError) as error:
        what = "the table cannot be read: " + " ".join(str(error).split())
        raise DataError(what, where=path.name, fix="write the file again") from error


def _read_jsonl(path: Path, required: Sequence[str], problems: list[Problem]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig") as lines:
        for number, line in enumerate(lines, 1):
            if not line.strip():
                continue
            where = f"{path.name}:{number}"
            try:
                values = json.loads(line)
                values = clean(values) if "\\ud" in line.lower() else values
            except (ValueError, RecursionError) as error:
                what = f"expected a JSON object, got {line.strip()[:40]!r} ({error})"
                problems.append(Problem(what, where, fix="correct the line"))
                continue
            if not isinstance(values, dict):
                what = f"expected a JSON object, got {type(values).__name__}"
                problems.append(Problem(what, where, fix="write one object a line"))
                continue
            missing = [name for name in required if name not in values]
            if missing:
                what = f"expected the keys {', '.join(required)}, got {', '.join(values) or 'none'}"
                problems.append(Problem(what, where, str(values.get("id", "")), "add the key"))
                continue
            yield Row(where, values)


def _check_header(path: Path, columns: Sequence[str], required: Sequence[str]) -> None:
    if any(name not in columns for name in required):
        what = f"expected the columns {', '.join(required)}, got {', '.join(columns) or 'none'}"
        fix = "correct the header" if columns else "the file is empty: write a header"
        if len(columns) == 1 and ";" in columns[0]:
            fix = "part the columns by commas, not by semicolons"
        raise DataError(what, where=f"{path.name}:1", fix=fix)


def _read_csv(path: Path, required: Sequence[str], problems: list[Problem]) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        reader = csv.DictReader(file, strict=True)
        columns = list(reader.fieldnames or [])
        _check_header(path, columns, required)
        numbers = _number_columns(path, columns)
        for values in reader:
            where = f"{path.name}:{reader.line_num}"
            if None in values or None in values.values():
                what = f"expected {len(columns)} cells, got another number"
                fix = "quote cells that hold commas"
                problems.append(Problem(what, where, str(values.get("id", "")), fix))
                continue
            yield Row(where, {name: _cell(name in numbers, values[name]) for name in columns})


def _number_columns(path: Path, columns: Sequence[str]) -> set[str]:
    """Return the columns, other than those with an id or a text, whose filled cells are numbers."""
    words = {"id", "text", "image", "items", "group", "relation", "source", "target", "inverse"}
    words |= {"verdict", "new_text"}  # of a review
    numbers = set(columns) - words
    with path.open(encoding="utf-8-sig", newline="") as file:
        for values in csv.DictReader(file):
            numbers = {name for name in numbers if _is_number(values.get(name))}
    return numbers


def _is_number(cell: object) -> bool:
    try:
        return not cell or float(str(cell)) == float(str(cell))
    except ValueError:
        return False


def _cell(is_number: bool, cell: str) -> object:
    if cell == "":
        return None
    return float(cell) if is_number else cell


def _read_parquet(path: Path, required: Sequence[str], problems: list[Problem]) -> Iterator[Row]:
    del problems  # a Parquet file is whole or not
    file = pq.ParquetFile(path, memory_map=True)
    _check_header(path, file.schema_arrow.names, required)
    number = 0
    for batch in file.iter_batches(batch_size=1024):
        for values in batch.to_pylist():
            number += 1
            yield Row(f"{path.name}:{number}", values)
