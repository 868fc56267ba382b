"""Shards of reduced tokens, and views that read from them only the rows asked for.

In: shards on disk; for each item the shard and the row that hold it.
Out: `Tokens` of some items. A shard is mapped while its rows are copied, then let go, so that
memory does not grow with what was read and no file stays open; the system's page cache keeps what
is read often.
This file does not know of keys nor how shards come to be.
"""

import json
import mmap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.errors import RelatumError

NAMES = ("tokens", "mask", "pooled")
KINDS = {"F16": np.float16, "U8": np.uint8}


@dataclass(frozen=True)
class Shard:
    """One file: its size and time of change, and where each array begins, its kind and shape."""

    path: Path
    stamp: tuple[int, int]
    arrays: Mapping[str, tuple[int, Any, tuple[int, ...]]]

    @classmethod
    def read(cls, path: Path) -> tuple["Shard", np.ndarray] | None:
        """Read the header: the shard and its keys, or None where it is damaged or cut short."""
        facts = path.stat()
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            if not 2 <= length <= facts.st_size - 8:
                return None
            try:
                header = json.loads(file.read(length))
                keys = codes(json.loads(header["__metadata__"]["keys"]))
                ends = [header[name]["data_offsets"][1] for name in NAMES]
                arrays = {name: _place(header[name], 8 + length) for name in NAMES}
            except (ValueError, KeyError, TypeError):
                return None
        if max(ends) + 8 + length != facts.st_size:
            return None
        return cls(path, (facts.st_size, facts.st_mtime_ns), arrays), keys

    def map(self) -> dict[str, np.ndarray]:
        """Map the arrays, for as long as they are held."""
        try:
            with self.path.open("rb") as file:
                data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
        except FileNotFoundError as error:
            what = "the token cache was removed while it was read"
            raise RelatumError(what, where=self.path, fix="run again") from error
        return {
            name: np.frombuffer(data, kind, int(np.prod(shape)), start).reshape(shape)
            for name, (start, kind, shape) in self.arrays.items()
        }


@dataclass(frozen=True)
class CachedPart:
    """One modality of items in shards. `shape`: tokens, hidden and pooled width."""

    shards: Sequence[Shard]
    places: Int32[np.ndarray, "items 2"]  # shard and row; -1 where an item lacks the modality
    shape: tuple[int, int, int]
    has_tokens: bool = True

    def __getitem__(self, rows: Tensor | slice) -> Part:
        """Read some items, in the order asked."""
        places = self.places[rows if isinstance(rows, slice) else rows.numpy()]
        longest, hidden, width = self.shape
        tokens = np.zeros((len(places), longest, hidden), np.float16)
        mask = np.zeros((len(places), longest), bool)
        pooled = np.zeros((len(places), width), np.float16)
        order = np.argsort(places[:, 0], kind="stable")
        numbers, starts = np.unique(places[order, 0], return_index=True)
        for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
            if number < 0:
                continue
            arrays, at = self.shards[number].map(), places[here, 1]
            pooled[here] = arrays["pooled"][at]
            kept = arrays["mask"][at].astype(bool)
            if self.has_tokens:
                tokens[here, : kept.shape[1]] = arrays["tokens"][at]
                mask[here, : kept.shape[1]] = kept
            else:
                mask[here, 0] = kept.any(1)
        return Part(*map(torch.from_numpy, (tokens, mask, pooled)))


@dataclass(frozen=True)
class CachedTokens:
    """Items on disk that are indexed as `Tokens` are; `tokens[:]` reads them all."""

    image: CachedPart
    text: CachedPart

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.image.places)

    def __getitem__(self, rows: Tensor | slice) -> Tokens:
        """Read some items, in the order asked."""
        return Tokens(self.image[rows], self.text[rows])

    def without_tokens(self) -> "CachedTokens":
        """Leave the tokens unread, for a model that looks at pooled vectors only.

        One token of zeros stands for all that an item has, so that its mask tells what is there.
        """
        sides = [
            replace(part, shape=(1, *part.shape[1:]), has_tokens=False)
            for part in (self.image, self.text)
        ]
        return CachedTokens(*sides)


def codes(keys: Sequence[str]) -> np.ndarray:
    """Return keys of 32 hex digits as 16 bytes each."""
    return np.array([bytes.fromhex(key) for key in keys], "S16")


def _place(entry: Mapping[str, Any], start: int) -> tuple[int, Any, tuple[int, ...]]:
    return start + entry["data_offsets"][0], KINDS[entry["dtype"]], tuple(entry["shape"])
