"""A store: a catalogue's items on disk, kept up to date, searched under any relations.

In: a model and a catalogue once; then items to add or delete, and queries.
Out: `Hit`s, best first; every write is whole or not there, and readers are never blocked.
This room knows of links only what the catalogue says. Layout: docs/file-formats.md, "Store".
"""

import tempfile
import time
from collections.abc import Mapping, Sequence
from datetime import timedelta
from pathlib import Path

import lancedb
import pyarrow as pa
from lancedb.table import Table
from PIL import Image
from pyarrow import fs

from relatum.catalogue import Catalogue, directions
from relatum.catalogue.reader import is_id
from relatum.errors import CheckpointError, RelatumError, StoreError, expect
from relatum.items import Item, several
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.store.build import Encoded, build, check_place
from relatum.store.calibration import Calibration
from relatum.store.columns import Columns
from relatum.store.manifest import AGAIN, Manifest, Place
from relatum.store.query import Hit, Query, Tie
from relatum.store.rows import make_rows, read_tokens, read_vectors, token_columns
from relatum.store.search import Search
from relatum.store.source import links_under
from relatum.store.view import View, lance_errors, quoted
from relatum.store.ways import Ways

FRESH = 1.0  # seconds within which a store sees what another process wrote
KEEP = timedelta(hours=1)  # how long optimize leaves old versions to those who read them
ITEM = ("id", "thumbnail", "shown")  # columns that make an item again
MEMORY = 512 * 2**20  # bytes of an index that are kept


