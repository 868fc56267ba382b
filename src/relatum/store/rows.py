"""Items as rows of the table, and rows as what the model conditions.

In: items, a model, the metadata columns.
Out: Arrow rows with a vector each; the tokens of rows, so that a stored item can ask.
This file does not know how rows are searched.
"""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from jaxtyping import Float
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.encoders import SIDES
from relatum.items import Item, thumbnail
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.store.columns import Columns, show

SIDE = 160  # pixels of a thumbnail at most
SMALL = torch.float8_e4m3fn  # of tokens, where the model attends to them


def make_rows(
    model: Model,
    columns: Columns,
    items: Sequence[Item],
    links: Mapping[str, Sequence[Sequence[str] | None]],
    *,
    encoded: Mapping[str, Any] | None = None,
    cache: Path | None = None,
    report: Report = silent,
) -> pa.Table:
    """Return items as rows; `links` gives an item's `groups` and its `links`, None if untold.

    `encoded` is what `encoded_columns` gave for the items; without it they are encoded.
    """
    metadata = columns.arrays(items)
    if encoded is None:
        encoded = encoded_columns(model, model.view(items, cache=cache, report=report)[:])
    strings = pa.list_(pa.string())
    known = [links.get(item.id) or ((), ()) for item in items]
    ours = {
        "id": pa.array([item.id for item in items], pa.string()),
        "text": pa.array([item.text for item in items], pa.string()),
        "thumbnail": pa.array([thumbnail(item, SIDE, quality=82) for item in items], pa.binary()),
        **encoded,
        "groups": pa.array([groups for groups, _ in known], strings),
        "links": pa.array([lines for _, lines in known], strings),
        "shown": pa.array(
            [show(item, groups) for item, (groups, _) in zip(items, known, strict=True)],
            pa.string(),
        ),
    }
    fields = [pa.field(name, column.type) for name, column in ours.items()]
    return pa.table([*ours.values(), *metadata.values()], pa.schema([*fields, *metadata]))


def encoded_columns(model: Model, tokens: Tokens) -> dict[str, pa.Array]:
    """Return what the store keeps of an encoder's output: the null vector, and the item itself."""
    found = {"vector": vector_column(model.condition(tokens, None).both)}
    for side in SIDES:
        found[f"{side}_pooled"] = vector_column(getattr(tokens, side).pooled.half())
    if model.config.model.beta < 1:
        found |= {f"{side}_tokens": _small(getattr(tokens, side)) for side in SIDES}
    return found


def vector_column(vectors: Float[Tensor, "rows width"]) -> pa.Array:
    """Return vectors as a column of lists of one length."""
    values = pa.array(vectors.numpy().ravel())
    return pa.FixedSizeListArray.from_arrays(values, vectors.shape[1])


def token_columns(model: Model) -> list[str]:
    """Return the columns that `read_tokens` needs."""
    kinds = ("pooled", "tokens") if model.config.model.beta < 1 else ("pooled",)
    return [f"{side}_{kind}" for kind in kinds for side in SIDES]


def read_tokens(model: Model, found: pa.Table) -> Tokens:
    """Return rows as the tokens they were made of, without those that the model does not use."""
    widths = (getattr(model.reduction, side).basis.shape[1] for side in SIDES)
    return Tokens(*(_part(found, *each) for each in zip(SIDES, widths, strict=True)))


def read_vectors(column: pa.ChunkedArray) -> Float[Tensor, "rows width"]:
    """Return a column of vectors as a tensor in single precision."""
    values = column.combine_chunks().flatten().to_numpy(zero_copy_only=False)
    return torch.from_numpy(values.astype(np.float32).reshape(-1, column.type.list_size))


def _part(found: pa.Table, side: str, hidden: int) -> Part:
    pooled = read_vectors(found[f"{side}_pooled"])
    name = f"{side}_tokens"
    if name not in found.column_names:
        present = pooled.any(1, keepdim=True)  # one token stands for all that none looks at
        return Part(torch.zeros(len(pooled), 1, hidden), present, pooled)
    parts: list[Part] = []
    for row, data in enumerate(found[name].to_pylist()):
        values = torch.tensor(list(data), dtype=torch.uint8).view(SMALL).float().view(1, -1, hidden)
        here = values if values.shape[1] else torch.zeros(1, 1, hidden)
        mask = torch.full(here.shape[:2], bool(values.shape[1]))
        parts.append(Part(here, mask, pooled[row : row + 1]))
    return Part.join(parts)


def _small(part: Part) -> pa.Array:
    """Return the tokens that are there, a byte a number."""
    small = part.tokens.float().to(SMALL).view(torch.uint8)
    rows = [tokens[mask].numpy().tobytes() for tokens, mask in zip(small, part.mask, strict=True)]
    return pa.array(rows, pa.binary())
