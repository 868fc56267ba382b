"""Vectors for other libraries: of what they pass for an item, and a catalogue's as Parquet.

In: a model; texts, pictures, {"text": ..., "image": ...}; a catalogue's items and relations.
Out: arrays; a file of what may be found, one of each relation's questions, how to load them.
"""

import io
import re
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import torch
from jaxtyping import Float32
from PIL import Image
from torch import Tensor

from relatum.disk import write_file
from relatum.encoders import forward_items
from relatum.export.hub import export_folder
from relatum.items import Item
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.store.columns import Columns

GUIDE = (Path(__file__).parent / "vectors.md").read_text(encoding="utf-8")


def export_vectors(
    model: Model,
    items: Sequence[Item],
    folder: str | Path,
    relations: Sequence[str] = (),
    *,
    cache: Path | None = None,
    report: Report = silent,
) -> list[str]:
    """Write the files and return their names: columns id, text, the metadata's, vector.

    `relations` are texts; one alone may stand for itself.
    """
    relations = [relations] if isinstance(relations, str) else relations
    slugs = [re.sub(r"\W+", "-", text.lower()).strip("-")[:40] for text in relations]
    names = [f"asked-{k}-{slug}.parquet" for k, slug in enumerate(slugs, start=1)]
    asked = {"vectors.parquet": None, **dict(zip(names, relations, strict=True))}
    columns = {"id": [item.id for item in items], "text": [item.text for item in items]}
    columns |= {field.name: found for field, found in Columns.plan(items).arrays(items).items()}
    with export_folder(Path(folder), model) as part:
        tokens = model.encode(items, cache=cache, report=report)
        for name, text in asked.items():
            flat = pa.array(model.condition(tokens, text).both.reshape(-1).numpy())
            vector = pa.FixedSizeListArray.from_arrays(flat, model.config.model.dim)
            pq.write_table(pa.table({**columns, "vector": vector}), part / name)
        told = "\n".join(
            f"- `{name}`: {text or 'what may be found'}" for name, text in asked.items()
        )
        guide = GUIDE.replace("DIM", str(model.config.model.dim))
        guide = guide.replace("ASKED", list(asked)[-1]).replace("FILES", told)
        write_file(part / "README.md", guide.encode())
    return list(asked)


@torch.no_grad()
def embed_inputs(
    model: Model, inputs: Sequence[Any], relation: str | None, prompt: str = ""
) -> Float32[Tensor, "inputs dim"]:
    """Return fused vectors, zero for a blank input; a prompt goes before each text."""
    items = {row: item for row, one in enumerate(inputs) if (item := _item(one, prompt))}
    vectors = torch.zeros(len(inputs), model.config.model.dim)
    if items:
        tokens = forward_items(list(items.values()), model.encoder, model.reduction)
        vectors[list(items)] = model.condition(tokens, relation).both
    return vectors


def _item(value: Any, prompt: str) -> Item | None:  # noqa: ANN401 - see the module
    if not isinstance(value, dict):
        value = {"text" if isinstance(value, str) else "image": value}
    text, picture = value.get("text") or "", value.get("image")
    if isinstance(picture, Image.Image):
        file = io.BytesIO()
        picture.convert("RGBA" if picture.has_transparency_data else "RGB").save(file, "PNG")
        picture = file.getvalue()
    if picture is None and not text.strip():
        return None
    picture = Path(picture) if isinstance(picture, str) else picture
    return Item("", prompt + text if text.strip() else None, picture)
