"""Reduced tokens on disk, found again by the content of the item.

In: content keys, and parts (tokens, mask, pooled vector) in half precision.
Out: the same parts, or views that read rows when asked. Each shard is one safetensors file that
appears in one step, so a killed writer leaves the shards that were whole; it is mapped only while
rows are copied, so neither memory nor open files grow with what was read. The index has 24 bytes a
key. Layout: docs/file-formats.md, "Token cache". This file does not know what made the tokens.
"""

import json
import math
import mmap
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import torch
from jaxtyping import Int32
from safetensors.torch import save
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.disk import remove_parts, write_file
from relatum.errors import RelatumError

RECORD_LIMIT = 16_384  # bytes an item and modality
FORGOTTEN = 3600.0  # seconds after which a half-written file has no writer any more
_OPENED: dict[Path, "TokenCache"] = {}
_LOCK = Lock()
Shard = tuple[Path, dict[str, tuple[int, Any, tuple[int, ...]]]]  # where arrays begin, kind, shape


@dataclass(frozen=True)
class CachedPart:
    """One modality on disk. `shape`: tokens (0: none are read), hidden and pooled width."""

    shards: Sequence[Shard]
    places: Int32[np.ndarray, "items 2"]  # shard and row; -1 where an item lacks the modality
    shape: tuple[int, int, int]

    def __getitem__(self, rows: Tensor | slice) -> Part:
        """Read some items, in the order asked."""
        places = self.places[rows if isinstance(rows, slice) else rows.numpy()]
        longest, hidden, width = self.shape
        tokens = np.zeros((len(places), max(longest, 1), hidden), np.float16)
        mask, pooled = np.zeros(tokens.shape[:2], bool), np.zeros((len(places), width), np.float16)
        order = np.argsort(places[:, 0], kind="stable")
        numbers, starts = np.unique(places[order, 0], return_index=True)
        for number, here in zip(numbers.tolist(), np.split(order, starts[1:]), strict=False):
            if number < 0:
                continue
            arrays, at = _map_arrays(*self.shards[number]), places[here, 1]
            pooled[here] = arrays["pooled"][at]
            kept = arrays["mask"][at].astype(bool)
            if longest:
                tokens[here, : kept.shape[1]] = arrays["tokens"][at]
            mask[here, : kept.shape[1]] = kept if longest else kept.any(1, keepdims=True)
        return Part(*map(torch.from_numpy, (tokens, mask, pooled)))


@dataclass(frozen=True)
class CachedTokens:
    """Items on disk, indexed as `Tokens` are; `tokens[:]` reads them all."""

    image: CachedPart
    text: CachedPart

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.image.places)

    def __getitem__(self, rows: Tensor | slice) -> Tokens:
        """Read some items, in the order asked."""
        return Tokens(self.image[rows], self.text[rows])


