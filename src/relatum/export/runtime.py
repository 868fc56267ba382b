"""Serve an ONNX export without torch; each export carries a copy of this file.

In: the folder of `relatum export onnx`; texts, pictures, or both as {"text": ..., "image": ...}.
Out: vectors, as `Model.embed` gives them.
This file imports nothing of relatum: only onnxruntime, numpy, Pillow and tokenizers.
"""

import io
import json
import struct
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime
from PIL import Image, ImageOps
from tokenizers import Tokenizer

BATCH = 32
PIXEL_ART = 64  # pictures up to this many pixels a side are enlarged without blurring
MODALITIES = ("image", "text", "both")


class OnnxModel:
    """The two towers, the conditioner, and how their inputs are prepared."""

    def __init__(self, folder: Path, suffix: str) -> None:
        """Open the graphs; the towers may be quantised."""
        self.facts = json.loads((folder / "relatum-onnx.json").read_text(encoding="utf-8"))
        self.tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
        self.tokenizer.enable_truncation(self.facts["text"]["longest"])
        self.tokenizer.enable_padding(**self.facts["text"]["padding"])
        files = {"text": f"text{suffix}", "image": f"image{suffix}"}
        files |= {"conditioner": "conditioner.onnx", "null": "null.onnx"}
        self.sessions = {
            name: onnxruntime.InferenceSession(folder / file, providers=["CPUExecutionProvider"])
            for name, file in files.items()
        }

    @classmethod
    def load(cls, folder: str | Path, *, int8: bool = False) -> "OnnxModel":
        """Load an export; with `int8`, its quantised towers. `OSError` where it is none."""
        suffix = ".int8.onnx" if int8 else ".onnx"
        for name in ("relatum-onnx.json", f"text{suffix}"):
            if not (Path(folder) / name).is_file():
                raise FileNotFoundError(f"{folder}: expected an ONNX export, it has no {name}")
        return cls(Path(folder), suffix)

    def embed(
        self, items: Sequence[Any], relation: str | None = None, modality: str = "both"
    ) -> np.ndarray:
        """Return a vector for each item under a relation's text, or under none."""
        if relation is not None and not relation.strip():
            raise ValueError("the relation is blank; None is the null relation")
        if modality not in MODALITIES:
            raise ValueError(f"modality must be one of {MODALITIES}, got {modality!r}")
        parts = [_parts(item) for item in items]
        feeds = _spread("text", [text for text, _ in parts], self.texts, self.facts["text"]["dim"])
        pictures = [picture for _, picture in parts]
        feeds |= _spread("image", pictures, self.images, self.facts["image"]["dim"])
        if relation is not None:
            feeds["relation"] = self.texts([relation])
        name = "null" if relation is None else "conditioner"
        return self._run(name, feeds)[MODALITIES.index(modality)]

    def texts(self, texts: Sequence[str]) -> np.ndarray:
        """Return the texts' pooled vectors."""
        found: list[np.ndarray] = []
        for start in range(0, len(texts), BATCH):
            batch = self.tokenizer.encode_batch(list(texts[start : start + BATCH]))
            ids = np.array([one.ids for one in batch], dtype=np.int64)
            mask = np.array([one.attention_mask for one in batch], dtype=np.int64)
            found += self._run("text", {"ids": ids, "mask": mask})
        return np.concatenate(found)

    def images(self, pictures: Sequence[Image.Image]) -> np.ndarray:
        """Return the RGB pictures' pooled vectors."""
        found: list[np.ndarray] = []
        for start in range(0, len(pictures), BATCH):
            batch = [_pixels(one, self.facts["image"]) for one in pictures[start : start + BATCH]]
            found += self._run("image", {"pixels": np.stack(batch)})
        return np.concatenate(found)

    def _run(self, name: str, feeds: dict[str, np.ndarray]) -> list[np.ndarray]:
        taken = {one.name for one in self.sessions[name].get_inputs()}
        given = {key: value for key, value in feeds.items() if key in taken}
        return [np.asarray(array) for array in self.sessions[name].run(None, given)]


def _parts(item: Any) -> tuple[str | None, Image.Image | None]:  # noqa: ANN401 - see the module
    """Return an item's text and its picture: upright, of 8 bits, transparency laid on white."""
    if isinstance(item, str):
        item = {"text": item}
    elif isinstance(item, (Image.Image, bytes, Path)):
        item = {"image": item}
    text, picture = item.get("text"), item.get("image")
    if isinstance(picture, (str, bytes, Path)):
        source = io.BytesIO(picture) if isinstance(picture, bytes) else picture
        picture = Image.open(source)
    if picture is not None:
        with suppress(OSError, SyntaxError, ValueError, TypeError, LookupError, struct.error):
            picture = ImageOps.exif_transpose(picture)  # a camera's notes may be damaged
        if picture.mode.startswith("I"):
            values = np.asarray(picture.convert("I"))
            is_wide = picture.mode != "I" or values.max(initial=0) > 255
            values = (values >> 8 if is_wide else values).clip(0, 255).astype(np.uint8)
            picture = Image.fromarray(values)
    if picture is not None and (
        picture.mode in ("RGBA", "LA", "PA") or "transparency" in picture.info
    ):
        picture = picture.convert("RGBA")
        white = Image.new("RGBA", picture.size, "white")
        picture = Image.alpha_composite(white, picture)
    return text if (text or "").strip() else None, picture and picture.convert("RGB")


def _spread(
    name: str, values: Sequence[Any], encode: Callable[[list[Any]], np.ndarray], width: int
) -> dict[str, np.ndarray]:
    """Encode what is there; the vector of what is not is zero."""
    here = np.array([value is not None for value in values], dtype=bool)
    pooled = np.zeros((len(values), width), dtype=np.float32)
    if here.any():
        pooled[here] = encode([value for value in values if value is not None])
    return {name: pooled, f"{name}_present": here}


def _pixels(picture: Image.Image, how: dict[str, Any]) -> np.ndarray:
    """Scale, crop and normalise a picture as the encoder's own preprocessing does."""
    if side := how.get("square"):
        picture = _square(picture, side)
    elif how.get("do_resize"):
        height, width = _size(picture, how["size"])
        picture = picture.resize((width, height), how["resample"])
    if how.get("do_center_crop"):
        height, width = how["crop_size"]["height"], how["crop_size"]["width"]
        left, top = (picture.width - width) // 2, (picture.height - height) // 2
        picture = picture.crop((left, top, left + width, top + height))
    pixels = np.asarray(picture, dtype=np.float32) * (how.get("rescale_factor") or 1)
    mean, deviation = (np.array(how[key], dtype=np.float32) for key in ("image_mean", "image_std"))
    return ((pixels - mean) / deviation).transpose(2, 0, 1).astype(np.float32)


def _size(picture: Image.Image, size: dict[str, int]) -> tuple[int, int]:
    if short := size.get("shortest_edge"):
        least = min(picture.size)
        return int(short * picture.height / least), int(short * picture.width / least)
    return size["height"], size["width"]


def _square(picture: Image.Image, side: int) -> Image.Image:
    longest = max(picture.size)
    canvas = Image.new("RGB", (longest, longest), "white")
    canvas.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
    art = longest <= PIXEL_ART
    return canvas.resize(
        (side, side), Image.Resampling.NEAREST if art else Image.Resampling.BICUBIC
    )
