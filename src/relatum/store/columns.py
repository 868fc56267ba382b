"""Metadata as columns of the table, so that filters may name it, and all that a hit shows as one.

In: items; the schema of a table.
Out: typed Arrow columns; a row's text, groups and metadata as the item had them, which is one
column because reading a few rows of a million costs half a millisecond a column.
This file does not know of tokens or vectors.
"""

import json
import re
from collections.abc import Sequence
from typing import Any

import numpy as np
import pyarrow as pa

from relatum.errors import StoreError
from relatum.items import Item, clean

OURS = ("id", "text", "thumbnail", "vector", "groups", "links", "shown")
OURS += ("image_pooled", "text_pooled", "image_tokens", "text_tokens")
PLAIN = (pa.string(), pa.bool_(), pa.int64(), pa.float64(), pa.list_(pa.string()))


class Columns:
    """The metadata columns: each key's field. The field says the key, and if it holds JSON."""

    def __init__(self, fields: Sequence[pa.Field]) -> None:
        """Take the fields of a table, the store's own included."""
        named = [field for field in fields if field.metadata and b"key" in field.metadata]
        self.fields = {field.metadata[b"key"].decode(): field for field in named}

    @classmethod
    def plan(cls, items: Sequence[Item]) -> "Columns":
        """Give each metadata key a name for SQL and the type of its values, or JSON."""
        values: dict[str, list[object]] = {}
        for item in items:
            for key, value in item.metadata.items():
                values.setdefault(key, []).append(clean(value))
        taken: set[str] = set(OURS)
        fields: list[pa.Field] = []
        for key, column in values.items():
            name, kind = _safe_name(key, taken), _arrow_type(column)
            taken.add(name.lower())
            facts = {"key": clean(key), "json": "" if kind else "true"}
            fields.append(pa.field(name, kind or pa.string(), metadata=facts))
        return cls(fields)

    @property
    def names(self) -> dict[str, str]:
        """Return the name in SQL of each metadata key."""
        return {key: field.name for key, field in self.fields.items()}

    @property
    def texts(self) -> dict[str, bool]:
        """Return the metadata keys whose values are texts, and True for lists of texts."""
        kinds = {pa.string(): False, pa.list_(pa.string()): True}
        found = {key: field for key, field in self.fields.items() if not _is_json(field)}
        return {key: kinds[field.type] for key, field in found.items() if field.type in kinds}

    def arrays(self, items: Sequence[Item]) -> dict[pa.Field, pa.Array]:
        """Return the columns of items; `StoreError` for a key or a value that does not fit."""
        for item in items:
            if unknown := [key for key in item.metadata if clean(key) not in self.fields]:
                what = f"item {item.id!r}: the store has no metadata {unknown[0]!r}"
                raise StoreError(what, fix="leave it out, or build the store again")
        rows = [{clean(key): value for key, value in item.metadata.items()} for item in items]
        return {
            field: _column([row.get(key) for row in rows], key, field)
            for key, field in self.fields.items()
        }

    def read(self, shown: str) -> dict[str, Any]:
        """Return what `show` wrote; `metadata` has all keys of the store."""
        found = json.loads(shown)
        has = found["metadata"].get
        return {**found, "metadata": {key: has(key) for key in self.fields}}


def show(item: Item, groups: Sequence[str] | None) -> str:
    """Return what a hit shows of an item, as JSON; no groups at all where none were told."""
    metadata = {clean(key): clean(value) for key, value in item.metadata.items()}
    facts = {"text": item.text, "groups": groups and [*groups], "metadata": metadata}
    return json.dumps(facts, default=_plain)


def _plain(value: Any) -> object:  # noqa: ANN401 - whatever metadata holds
    return value.tolist() if isinstance(value, np.generic | np.ndarray) else str(value)


def _column(values: Sequence[object], key: str, field: pa.Field) -> pa.Array:
    if pa.types.is_list(field.type) and (bare := [v for v in values if isinstance(v, str)]):
        what = f"metadata {key!r}: expected a list of texts, got {bare[0]!r}"
        raise StoreError(what, fix="put it in a list")  # else it is taken for a list of letters
    if _is_json(field):
        values = [None if v is None else json.dumps(v, default=str) for v in values]
    try:
        return pa.array(map(clean, values), field.type)
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError) as error:
        what = f"metadata {key!r}: expected {field.type}, got another kind: {error}"
        raise StoreError(" ".join(what.split()), fix="correct it, or build again") from error


def _is_json(field: pa.Field) -> bool:
    return field.metadata[b"json"] == b"true"


def _safe_name(key: str, taken: set[str]) -> str:
    """Return a column name that is an identifier and not taken, whatever its case.

    >>> _safe_name("vector", {"vector"}), _safe_name("2nd colour", set()), _safe_name("room", set())
    ('vector_', 'm_2nd_colour', 'room')
    """
    name = re.sub(r"\W", "_", key)
    name = name if name[:1].isalpha() else f"m_{name}"
    while name.lower() in taken:
        name += "_"
    return name


def _arrow_type(values: Sequence[object]) -> pa.DataType | None:
    """Return the type that holds all values, or None where only JSON does."""
    try:
        kind = pa.array(values).type
    except (pa.ArrowInvalid, pa.ArrowTypeError, OverflowError):
        return None
    kind = {pa.null(): pa.string(), pa.list_(pa.null()): pa.list_(pa.string())}.get(kind, kind)
    return kind if kind in PLAIN else None