class TokenCache:
    """The shards of one modality, encoder and reduction; threads and processes may share them."""

    def __init__(self, folder: Path) -> None:
        """Read the shards' headers; damaged shards are removed and will be encoded again."""
        self.folder = folder
        self.shards: list[Shard] = []
        self._stamps: dict[Path, tuple[int, int]] = {}
        self._index = np.empty(0, "S16"), np.empty((0, 2), np.int32)  # keys in order, their places
        self._fresh: list[tuple[np.ndarray, np.ndarray]] = []  # what the index lacks
        self._lock = Lock()
        if folder.is_dir():
            remove_parts(folder, older=FORGOTTEN)
        self.refresh()

    def refresh(self) -> bool:
        """Take in what others wrote; False where a shard known here is gone or has changed."""
        there = {path: _stamp(path) for path in self.folder.glob("*.safetensors")}
        with self._lock:
            if any(there.get(path) != stamp for path, stamp in self._stamps.items()):
                return False
            for path in sorted(there.keys() - self._stamps.keys()):
                self._add(path)
        return True

    def find(self, keys: Sequence[str]) -> Int32[np.ndarray, "keys 2"]:
        """Return the shard and row of each key, -1 where it is not here."""
        known, places = self._sorted()
        wanted, found = _codes(keys), np.full((len(keys), 2), -1, np.int32)
        if len(known):
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            here = known[at] == wanted
            found[here] = places[at[here]]
        return found

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that are not here, each once, in order."""
        places = self.find(keys)[:, 0].tolist()
        return list(dict.fromkeys(k for k, shard in zip(keys, places, strict=True) if shard < 0))

    def write(self, keys: Sequence[str], part: Part) -> None:
        """Add a shard; `RelatumError` if a record is over 16 kB or the disk is full."""
        size = 2 * (part.tokens[0].numel() + part.pooled[0].numel())
        if size > RECORD_LIMIT:
            raise RelatumError(
                f"{size} bytes of tokens an item, expected at most {RECORD_LIMIT}",
                fix="lower tokens.hidden, tokens.image_side or tokens.text_tokens",
            )
        tensors = {
            "tokens": part.tokens.half().contiguous(),
            "mask": part.mask.to(torch.uint8).contiguous(),
            "pooled": part.pooled.half().contiguous(),
        }
        path = self.folder / f"{uuid.uuid4().hex}.safetensors"
        write_file(path, save(tensors, metadata={"keys": json.dumps(list(keys))}))
        with self._lock:
            self._add(path)

    def view(self, places: Int32[np.ndarray, "items 2"], blank: Part, *, lean: bool) -> CachedPart:
        """Return items to be read later, all padded alike; where there are none, as `blank`."""
        used = [self.shards[number][1] for number in np.unique(places[:, 0]) if number >= 0]
        longest = max((arrays["mask"][2][1] for arrays in used), default=blank.mask.shape[1])
        hidden, width = blank.tokens.shape[2], blank.pooled.shape[1]
        return CachedPart(self.shards, places, (0 if lean else longest, hidden, width))

    def _add(self, path: Path) -> None:
        if path in self._stamps:
            return
        found = _read_header(path)
        if found is None:
            return path.unlink()
        number = np.full(len(found[1]), len(self.shards), np.int32)
        self.shards.append(found[0])
        self._stamps[path] = _stamp(path)
        places = np.stack([number, np.arange(len(number), dtype=np.int32)], axis=1)
        self._fresh.append((found[1], places))

    def _sorted(self) -> tuple[np.ndarray, np.ndarray]:
        with self._lock:
            if self._fresh:
                keys, places = map(np.concatenate, zip(self._index, *self._fresh, strict=True))
                order = np.argsort(keys, kind="stable")
                self._index, self._fresh = (keys[order], places[order]), []
            return self._index


def open_cache(folder: Path) -> TokenCache:
    """Open a cache; what this process opened before is brought up to date, not read again."""
    with _LOCK:
        kept = _OPENED.get(folder)
        if kept is None or not kept.refresh():
            kept = _OPENED[folder] = TokenCache(folder)
        return kept


def _map_arrays(path: Path, arrays: dict) -> dict[str, np.ndarray]:
    """Map a shard's arrays, for as long as they are held."""
    with path.open("rb") as file:
        data = mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ)
    return {
        name: np.frombuffer(data, kind, math.prod(shape), start).reshape(shape)
        for name, (start, kind, shape) in arrays.items()
    }


def _codes(keys: Sequence[str]) -> np.ndarray:
    return np.array([bytes.fromhex(key) for key in keys], "S16")


def _stamp(path: Path) -> tuple[int, int]:
    facts = path.stat()
    return facts.st_size, facts.st_mtime_ns


def _read_header(path: Path) -> tuple[Shard, np.ndarray] | None:
    """Return a shard and its keys, or None where the file is damaged or cut short."""
    size, arrays, end = path.stat().st_size, {}, 0
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
        if not 10 <= start <= size:
            return None
        try:
            header = json.loads(file.read(start - 8))
            keys = _codes(json.loads(header["__metadata__"]["keys"]))
            for name, kind in (("tokens", np.float16), ("mask", np.uint8), ("pooled", np.float16)):
                begin, last = header[name]["data_offsets"]
                arrays[name] = start + begin, kind, tuple(header[name]["shape"])
                end = max(end, start + last)
        except (ValueError, KeyError, TypeError):
            return None
    return ((path, arrays), keys) if end == size else None
