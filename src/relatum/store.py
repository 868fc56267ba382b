"""A store: a catalogue's items on disk, searched by item, text or picture under any relation.

In: a model and a catalogue once; then a source, a relation's text, an SQL filter.
Out: `Hit`s, best first: a shortlist on null-relation vectors, then conditioned exactly.
This room does not know of links, training or the web. Layout: docs/file-formats.md, "Store".
"""

import io
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import lancedb
import numpy as np
import pyarrow as pa
import torch
from lancedb.index import BTree, HnswSq
from lancedb.query import LanceVectorQueryBuilder
from lancedb.table import Table
from PIL import Image
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.catalogue import Catalogue
from relatum.disk import new_folder, restore_folder, write_file
from relatum.encoders import forward_items
from relatum.errors import DataError, StoreError
from relatum.items import Item, read_image
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.scores import compare

FORMAT = 1
MANIFEST = "store.json"
KEYS = {"fingerprint", "catalogue", "shapes", "relations", "columns"}
TABLE = "items"
BATCH = 512  # rows encoded and written at a time: about 16 MB of tokens
INDEX_FROM = 50_000  # rows from which an approximate index is faster than looking at all
SIDES = ("image", "text")
PARTS = tuple(f"{side}_{part}" for side in SIDES for part in ("tokens", "mask", "pooled"))
OURS = ("id", "text", "thumbnail", "vector", *PARTS)
AGAIN = "build the store again with relatum index"


@dataclass(frozen=True)
class Hit:
    """An item that was found. `rank` counts from 1; `score` is the cosine under the relation."""

    rank: int
    id: str
    score: float
    text: str | None
    metadata: Mapping[str, object]


