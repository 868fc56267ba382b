"""Reduced tokens on disk, found again by the content of the item.

In: content keys, and parts (tokens, mask, pooled vector) in half precision.
Out: the same parts, memory-mapped. Each shard is one safetensors file that appears in one step, so
a killed writer leaves the shards that were whole. Layout: docs/file-formats.md, "Token cache".
This file does not know what made the tokens.
"""

import json
import uuid
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import save

from relatum.batch import Part
from relatum.disk import remove_parts, write_file
from relatum.errors import RelatumError

RECORD_LIMIT = 16_384  # bytes an item and modality


class TokenCache:
    """The shards of one modality, encoder and reduction."""

    def __init__(self, folder: Path) -> None:
        """Read the shards' headers; damaged shards are removed and will be encoded again."""
        self.folder = folder
        self.rows: dict[str, tuple[Path, int]] = {}
        self.opened: dict[Path, dict[str, np.ndarray]] = {}
        if folder.is_dir():
            remove_parts(folder)
        for path in sorted(folder.glob("*.safetensors")):
            header = _header(path)
            if header is None:
                path.unlink()
                continue
            for row, key in enumerate(json.loads(header["__metadata__"]["keys"])):
                self.rows[key] = (path, row)

    def missing(self, keys: Sequence[str]) -> list[str]:
        """Return the keys that are not here, each once, in order."""
        return [key for key in dict.fromkeys(keys) if key not in self.rows]

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
        self.rows.update({key: (path, row) for row, key in enumerate(keys)})

    def read(self, keys: Sequence[str]) -> Part:
        """Return the parts of the keys in their order, read from the mapped shards."""
        shards: dict[Path, list[int]] = {}
        for place, key in enumerate(keys):
            shards.setdefault(self.rows[key][0], []).append(place)
        parts: list[Part] = []
        order: list[int] = []
        for path, places in shards.items():
            arrays = self._open(path)
            rows = [self.rows[keys[place]][1] for place in places]
            mask = torch.from_numpy(arrays["mask"][rows].astype(bool))
            tokens, pooled = (torch.from_numpy(arrays[n][rows]) for n in ("tokens", "pooled"))
            parts.append(Part(tokens, mask, pooled))
            order += places
        back = torch.empty(len(order), dtype=torch.long)
        back[torch.tensor(order, dtype=torch.long)] = torch.arange(len(order))
        return Part.join(parts)[back]

    def _open(self, path: Path) -> dict[str, np.ndarray]:
        if path not in self.opened:
            self.opened[path] = _map_arrays(path)
        return self.opened[path]


def _header(path: Path) -> dict | None:
    """Return a safetensors header, or None where the file is damaged or cut short."""
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(8), "little")
        if not 2 <= length <= size - 8:
            return None
        try:
            header = json.loads(file.read(length))
            json.loads(header["__metadata__"]["keys"])
            ends = [header[name]["data_offsets"][1] for name in ("tokens", "mask", "pooled")]
        except (ValueError, KeyError, TypeError):
            return None
    return header if max(ends) + 8 + length == size else None


def _map_arrays(path: Path) -> dict[str, np.ndarray]:
    header = _header(path)
    if header is None:
        raise RelatumError("the shard is damaged", where=path, fix="delete it and run again")
    with path.open("rb") as file:
        start = 8 + int.from_bytes(file.read(8), "little")
    kinds = {"F16": np.float16, "U8": np.uint8}
    arrays: dict[str, np.ndarray] = {}
    for name in ("tokens", "mask", "pooled"):
        entry = header[name]
        arrays[name] = np.memmap(
            path,
            dtype=kinds[entry["dtype"]],
            mode="r",
            offset=start + entry["data_offsets"][0],
            shape=tuple(entry["shape"]),
        )
    return arrays
