"""Sources that are folders: pictures with captions, and saved Hugging Face datasets.

In: a folder.
Out: records, each with its place.
This file does not know what the columns mean.
"""

import json
import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from relatum.errors import DataError
from relatum.prepare.sources import PICTURE, Meter, Record, read_file

CAPTION_LIMIT = 1_000_000  # bytes
OTHER_PICTURES = (".svg", ".heic", ".avif", ".jxl", ".psd", ".eps")
TABLES = ("metadata.csv", "metadata.jsonl", "metadata.parquet")


def read_pictures(root: Path, meter: Meter) -> Iterator[Record]:
    """Yield a record for each picture under `root`, folder by folder in the order of names.

    Its values are those of its row in the `metadata` table of its folder or of one above, or else
    the text beside it (`lamp.jpg`, `lamp.txt`) and the name of its folder as `label`.
    """
    for here, folders, files in os.walk(root):
        folders.sort()
        table = next((name for name in TABLES if name in files), None)
        if table is not None:
            folders.clear()
            yield from _listed(root, Path(here), table, meter)
            continue
        for name in sorted(files):
            path = Path(here) / name
            if name.startswith("."):
                continue
            if PICTURE.fullmatch(name):
                yield _captioned(root, path)
            elif path.suffix.lower() in OTHER_PICTURES:
                what, where = f"a {path.suffix} picture cannot be read", str(path.relative_to(root))
                yield Record(where, {}, what, "save it as PNG or JPEG")


def _captioned(root: Path, picture: Path) -> Record:
    inside = picture.relative_to(root)
    values: dict[str, Any] = {"__id__": inside.with_suffix("").as_posix(), "image": str(inside)}
    values["label"] = inside.parent.as_posix() if inside.parent.name else None
    caption = picture.with_suffix(".txt")
    if caption.is_file():
        try:
            with caption.open("rb") as file:
                values["text"] = file.read(CAPTION_LIMIT).decode("utf-8-sig")
        except (OSError, UnicodeDecodeError) as error:
            what = f"{caption.name} cannot be read: {error}"
            return Record(str(inside), values, what, "save it as UTF-8")
    return Record(str(inside), values)


def _listed(root: Path, folder: Path, table: str, meter: Meter) -> Iterator[Record]:
    inside = folder.relative_to(root)
    named = set()
    name = str(inside / table)
    for record in read_file(folder / table, name, ("file_name",), meter):
        values = dict(record.values)
        picture = values.pop("file_name", None)
        if record.problem or not isinstance(picture, str):
            fix = record.fix or "give the picture's path from this folder"
            yield replace(record, problem=record.problem or "the row has no file_name", fix=fix)
            continue
        named.add(os.path.normpath(picture))
        values["image"] = str(inside / picture)
        values["__id__"] = (inside / picture).with_suffix("").as_posix()
        texts = (values.pop(key, None) for key in ("text", "caption", "prompt"))
        values["text"] = next((text for text in texts if text is not None), None)
        yield Record(record.where, values)
    yield from _unlisted(root, folder, name, named)


def _unlisted(root: Path, folder: Path, table: str, named: set[str]) -> Iterator[Record]:
    for here, folders, files in os.walk(folder):
        folders.sort()
        for file in sorted(files):
            path = Path(here) / file
            if PICTURE.fullmatch(file) and str(path.relative_to(folder)) not in named:
                what = f"the picture is not in {table}"
                yield Record(str(path.relative_to(root)), {}, what, "add a row or remove it")


def read_dataset(root: Path, required: Sequence[str], meter: Meter) -> Iterator[Record]:
    """Yield the rows of a folder that `save_to_disk` wrote: one dataset, or one for each split.

    A row without a column `id` is called after its split and number. Class labels get their names.
    """
    splits = _read_json(root / "dataset_dict.json").get("splits", [])
    if not splits and not (root / "state.json").is_file():
        what = "expected dataset_dict.json or state.json, found neither"
        raise DataError(what, where=root, fix="name a folder that save_to_disk wrote")
    for split in splits or [""]:
        folder = root / split
        state = _read_json(folder / "state.json")
        if state.get("_indices_data_files") or not state.get("_data_files"):
            fix = "save it again: dataset.flatten_indices().save_to_disk(...)"
            raise DataError("the rows are not in their order", where=folder, fix=fix)
        labels = _label_names(_read_json(folder / "dataset_info.json"))
        number = 0
        for entry in state["_data_files"]:
            place = Path(split) / entry["filename"]
            for record in read_file(root / place, str(place), required, meter):
                values = dict(record.values)
                for key, names in labels.items():
                    index = values.get(key)
                    if isinstance(index, int) and 0 <= index < len(names):
                        values[key] = names[index]
                values.setdefault("id", f"{split or 'row'}-{number}")
                number += 1
                yield replace(record, values=values)


def _read_json(path: Path) -> dict[str, Any]:
    if not path.is_file():
        return {}
    try:
        values = json.loads(path.read_text(encoding="utf-8"))
        if isinstance(values, dict):
            return values
        reason = "no object"
    except (OSError, ValueError, RecursionError) as error:
        reason = str(error)
    raise DataError(f"cannot be read: {reason}", where=path, fix="save the dataset again")


def _label_names(info: dict[str, Any]) -> dict[str, list[str]]:
    features = info.get("features") or {}
    return {
        key: feature["names"]
        for key, feature in features.items()
        if isinstance(feature, dict) and feature.get("_type") == "ClassLabel"
    }
