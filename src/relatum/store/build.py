"""Write a catalogue's items to a table of their own, then make it the store.

In: a model, a catalogue, a place, a LanceDB connection.
Out: a whole store; a build that is stopped leaves rows that the same call goes on from.
This file does not know how the table is searched.
"""

import hashlib
import json
import tempfile
import uuid
from collections import defaultdict
from collections.abc import Callable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

from lancedb import DBConnection
from lancedb.table import Table
from pyarrow import fs

from relatum.catalogue import Catalogue, directions
from relatum.encoders import blank_tokens
from relatum.errors import StoreError
from relatum.model import Model
from relatum.progress import Report, silent
from relatum.store.about import Lines, about, group_names
from relatum.store.calibration import FOUND, calibrate
from relatum.store.columns import Columns, clean
from relatum.store.manifest import BUILDING, FORMAT, MANIFEST, Manifest, Place
from relatum.store.rows import encoded_columns, make_rows, read_tokens, read_vectors, token_columns
from relatum.store.view import View, lance_errors

Encoded = Callable[[int, int], Mapping[str, Any]]  # columns from a row on, of so many at most
BATCH = 2048  # rows encoded, conditioned and written at a time


def build(
    model: Model,
    catalogue: Catalogue,
    place: Place,
    base: DBConnection,
    *,
    encoded: Encoded | None = None,
    cache: Path | None = None,
    report: Report = silent,
) -> None:
    """Write the table, then the manifest that names it; an old store serves until then."""
    name, links = _begin(model, catalogue, place), _links(catalogue)
    with lance_errors(place.path):
        table = _write_rows(model, catalogue, links, base, name, encoded, cache, report)
        table.optimize(cleanup_older_than=timedelta(days=1))
        View(table, place.path).index()
    stored = View(table, place.path)
    names = token_columns(model)
    sample = stored.spread(["id", "vector"], FOUND)
    calibration = calibrate(
        model,
        catalogue,
        lambda ids: read_tokens(model, stored.find(ids, names)),
        (sample["id"].to_pylist(), read_vectors(sample["vector"])),
        report=report,
    ).to_json()
    with tempfile.TemporaryDirectory() as folder:
        model.save(folder)
        _copy(folder, place, f"model-{model.fingerprint}")
    columns = about(catalogue.items, catalogue.relations, links)
    there = {one.relation for one in (*catalogue.groups, *catalogue.links)}
    told = [way.text for way in directions(catalogue.relations) if way.relation in there]
    links_told = columns, told, _told_by_groups(catalogue)
    Manifest(model.fingerprint, catalogue.name, name, calibration, *links_told).write(place)
    place.remove(BUILDING)


def check_place(place: Place) -> None:
    """Refuse a place that holds something else than a store, begun or whole."""
    is_file = place.is_local and Path(place.path).is_file()
    if is_file or ((names := place.names()) and not {MANIFEST, BUILDING} & {*names}):
        what, fix = "not a store, and one would replace it", "name a new folder or an old store"
        raise StoreError(what, where=place.uri, fix=fix)


def _copy(folder: str, place: Place, name: str) -> None:
    place.files.create_dir(place.at(name), recursive=True)
    fs.copy_files(folder, place.at(name), destination_filesystem=place.files, use_threads=False)


def _begin(model: Model, catalogue: Catalogue, place: Place) -> str:
    """Return the table to fill, one that was begun for the same if there is one; tidy up."""
    digest = hashlib.blake2b(digest_size=8)
    digest.update(f"{FORMAT} {model.fingerprint} {catalogue.fingerprint()}".encode())
    for item in catalogue.items:
        digest.update(repr(dict(item.metadata)).encode("utf-8", "surrogatepass"))
    begun = json.loads(place.read(BUILDING) or b"{}")
    is_same = begun.get("of") == digest.hexdigest()
    name = begun["table"] if is_same else f"items-{uuid.uuid4().hex[:16]}"
    kept = {f"{name}.lance", *_in_use(place)}
    for entry in place.names():
        if entry.startswith(("items-", "model-")) and entry not in kept:
            place.remove(entry)
    place.write(BUILDING, json.dumps({"of": digest.hexdigest(), "table": name}).encode())
    return name


def _in_use(place: Place) -> set[str]:
    try:
        manifest = Manifest.read(place)
    except StoreError:
        return set()  # none, damaged or of an older format: it is to be replaced
    return {f"{manifest.table}.lance", f"model-{manifest.fingerprint}"}


def _write_rows(
    model: Model,
    catalogue: Catalogue,
    links: Lines,
    base: DBConnection,
    name: str,
    encoded: Encoded | None,
    cache: Path | None,
    report: Report,
) -> Table:
    """Write the rows that are missing, each batch in one step."""
    items, columns = catalogue.items, Columns.plan(catalogue.items)
    blank = encoded_columns(model, blank_tokens(model.encoder, model.reduction))
    empty = make_rows(model, columns, items[:1], {}, encoded=blank).slice(0, 0)
    table = base.create_table(name, schema=empty.schema, exist_ok=True)
    done = table.count_rows()
    while done < len(items):
        made = encoded(done, BATCH) if encoded else None
        some = items[done : done + (len(made["vector"]) if made else BATCH)]
        table.add(make_rows(model, columns, some, links, encoded=made, cache=cache))
        done += len(some)
        report("index", done, len(items), "")
    return table


def _links(catalogue: Catalogue) -> dict[str, tuple[list[str], list[str]]]:
    """Return each item's groups and links.

    A line is a way to ask, a tab, and the other item, or the group, a tab, the group's name.
    """
    found: defaultdict[str, tuple[list[str], list[str]]] = defaultdict(lambda: ([], []))
    texts: dict[str, list[str]] = {}
    for way in directions(catalogue.relations):
        texts.setdefault(way.relation, []).append(way.text)
    names = group_names(catalogue.groups)
    for group in catalogue.groups:
        told = f"{group.id}\t{names[group.relation, group.id]}"
        for name in group.items:
            found[name][0].extend(f"{text}\t{told}" for text in texts[group.relation])
    for link in catalogue.links:
        forth, back = texts[link.relation][0], texts[link.relation][-1]
        found[link.source][1].append(f"{forth}\t{link.target}")
        found[link.target][1].append(f"{back}\t{link.source}")
    return found


def _told_by_groups(catalogue: Catalogue) -> dict[str, list[str]]:
    """Return how the lines of the groups with a text begin, by text."""
    texts = {one.id: one.text for one in catalogue.relations}
    found: dict[str, list[str]] = {}
    for group in catalogue.groups:
        if group.text:
            found.setdefault(clean(group.text), []).append(f"{texts[group.relation]}\t{group.id}")
    return found
