"""What relations are mined from: items, what people did with them, vectors; whole or halved.

In: a catalogue folder with `signals/` beside its items, vectors as arrays.
Out: a `Source`: baskets and lists of related items as arrays of rows, read a batch at a time.
This file does not know what is made of them.
"""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from jaxtyping import Bool, Float, Int, UInt64
from scipy import sparse

from relatum.catalogue.catalogue import load_items
from relatum.errors import DataError
from relatum.items import Item

BATCH = 1 << 16  # rows of a signal held as text at a time


@dataclass(frozen=True)
class Baskets:
    """Events in the order of baskets, then of time: whose basket, which item's row, when."""

    basket: Int[np.ndarray, " events"]
    item: Int[np.ndarray, " events"]
    time: Float[np.ndarray, " events"]
    keys: UInt64[np.ndarray, " baskets"]
    unknown: int = 0  # events with items that the catalogue lacks

    def keep(self, kept: Bool[np.ndarray, " baskets"]) -> "Baskets":
        """Return some of the baskets."""
        here, number = kept[self.basket], np.cumsum(kept) - 1
        events = number[self.basket[here]], self.item[here], self.time[here]
        return Baskets(*events, self.keys[kept], self.unknown)

    def matrix(self, items: int, largest: int, seed: int = 0) -> sparse.csr_array:
        """Return (baskets, items) of ones; of a basket with more than `largest`, some are drawn."""
        ones = np.ones(len(self.item), dtype=np.int32)
        shape = (len(self.keys), items)
        whole = sparse.csr_array((ones, (self.basket, self.item)), shape=shape)
        whole.sum_duplicates()
        sizes = np.diff(whole.indptr)
        row = np.repeat(np.arange(len(sizes)), sizes)
        order = np.lexsort((np.random.default_rng(seed).random(len(row)), row))
        place = np.arange(len(row)) - np.repeat(whole.indptr[:-1], sizes)
        kept = order[place < largest]
        ones = np.ones(len(kept), dtype=np.int32)
        return sparse.csr_array((ones, (row[kept], whole.indices[kept])), shape=shape)


@dataclass(frozen=True)
class Half:
    """One of the two halves that a seed parts the evidence into."""

    seed: int
    is_rest: bool = False

    def keeps(self, keys: UInt64[np.ndarray, " keys"]) -> Bool[np.ndarray, " keys"]:
        """Say which keys are in this half."""
        salt = np.uint64(int.from_bytes(_digest(str(self.seed))))
        mixed = (keys ^ salt) * np.uint64(0x9E3779B97F4A7C15)
        return ((mixed >> np.uint64(40)) & np.uint64(1)).astype(bool) == self.is_rest


@dataclass(frozen=True)
class Source:
    """Everything that builders read. With `half`, only that half of what people did."""

    items: tuple[Item, ...]
    folder: Path
    vectors: Mapping[str, Float[np.ndarray, "items dim"]] = field(default_factory=dict)
    half: Half | None = None
    whole: "Source | None" = field(default=None, repr=False)

    @classmethod
    def open(cls, folder: Path, vectors: Mapping[str, np.ndarray | str] | None = None) -> "Source":
        """Read the items of a catalogue folder, which needs no relations yet.

        `vectors` are arrays in the items' order, or Parquet files with the columns id and vector.
        """
        if not folder.is_dir():
            what = "expected a folder: what is mined is written into it"
            raise DataError(what, where=folder, fix="name the folder of a catalogue")
        items = load_items(folder)
        names = [item.id for item in items]
        arrays = {
            name: read_vectors(Path(rows), names) if isinstance(rows, str) else rows
            for name, rows in (vectors or {}).items()
        }
        for name, rows in arrays.items():
            if len(rows) != len(items):
                what = f"{len(rows)} vectors for {len(items)} items"
                raise DataError(what, where=name, fix="give one vector an item, in their order")
        return cls(items, folder, arrays)

    def part(self, half: Half) -> "Source":
        """Return the same with one half of what people did."""
        return replace(self, half=half, whole=self.whole or self)

    @cached_property
    def rows(self) -> dict[str, int]:
        """Return each item's row."""
        return {item.id: row for row, item in enumerate(self.items)}

    @cached_property
    def baskets(self) -> Baskets | None:
        """Return the baskets, or None where there are none."""
        if self.whole is not None and self.half is not None:
            whole = self.whole.baskets
            return whole and whole.keep(self.half.keeps(whole.keys))
        path = self.folder / "signals/baskets.parquet"
        return read_baskets(path, self.rows) if path.exists() else None

    @cached_property
    def related(self) -> dict[str, Int[np.ndarray, "links 2"]]:
        """Return the lists of related items by kind, as (source, target) rows."""
        if self.whole is not None and self.half is not None:
            kept = self.half.keeps(self.keys)
            return {kind: ends[kept[ends[:, 0]]] for kind, ends in self.whole.related.items()}
        path = self.folder / "signals/related.parquet"
        return read_related(path, self.rows) if path.exists() else {}

    @cached_property
    def keys(self) -> UInt64[np.ndarray, " items"]:
        """Return a hash of each item's id."""
        return _hashes([item.id for item in self.items])