class Store:
    """What `Store.build` and `Store.open` return. `len` counts its items.

    `relations` are those the model knows; `columns` gives the name that each metadata column of
    the catalogue has in a filter.
    """

    def __init__(self, path: Path, model: Model, facts: dict[str, Any], table: Table) -> None:
        """Join the parts; use `Store.build` or `Store.open`."""
        self.path = path
        self.model = model
        self.fingerprint: str = facts["fingerprint"]
        self.catalogue: str = facts["catalogue"]
        self.relations = model.relations
        self.columns = {key: name for key, (name, _) in facts["columns"].items()}
        self._json = {key for key, (_, is_json) in facts["columns"].items() if is_json}
        self._shapes: dict[str, list[int]] = facts["shapes"]
        self._table = table

    @staticmethod
    def build(
        model: Model,
        catalogue: Catalogue,
        path: str | Path,
        *,
        cache: Path | None = None,
        report: Report = silent,
    ) -> "Store":
        """Write a store and open it; until it is whole, an old one at `path` stays as it was.

        From 50,000 items on, an IVF_HNSW_SQ index makes the shortlist approximate. Raises
        `StoreError` where `path` holds something else than a store, `DataError` for a bad picture.
        """
        path = Path(path).resolve()
        is_taken = not path.is_dir() or any(path.iterdir()) if path.exists() else False
        if is_taken and not (path / MANIFEST).is_file():
            what, fix = "not a store, and one would replace it", "name a new folder or an old store"
            raise StoreError(what, where=path, fix=fix)
        with new_folder(path) as folder:
            facts = _write_table(model, catalogue, folder, cache, report)
            model.save(folder / "model")
            write_file(folder / MANIFEST, json.dumps(facts, indent=1, ensure_ascii=False).encode())
        return Store.open(path, model)

    @staticmethod
    def open(path: str | Path, model: Model | None = None) -> "Store":
        """Open a store with the model it was built by, its own copy unless one is given.

        Raises `StoreError` for a missing or damaged folder, another format or another model.
        """
        path = Path(path).resolve()
        restore_folder(path)
        facts = _read_manifest(path)
        model = model or Model.load(path / "model")
        if model.fingerprint != facts["fingerprint"]:
            what = f"built by model {facts['fingerprint']}, but the model is {model.fingerprint}"
            raise StoreError(what, where=path, fix="open it with its own model, or " + AGAIN)
        with _lance_errors(path):
            return Store(path, model, facts, lancedb.connect(path).open_table(TABLE))

    def __len__(self) -> int:
        """Return the number of items."""
        return self._table.count_rows()

    def search(
        self,
        *,
        item: str | None = None,
        text: str | None = None,
        image: Path | bytes | Image.Image | None = None,
        relation: str | None = None,
        k: int = 10,
        where: str | None = None,
        shortlist: int = 1000,
    ) -> list[Hit]:
        """Return the `k` items nearest to a source under a relation, best first.

        The source is an item's id, or a text and/or a picture. The `shortlist` nearest by
        null-relation vectors, among those that pass the SQL filter `where`, are conditioned under
        the relation's inverse text and ranked exactly; a store of no more items is ranked whole.
        `relation` is any text (None: the null relation). Raises `StoreError` for an unknown id, a
        bad filter or number, `DataError` for a picture that cannot be read.
        """
        if (item is None) == (text is None and image is None):
            raise ValueError("expected one source: item, or text and/or image")
        if min(k, shortlist) < 1:
            raise StoreError(f"expected k and shortlist of at least 1, got {k} and {shortlist}")
        asked, wanted = self._directed(relation)
        query = self._encoded(text, image) if item is None else self._tokens(self._find([item]))
        found = self._shortlist(query, where, max(k, shortlist) + 1)
        ids = found["id"].to_pylist()
        rows = [row for row, name in enumerate(ids) if name != item]
        if not rows:
            return []
        candidates = self.model.condition(self._tokens(found.take(rows)), wanted)
        scores = compare(self.model.condition(query, asked), candidates, "both")[0].tolist()
        best = sorted(zip(scores, rows, strict=True), key=lambda pair: (-pair[0], ids[pair[1]]))[:k]
        values = found.take([row for _, row in best]).to_pylist()
        return [
            Hit(rank, row["id"], score, row["text"], self._metadata(row))
            for rank, ((score, _), row) in enumerate(zip(best, values, strict=True), 1)
        ]

    def items(self, ids: Sequence[str]) -> list[Item]:
        """Return items by id, in the order asked, with their thumbnails as images."""
        return [
            Item(row["id"], row["text"], row["thumbnail"], self._metadata(row))
            for row in self._find(ids).to_pylist()
        ]

    def thumbnail(self, id: str) -> bytes | None:
        """Return an item's picture as WebP of at most 160 pixels a side, or None."""
        return self._find([id])["thumbnail"][0].as_py()

    def _directed(self, relation: str | None) -> tuple[str | None, str | None]:
        if relation is None:
            return None, None
        if not relation.strip():
            raise StoreError("the relation is empty", fix="describe it in words, or leave it out")
        direction = self.model.direction(relation)
        return direction.text, direction.inverse

    def _find(self, ids: Sequence[str]) -> pa.Table:
        names = ", ".join("'" + name.replace("'", "''") + "'" for name in dict.fromkeys(ids))
        with _lance_errors(self.path):
            found = self._table.search().where(f"id IN ({names or 'NULL'})").to_arrow()
        rows = {name: row for row, name in enumerate(found["id"].to_pylist())}
        for name in ids:
            if name not in rows:
                what, fix = f"no item {name!r} in the store", "name an id of its catalogue"
                raise StoreError(what, where=self.path, fix=fix)
        return found.take([rows[name] for name in ids])

    @torch.inference_mode()
    def _encoded(self, text: str | None, image: Path | bytes | Image.Image | None) -> Tokens:
        """Encode a query; nothing of it stays in the token cache."""
        if isinstance(image, Image.Image):
            file = io.BytesIO()
            image.convert("RGBA").save(file, "PNG", compress_level=1)
            image = file.getvalue()
        try:
            item = Item("query", text, image)
            return forward_items([item], self.model.encoder, self.model.reduction)
        except DataError as error:
            what = str(error).replace("item 'query'", "the query").partition("; ")[0]
            raise DataError(what, fix="ask with a text, a whole picture or both") from error

    def _shortlist(self, query: Tokens, where: str | None, limit: int) -> pa.Table:
        names = ["id", "text", *self.columns.values(), *PARTS]
        search = self._table.search()
        if len(self) >= limit:
            vector = self.model.condition(query, None).both[0].numpy()
            names.append("_distance")
            near = LanceVectorQueryBuilder(self._table, vector, "vector")
            search = near.distance_type("dot").refine_factor(2).limit(limit)
        with _lance_errors(self.path, where):
            search = search if where is None else search.where(where, prefilter=True)
            return search.select(names).to_arrow()

    def _tokens(self, rows: pa.Table) -> Tokens:
        return Tokens(*(_read_part(rows, side, self._shapes[side]) for side in SIDES))

    def _metadata(self, row: Mapping[str, Any]) -> dict[str, object]:
        values = {key: row[name] for key, name in self.columns.items()}
        return {k: json.loads(v) if k in self._json and v else v for k, v in values.items()}


