"""Encoders joined to one, and vectors or tokens that were made before, by the ids of items.

In: an encoder for pictures, one for texts; perhaps a folder of tables (docs/file-formats.md).
Out: an `Encoder`; `tables` holds what is looked up.
"""

import hashlib
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import torch
from PIL import Image
from torch import Tensor, nn
from torch.nn.utils.rnn import pad_sequence

from relatum.encoders.encoder import Encoder, Raw, Side
from relatum.errors import DataError, EncoderError
from relatum.items import Item


class Table:
    """One side: a vector, or tokens and their mean, for each id."""

    def __init__(self, path: Path, ids: Sequence[object], values: Sequence[Tensor]) -> None:
        """Check that each id has one row and that all rows are of one width."""
        self.path, self.has_tokens = path, values[0].ndim == 2
        self.rows = {str(id): row for row, id in enumerate(ids)}
        widths = {one.shape[-1:] for one in values}
        if not len(self.rows) == len(ids) == len(values) or len(widths) > 1:
            what = f"{len(ids)} ids, {len(self.rows)} different, {len(values)} rows, "
            raise ValueError(what + f"widths {sorted(width[0] for width in widths)}")
        if self.has_tokens:
            mask = pad_sequence([torch.ones(len(one)).bool() for one in values], batch_first=True)
            pooled = torch.stack([one.mean(0) for one in values])
            self.raw = Raw(pad_sequence(list(values), batch_first=True), mask, pooled)
        else:
            self.raw = Raw.of_vectors(torch.stack(list(values)))
        data = str(list(self.rows)).encode() + self.raw.tokens.numpy().tobytes()
        self.name = hashlib.blake2b(data, digest_size=8).hexdigest()

    def find(self, items: Sequence[Item]) -> Raw:
        """Return the rows of items; `DataError` names one that has none."""
        for item in items:
            if item.id not in self.rows:
                what = f"there is nothing for item {item.id!r}"
                raise DataError(what, where=self.path, fix="add it, or leave the item out")
        rows = torch.tensor([self.rows[item.id] for item in items])
        return Raw(self.raw.tokens[rows], self.raw.mask[rows], self.raw.pooled[rows])


class Joined:
    """An encoder for each side, and tables of what items have already."""

    def __init__(self, image: Encoder, text: Encoder, folder: Path | None = None) -> None:
        """Read the tables; `EncoderError` where none is there or the texts are of other widths."""
        self.image, self.text = image, text
        found = {"image": _read(folder, "images"), "text": _read(folder, "texts")} if folder else {}
        self.tables = {side: table for side, table in found.items() if table is not None}
        if folder and not self.tables:
            what = "expected images.parquet, texts.parquet, or .npy files with ids.txt"
            raise EncoderError(what, where=folder, fix="write one of them there")
        if "text" in self.tables:
            both = self.tables["text"].raw, self.encode_texts(["a"])
            sizes = [(raw.tokens.shape[2], raw.pooled.shape[1]) for raw in both]
            if sizes[0] != sizes[1]:
                what = f"texts of the widths {sizes[0]}, but the encoder after + gives {sizes[1]}"
                raise EncoderError(what, where=folder or "", fix="name the encoder that made them")

    def fingerprint(self) -> str:
        """Return the name of both encoders and of all rows."""
        both = f"{self.image.fingerprint()} {self.text.fingerprint()}"
        rows = "".join(f"{side}{table.name}" for side, table in self.tables.items())
        return hashlib.blake2b((both + rows).encode(), digest_size=8).hexdigest()

    def tower(self, side: Side) -> nn.Module | None:
        """Return the weights of a side; none where there is a table."""
        encoder = self.image if side == "image" else self.text
        return None if side in self.tables else encoder.tower(side)

    def encode_images(self, pictures: Sequence[Image.Image]) -> Raw:
        """Encode new pictures, which a table cannot: a `DataError`."""
        if "image" in self.tables:
            what = "a new picture cannot be encoded: the image vectors were computed before"
            raise DataError(what, fix="ask with a text or an item")
        return self.image.encode_images(pictures)

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        """Encode new texts, as vectors or as tokens and their mean where the table has such."""
        raw, table = self.text.encode_texts(texts), self.tables.get("text")
        if table is None:
            return raw
        if not table.has_tokens:
            return Raw.of_vectors(raw.pooled)
        weight = raw.mask.unsqueeze(-1).float()
        return Raw(raw.tokens, raw.mask, (raw.tokens * weight).sum(1) / weight.sum(1))


def _read(folder: Path, name: str) -> Table | None:
    path, array = folder / f"{name}.parquet", folder / f"{name}.npy"
    try:
        if path.is_file():
            found = pq.read_table(path)
            column = "tokens" if "tokens" in found.column_names else "vector"
            rows = [torch.tensor(row, dtype=torch.float32) for row in found[column].to_pylist()]
            return Table(path, found["id"].to_pylist(), rows)
        if array.is_file():
            ids = (folder / "ids.txt").read_text(encoding="utf-8").splitlines()
            return Table(array, ids, list(torch.from_numpy(np.load(array)).float()))
    except (OSError, ValueError, TypeError, KeyError, IndexError, pa.ArrowException) as error:
        what = f"{name} cannot be read as vectors by id: {' '.join(str(error).split())[:160]}"
        raise EncoderError(what, where=folder, fix="see docs/file-formats.md") from error
    return None