def read_vectors(path: Path, names: Sequence[str]) -> Float[np.ndarray, "items dim"]:
    """Read the vectors that `relatum embed` wrote, in the order of `names`; zero where none is."""
    try:
        table = pq.read_table(path, columns=["id", "vector"])
        rows = np.array(table["vector"].to_pylist(), dtype=np.float32).reshape(len(table), -1)
    except (OSError, pa.ArrowException, ValueError) as error:
        what = "the vectors cannot be read: " + " ".join(str(error).split())
        raise DataError(what, where=path, fix="let relatum embed write them") from error
    place = _look_up(table["id"].combine_chunks(), {name: k for k, name in enumerate(names)})
    found = np.zeros((len(names), rows.shape[1]), dtype=np.float32)
    found[place[place >= 0]] = rows[place >= 0]
    return found


def read_baskets(path: Path, rows: Mapping[str, int]) -> Baskets:
    """Read `basket`, `item`, `time`; items that the catalogue lacks are left out and counted."""
    keys = [np.zeros(0, dtype=np.uint64)]
    found, times, unknown = [np.zeros(0, dtype=np.int64)], [np.zeros(0)], 0
    for batch in _batches(path, ("basket", "item")):
        item = _look_up(batch["item"], rows)
        here = item >= 0
        unknown += int((~here).sum())
        keys.append(_hash_column(batch["basket"])[here])
        found.append(item[here])
        times.append(_times(batch, path)[here])
    names, basket = np.unique(np.concatenate(keys), return_inverse=True)
    time = np.concatenate(times)
    order = np.lexsort((time, basket))
    return Baskets(basket[order], np.concatenate(found)[order], time[order], names, unknown)


def read_related(path: Path, rows: Mapping[str, int]) -> dict[str, Int[np.ndarray, "links 2"]]:
    """Read `source`, `kind`, `target`; items that the catalogue lacks are left out."""
    found: dict[str, list[np.ndarray]] = {}
    for batch in _batches(path, ("source", "kind", "target")):
        ends = np.stack([_look_up(batch[name], rows) for name in ("source", "target")], 1)
        good = (ends >= 0).all(1) & (ends[:, 0] != ends[:, 1])
        kinds = batch["kind"].to_pylist()
        for kind in dict.fromkeys(kinds):
            same = np.array([one == kind for one in kinds], dtype=bool)
            found.setdefault(str(kind), []).append(ends[good & same])
    return {kind: np.unique(np.concatenate(parts), axis=0) for kind, parts in found.items()}


def _batches(path: Path, required: tuple[str, ...]) -> Iterator[pa.RecordBatch]:
    try:
        file = pq.ParquetFile(path)
        names = file.schema_arrow.names
        if any(name not in names for name in required):
            what = f"expected the columns {', '.join(required)}, got {', '.join(names)}"
            raise DataError(what, where=path, fix="see docs/file-formats.md")
        wanted = [name for name in (*required, "time") if name in names]
        yield from file.iter_batches(batch_size=BATCH, columns=wanted)
    except (pa.ArrowException, OSError) as error:
        what = "the signals cannot be read: " + " ".join(str(error).split())
        raise DataError(what, where=path, fix="write the file again") from error


def _look_up(column: pa.Array, rows: Mapping[str, int]) -> Int[np.ndarray, " batch"]:
    """Return each id's row, or -1."""
    words = column.cast(pa.string()).dictionary_encode()
    known = [rows.get(str(name), -1) for name in words.dictionary.to_pylist()]
    place = words.indices.fill_null(len(known)).to_numpy(zero_copy_only=False)
    return np.array([*known, -1], dtype=np.int64)[place]


def _hash_column(column: pa.Array) -> UInt64[np.ndarray, " batch"]:
    words = column.cast(pa.string()).dictionary_encode()
    hashes = _hashes(["", *words.dictionary.to_pylist()])
    place = words.indices.fill_null(-1).to_numpy(zero_copy_only=False)
    return hashes[place.astype(np.int64) + 1]


def _hashes(names: list[str]) -> UInt64[np.ndarray, " names"]:
    return np.frombuffer(b"".join(map(_digest, names)), dtype="<u8").astype(np.uint64)


def _digest(name: str) -> bytes:
    return hashlib.blake2b(name.encode("utf-8", "surrogatepass"), digest_size=8).digest()


def _times(batch: pa.RecordBatch, path: Path) -> Float[np.ndarray, " batch"]:
    """Return the seconds since 1970; nan where unknown."""
    if "time" not in batch.schema.names:
        return np.full(len(batch), np.nan)
    column, unit = batch["time"], 1.0
    try:
        if pa.types.is_temporal(column.type):
            column, unit = column.cast(pa.timestamp("us"), safe=False).cast(pa.int64()), 1e-6
        column = column.cast(pa.float64(), safe=False)
    except pa.ArrowException as error:
        what = f"time: expected seconds since 1970 or timestamps, got {column.type}: {error}"
        raise DataError(" ".join(what.split()), where=path, fix="give numbers") from error
    return column.to_numpy(zero_copy_only=False) * unit