def _write_table(
    model: Model, catalogue: Catalogue, folder: Path, cache: Path | None, report: Report
) -> dict[str, Any]:
    """Write the items in batches, index them, and return what the manifest says."""
    columns = _plan_columns(catalogue.items)
    table, shapes = None, {}
    for start in range(0, len(catalogue.items), BATCH):
        items = catalogue.items[start : start + BATCH]
        tokens = model.encode(items, cache=cache)
        shapes = {
            side: [*part.tokens.shape[1:], part.pooled.shape[1]]
            for side, part in zip(SIDES, (tokens.image, tokens.text), strict=True)
        }
        rows = _arrow_rows(model, items, tokens, columns)
        with _lance_errors(folder):
            if table is None:
                table = lancedb.connect(folder).create_table(TABLE, schema=rows.schema)
            table.add(rows)
        report("index", start + len(items), len(catalogue.items), "")
    if table is not None and len(catalogue.items) >= INDEX_FROM:
        with _lance_errors(folder):
            table.create_index("vector", config=HnswSq(distance_type="dot"))
            table.create_index("id", config=BTree())
    return {
        "format": FORMAT,
        "fingerprint": model.fingerprint,
        "catalogue": catalogue.name,
        "shapes": shapes,
        "relations": [asdict(relation) for relation in model.relations],
        "columns": {key: [field.name, bool(field.metadata)] for key, field in columns.items()},
    }


def _arrow_rows(
    model: Model, items: Sequence[Item], tokens: Tokens, columns: Mapping[str, pa.Field]
) -> pa.Table:
    vectors = model.condition(tokens, None).both.numpy()
    arrays: dict[str, pa.Array] = {
        "id": pa.array([item.id for item in items], pa.string()),
        "text": pa.array([_clean(item.text) for item in items], pa.string()),
        "thumbnail": pa.array([_thumbnail(item) for item in items], pa.binary()),
        "vector": pa.FixedSizeListArray.from_arrays(pa.array(vectors.ravel()), vectors.shape[1]),
        **_write_part("image", tokens.image),
        **_write_part("text", tokens.text),
    }
    for key, field in columns.items():
        values = [item.metadata.get(key) for item in items]
        if field.metadata:
            values = [None if v is None else json.dumps(v, default=str) for v in values]
        arrays[field.name] = pa.array(map(_clean, values), field.type)
    return pa.table(arrays)


def _write_part(side: str, part: Part) -> dict[str, pa.Array]:
    """Return a part as three binary columns: fp16 tokens, the mask, the fp16 pooled vector."""
    present = part.present.tolist()

    def column(rows: Tensor) -> pa.Array:
        values = zip(present, rows.numpy(), strict=True)
        return pa.array([row.tobytes() if has else None for has, row in values], pa.binary())

    return {
        f"{side}_tokens": column(part.tokens.half()),
        f"{side}_mask": column(part.mask),
        f"{side}_pooled": column(part.pooled.half()),
    }


def _read_part(rows: pa.Table, side: str, shape: Sequence[int]) -> Part:
    """Rebuild what `_write_part` wrote; a missing modality is zeros under an empty mask."""
    tokens, hidden, pooled = shape

    def tensor(name: str, kind: type, *size: int) -> Tensor:
        blank = np.zeros(size, kind).tobytes()
        joined = b"".join(value or blank for value in rows[f"{side}_{name}"].to_pylist())
        return torch.from_numpy(np.frombuffer(bytearray(joined), kind).reshape(-1, *size))

    return Part(
        tensor("tokens", np.float16, tokens, hidden),
        tensor("mask", np.bool_, tokens),
        tensor("pooled", np.float16, pooled),
    )


