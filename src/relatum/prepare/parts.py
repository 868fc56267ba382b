"""Chunks of rows as Parquet files, and the chunks as one table with one type a column.

In: rows as dicts.
Out: a file for each chunk, then one file with a row group for each.
This file does not know where the rows come from. It holds one chunk at a time.
"""

import json
import re
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq

NUMBER = re.compile(r"-?(0|[1-9]\d{0,14})(\.\d{1,15})?")  # no leading zeros: those are codes


def write_table(table: pa.Table, path: Path) -> None:
    """Write a table in one step."""
    part = path.with_suffix(".writing")
    pq.write_table(table, part)
    part.replace(path)


def as_table(rows: Sequence[Mapping[str, object]], *, with_numbers: bool) -> pa.Table:
    """Return rows as a table; with `with_numbers`, texts that are all numbers are marked so."""
    keys = dict.fromkeys(("id", "text", "image"))
    for row in rows:
        keys |= dict.fromkeys(row)
    fields, columns = [], []
    for key in keys:
        values = [row.get(key) for row in rows]
        kind = pa.string() if key in ("id", "text", "image") else _type_of(values)
        mark = with_numbers and key not in ("id", "text", "image") and _are_numbers(values)
        fields.append(pa.field(key, kind, metadata={"numbers": "yes"} if mark else None))
        columns.append(_column(values, kind))
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _type_of(values: Iterable[object]) -> pa.DataType:
    kinds = {type(value) for value in values if value is not None}
    simple = {bool: pa.bool_(), int: pa.int64(), float: pa.float64(), str: pa.string()}
    if not kinds:
        return pa.null()
    if kinds == {list}:
        return pa.list_(pa.string())
    if kinds == {int, float}:
        return pa.float64()
    return simple.get(kinds.pop(), pa.string()) if len(kinds) == 1 else pa.string()


def _are_numbers(values: Sequence[object]) -> bool:
    return all(
        value is None or (isinstance(value, str) and NUMBER.fullmatch(value)) for value in values
    )


def _column(values: Sequence[object], kind: pa.DataType) -> pa.Array:
    if kind == pa.string():
        values = [
            one if one is None or isinstance(one, str) else json.dumps(one, ensure_ascii=False)
            for one in values
        ]
    return pa.array(values, kind)


def merge(parts: Sequence[Path], path: Path) -> None:
    """Write the parts as one file, a row group each; a column of several types becomes text."""
    schema = _common_schema(parts)
    path.parent.mkdir(exist_ok=True)
    part = path.with_suffix(".writing")
    with pq.ParquetWriter(part, schema) as writer:
        for one in parts:
            table = pq.read_table(one)
            columns = [_fitted(table, field) for field in schema]
            writer.write_table(pa.Table.from_arrays(columns, schema=schema))
    part.replace(path)


def _common_schema(parts: Sequence[Path]) -> pa.Schema:
    kinds: dict[str, pa.DataType] = {}
    texts: set[str] = set()
    for part in parts:
        for field in pq.read_schema(part):
            before = kinds.get(field.name, pa.null())
            kinds[field.name] = _wider(before, field.type)
            if field.type != pa.null() and not field.metadata:
                texts.add(field.name)
    fields = []
    for name, kind in kinds.items():
        if kind == pa.null():
            kind = pa.string()
        elif kind == pa.string() and name not in texts:
            kind = pa.float64()
        fields.append(pa.field(name, kind))
    return pa.schema(fields)


def _wider(one: pa.DataType, other: pa.DataType) -> pa.DataType:
    if one in (other, pa.null()):
        return other
    if other == pa.null():
        return one
    return pa.float64() if {one, other} == {pa.int64(), pa.float64()} else pa.string()


def _fitted(table: pa.Table, field: pa.Field) -> pa.Array | pa.ChunkedArray:
    if field.name not in table.schema.names:
        return pa.nulls(len(table), field.type)
    column = table.column(field.name)
    if column.type == field.type:
        return column
    if field.type == pa.string():
        return _column(column.to_pylist(), field.type)
    return column.cast(field.type, safe=False)
