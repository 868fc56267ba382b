"""Reduced tokens on disk, found again by the content of the item.

In: content keys, and parts (tokens, mask, pooled vector) in half precision.
Out: the same parts, or views that read them when asked. Each shard is one safetensors file that
appears in one step, so a killed writer leaves the shards that were whole. The index takes 24 bytes
a key. Layout: docs/file-formats.md, "Token cache".
This file does not know what made the tokens.
"""

import json
import os
import uuid
from collections.abc import Sequence
from pathlib import Path
from threading import Lock

import numpy as np
import torch
from jaxtyping import Int32
from safetensors.torch import save

from relatum.batch import Part
from relatum.disk import remove_parts, write_file
from relatum.encoders.shards import CachedPart, Shard, codes
from relatum.errors import RelatumError

RECORD_LIMIT = 16_384  # bytes an item and modality
FORGOTTEN = 3600.0  # seconds after which a half-written file has no writer any more
_OPENED: dict[Path, "TokenCache"] = {}
_LOCK = Lock()


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
        there = dict[Path, tuple[int, int]]()
        if self.folder.is_dir():
            for entry in os.scandir(self.folder):
                if entry.name.endswith(".safetensors"):
                    facts = entry.stat()
                    there[Path(entry.path)] = facts.st_size, facts.st_mtime_ns
        with self._lock:
            if any(there.get(path) != stamp for path, stamp in self._stamps.items()):
                return False
            for path in sorted(there.keys() - self._stamps.keys()):
                if not self._add(path):
                    path.unlink(missing_ok=True)
        return True

    def find(self, keys: Sequence[str]) -> Int32[np.ndarray, "keys 2"]:
        """Return the shard and row of each key, -1 where it is not here."""
        known, places = self._sorted()
        wanted, found = codes(keys), np.full((len(keys), 2), -1, np.int32)
        if len(known):
            at = np.minimum(np.searchsorted(known, wanted), len(known) - 1)
            here = known[at] == wanted
            found[here] = places[at[here]]
        return found

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that are not here, each once, in order."""
        places = self.find(keys)[:, 0].tolist()
        lacking = (key for key, shard in zip(keys, places, strict=True) if shard < 0)
        return list(dict.fromkeys(lacking))

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

    def view(self, places: Int32[np.ndarray, "items 2"], blank: tuple[int, int, int]) -> CachedPart:
        """Return items that are read when asked for, all padded alike.

        `blank` says tokens, hidden and pooled width where there is no item.
        """
        used = [self.shards[number].arrays for number in np.unique(places[:, 0]) if number >= 0]
        longest = max((arrays["mask"][2][1] for arrays in used), default=blank[0])
        hidden, width = (used[0][n][2][-1] for n in ("tokens", "pooled")) if used else blank[1:]
        return CachedPart(self.shards, places, (longest, hidden, width))

    def read(self, keys: Sequence[str]) -> Part:
        """Return the parts of the keys in their order."""
        return self.view(self.find(keys), (1, 1, 1))[:]

    def _add(self, path: Path) -> bool:
        """Take in a shard; False where it is damaged."""
        found = Shard.read(path) if path not in self._stamps else None
        if found is not None:
            shard, keys = found
            number = np.full(len(keys), len(self.shards), np.int32)
            self.shards.append(shard)
            self._stamps[path] = shard.stamp
            rows = np.arange(len(keys), dtype=np.int32)
            self._fresh.append((keys, np.stack([number, rows], axis=1)))
        return path in self._stamps

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