def _plan_columns(items: Sequence[Item]) -> dict[str, pa.Field]:
    """Give each metadata column a name for SQL and the type of its values, or mark it as JSON."""
    values: dict[str, list[object]] = {}
    for item in items:
        for key, value in item.metadata.items():
            values.setdefault(key, []).append(value)
    columns: dict[str, pa.Field] = {}
    for key, column in values.items():
        taken = {*OURS, *(field.name.lower() for field in columns.values())}
        kind = _arrow_type([value for value in column if value is not None])
        is_json = {"json": "true"} if kind is None else None
        columns[key] = pa.field(_safe_name(key, taken), kind or pa.string(), metadata=is_json)
    return columns


def _safe_name(key: str, taken: set[str]) -> str:
    """Return a column name that is an identifier and not taken, whatever its case.

    >>> _safe_name("vector", {"vector"}), _safe_name("2nd colour", set()), _safe_name("room", set())
    ('vector_', 'm_2nd_colour', 'room')
    """
    name = re.sub(r"\W", "_", key)
    name = name if name[:1].isalpha() else f"m_{name}"
    while name.lower() in taken:
        name += "_"
    return name


def _arrow_type(values: Sequence[Any]) -> pa.DataType | None:
    """Return the type that holds all values, or None where only JSON does."""
    kinds = {type(value) for value in values}
    if kinds <= {str}:
        return pa.string()
    if kinds == {bool}:
        return pa.bool_()
    if kinds <= {int, float} and all(abs(value) < 2**63 for value in values if type(value) is int):
        return pa.float64() if float in kinds else pa.int64()
    if kinds <= {list, tuple} and all(type(word) is str for words in values for word in words):
        return pa.list_(pa.string())
    return None


def _clean(value: object) -> object:
    """Replace what UTF-8 cannot hold: half a surrogate pair, as JSON may bring one."""
    if isinstance(value, list | tuple):
        return [_clean(one) for one in value]
    return value.encode("utf-8", "replace").decode() if isinstance(value, str) else value


def _thumbnail(item: Item) -> bytes | None:
    if item.image is None:
        return None
    picture, file = read_image(item), io.BytesIO()
    picture.thumbnail((160, 160))
    picture.save(file, "WEBP", quality=82)
    return file.getvalue()


def _read_manifest(folder: Path) -> dict[str, Any]:
    path = folder / MANIFEST
    if not path.is_file():
        fix = "name the folder that relatum index -o wrote"
        raise StoreError("this is not a store: it has no store.json", where=folder, fix=fix)
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        found = facts["format"]
        if found == FORMAT and not KEYS <= facts.keys():
            raise KeyError(*KEYS)
    except (ValueError, KeyError, TypeError) as error:
        raise StoreError("the manifest is damaged", where=path, fix=AGAIN) from error
    if found != FORMAT:
        raise StoreError(f"store format {found}, expected {FORMAT}", where=path, fix=AGAIN)
    return facts


@contextmanager
def _lance_errors(path: Path, where: str | None = None) -> Iterator[None]:
    """Turn what LanceDB says of a filter, or of files it cannot use, into a `StoreError`."""
    try:
        yield
    except (RuntimeError, ValueError) as error:
        line = str(error).strip().split("\n")[0].removeprefix("Invalid input, ")
        line = re.sub(r", \S+\.rs:\d+:\d+$", "", line)  # the place in LanceDB's own code
        if isinstance(error, ValueError) and where is not None:
            fix = "write it like room = 'Kitchen' AND width_cm < 80"
            raise StoreError(f"cannot read the filter {where!r}: {line}", fix=fix) from error
        if not line.startswith(("lance error", f"Table {TABLE!r}")):
            raise
        fix = "free some space" if "No space left" in line else f"open it again or {AGAIN}"
        raise StoreError(f"cannot use the items table: {line}", where=path, fix=fix) from error