class Store:
    """What `Store.build` and `Store.open` return. `len` counts its items.

    `relations` are those the model knows; `columns` gives the name that each metadata column of
    the catalogue has in a filter; `texts` names those that hold texts, True for lists of them;
    `about` the metadata column that tells who is linked under a relation, by its id, if one does.
    """

    def __init__(self, place: Place, model: Model, manifest: Manifest) -> None:
        """Join the parts; use `Store.build` or `Store.open`."""
        self.path = place.path
        self.model = model
        self.fingerprint = manifest.fingerprint
        self.catalogue = manifest.catalogue
        self.relations = model.relations
        self._name = manifest.table
        with lance_errors(self.path):
            self._base = _connect(place)
        self._columns = Columns(list(self._latest().schema))
        self._calibration = Calibration.from_json(manifest.calibration)
        self.columns = self._columns.names
        self.texts = self._columns.texts
        self.about = manifest.about
        self._ways = Ways(model.relations, manifest.told, manifest.groups)

    @staticmethod
    def build(
        model: Model,
        catalogue: Catalogue,
        path: str | Path,
        *,
        encoded: Encoded | None = None,
        cache: Path | None = None,
        report: Report = silent,
    ) -> "Store":
        """Write a store and open it; until it is whole, an old one at `path` stays as it was.

        `path` is a folder or the URI of object storage (s3://, gs://). A build that was stopped or
        killed is gone on with by the same call. From 50,000 items on, an index makes the search
        approximate. `encoded` gives what was encoded before (`relatum.bulk.Embeddings.read`);
        no item is encoded then. Raises `StoreError` where `path` holds something else than a store,
        `DataError` for a bad picture.
        """
        expect(model, Model, "model")
        expect(catalogue, Catalogue, "catalogue")
        place = Place(path)
        check_place(place)
        build(model, catalogue, place, _connect(place), encoded=encoded, cache=cache, report=report)
        return Store(place, model, Manifest.read(place))

    @staticmethod
    def open(path: str | Path, model: Model | None = None) -> "Store":
        """Open a store with the model it was built by, its own copy unless one is given.

        Raises `StoreError` for a missing or damaged folder, another format or another model.
        """
        place = Place(path)
        manifest = Manifest.read(place)
        if model is None:
            kept_as = f"model-{manifest.fingerprint}"
            kept = place.at(kept_as)
            with tempfile.TemporaryDirectory() as folder:
                fs.copy_files(kept, folder, source_filesystem=place.files, use_threads=False)
                try:
                    model = Model.load(folder)
                except CheckpointError as error:  # named by where the store has it
                    raise StoreError(str(error).replace(folder, f"{place.uri}/{kept_as}"),
                                     fix=AGAIN) from error  # fmt: skip
        if model.fingerprint != manifest.fingerprint:
            what = f"built by model {manifest.fingerprint}, but the model is {model.fingerprint}"
            raise StoreError(what, where=place.uri, fix="open it with its own model, or " + AGAIN)
        return Store(place, model, manifest)

    def __len__(self) -> int:
        """Return the number of items."""
        return self._view().count()

    def search(
        self,
        *,
        item: str | None = None,
        text: str | None = None,
        image: Path | str | bytes | Image.Image | None = None,
        relation: str | Mapping[str, float | int] | None = None,
        k: int = 10,
        offset: int = 0,
        where: str | None = None,
        min_score: float | None = None,
        exclude_linked: bool = False,
        explain: bool = False,
        examples: Sequence[Sequence[str]] = (),
    ) -> list[Hit]:
        """Return what stands in the relation to the source, best first; `Query` says it all.

        Raises `StoreError` for an unknown id, a bad filter or number, `DataError` for a picture
        that cannot be read.
        """
        query = Query(
            item=item,
            text=text,
            image=image,
            relation=relation,
            k=k,
            offset=offset,
            where=where,
            min_score=min_score,
            exclude_linked=exclude_linked,
            explain=explain,
            examples=examples,
        )
        (answer,) = self.search_many([query])
        if isinstance(answer, RelatumError):
            raise answer
        return answer

    def search_many(self, queries: Sequence[Query]) -> list[list[Hit] | RelatumError]:
        """Answer several queries at once; an error stands where one cannot be answered."""
        facts = self.model, self._columns, self._calibration, self._ways
        return Search(self._view(), *facts).answers(queries)

    def relations_between(self, one: str, other: str) -> list[Tie]:
        """Return how well each known relation fits two items, each way to ask it, best first."""
        names = ["vector", "groups", "links", *token_columns(self.model)]
        found = self._view().find([one, other], names)
        tokens, wanted = read_tokens(self.model, found), read_vectors(found["vector"])[1]
        first, second = found.select(["groups", "links"]).to_pylist()
        ties: list[Tie] = []
        is_told = None not in (first["groups"], second["groups"])
        lines = self._calibration.lines(tokens[:1])
        ways = directions(self.relations)
        asked = self.model.condition_many(tokens[:1], [way.text for way in ways])
        reaches = self.model.reach(asked[:, 0]).tolist()
        scores = (asked[:, 0] @ wanted).tolist()
        for known, score, reach in zip(ways, scores, reaches, strict=True):
            chance = lines.probability({known.text: 1.0}, [score], [reach]) if lines else None
            groups, linked = links_under(first, {f"{known.text}\t"})
            is_linked = other in linked or not groups.isdisjoint(second["groups"] or ())
            can_tell = self._ways.tells(known.text) and is_told
            ties.append(Tie(known.name, known.text, score, chance, is_linked if can_tell else None))
        return sorted(ties, key=lambda tie: (-(tie.probability or 0.0), -tie.score))

    def untold(self) -> list[str]:
        """Return the known relations' texts under which the catalogue tells no links."""
        return [w.text for w in directions(self.relations) if not self._ways.tells(w.text)]

    def items(self, ids: Sequence[str]) -> list[Item]:
        """Return items by id, in the order asked, with their thumbnails as images."""
        return self._items(self._view().find(_listed(ids), ITEM))

    def browse(self, *, where: str | None = None, k: int = 50, offset: int = 0) -> list[Item]:
        """Return a page of the items that pass an SQL filter, in the order of the table."""
        if k < 1 or offset < 0:
            what = f"expected k of at least 1 and offset of at least 0, got {k}, {offset}"
            raise StoreError(what)
        return self._items(self._view().page(ITEM, where, k, offset))

    def thumbnail(self, id: str) -> bytes | None:
        """Return an item's picture as WebP of at most 160 pixels a side, or None."""
        return self._view().find([id], ["thumbnail"])["thumbnail"][0].as_py()

    def count(self, where: str | None = None) -> int:
        """Return how many items pass an SQL filter."""
        return self._view().count(where)

    def counts(self, key: str, most: int) -> dict[str, int]:
        """Return how many items have each text of a metadata column, none if they are too many.

        Only the first 100,000 items are looked at.
        """
        return self._view().counts(self.columns[key], most) if key in self.texts else {}

    def add(
        self, items: Sequence[Item], *, cache: Path | None = None, report: Report = silent
    ) -> None:
        """Add items, or replace those whose id the store has, in one step.

        A replaced item keeps its links. Raises `DataError` for a bad picture, `StoreError` for
        metadata that the store has no column for.
        """
        items = several(items)
        ids = [item.id for item in items]
        if len(set(ids)) < len(ids):
            raise StoreError("an id comes twice", fix="give each item once")
        if not items:
            return
        if bad := [id for id in ids if not is_id(id)]:
            what = f"expected an id, not blank, without control characters, got {bad[0]!r}"
            raise StoreError(what, fix="give each item such an id")
        table = self._latest()
        old = View(table, self.path).having(ids, ["groups", "links"]).to_pylist()
        links = {id: (None, None) for id in ids}
        links |= {row["id"]: (row["groups"], row["links"]) for row in old}
        rows = make_rows(self.model, self._columns, items, links, cache=cache, report=report)
        with lance_errors(self.path):
            merge = table.merge_insert("id").when_matched_update_all().when_not_matched_insert_all()
            merge.execute(rows)
        self._latest()

    def delete(self, ids: Sequence[str]) -> None:
        """Delete items in one step; `StoreError` where the store lacks one."""
        ids, table = _listed(ids), self._latest()
        View(table, self.path).find(ids, ["id"])
        with lance_errors(self.path):
            table.delete(f"id IN ({quoted(ids)})")
        self._latest()

    def optimize(self) -> None:
        """Merge small files, index what is new, remove what no one has read for an hour."""
        table = self._latest()
        with lance_errors(self.path):
            table.optimize(cleanup_older_than=KEEP)
        View(table, self.path).index()
        self._latest()

    def _latest(self) -> Table:
        with lance_errors(self.path):
            self._table = self._base.open_table(self._name)
        self._opened = time.monotonic()
        return self._table

    def _view(self) -> View:
        is_old = time.monotonic() - self._opened > FRESH
        return View(self._latest() if is_old else self._table, self.path)

    def _items(self, found: pa.Table) -> list[Item]:
        rows = [(row, self._columns.read(row["shown"])) for row in found.to_pylist()]
        return [
            Item(row["id"], shown["text"], row["thumbnail"], shown["metadata"])
            for row, shown in rows
        ]


def _listed(ids: Sequence[str]) -> Sequence[str]:
    """Take one id for a list of it: a text is also a sequence, of letters."""
    return [ids] if isinstance(ids, str) else ids


def _connect(place: Place) -> lancedb.DBConnection:
    session = lancedb.Session(index_cache_size_bytes=MEMORY, metadata_cache_size_bytes=MEMORY // 4)
    return lancedb.connect(place.uri, session=session)
