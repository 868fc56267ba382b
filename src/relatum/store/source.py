"""Who asks: the sources of queries, looked up or encoded, all of them at once.

In: queries, a view of the table, the model.
Out: for each query an `Asked`, which collects what is found for it, or an error in its place.
This file does not know of scores.
"""

import io
import json
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from relatum.batch import Tokens
from relatum.encoders import forward_items
from relatum.errors import DataError, RelatumError
from relatum.items import Item, plain
from relatum.model import Model
from relatum.store.query import Query
from relatum.store.rows import read_tokens, token_columns
from relatum.store.view import View
from relatum.store.ways import Ways

Sources = dict[int, "Asked | RelatumError"]


@dataclass
class Asked:
    """A query with what is known of its source, and the rows found for it so far."""

    query: Query
    tokens: Tokens
    item: Item | None = None  # None: not to be explained
    wanted: frozenset[str] = frozenset()  # how lines of wanted links begin, if it tells of them all
    is_told: bool = False  # who is linked to the source under them
    groups: frozenset[str] = frozenset()
    linked: frozenset[str] = frozenset()
    vectors: Tensor = field(default_factory=lambda: torch.zeros(0))
    gains: Tensor = field(default_factory=lambda: torch.ones(()))  # what examples taught
    seen: set[str] = field(default_factory=set)
    pages: list[pa.Table] = field(default_factory=list)

    @property
    def weights(self) -> Float[Tensor, " relations"]:
        """Return the weights of the relations, in the order of `vectors`."""
        return torch.tensor([*self.query.weights.values()])

    @property
    def probe(self) -> Float[Tensor, " dim"]:
        """Return what the vectors of hits are multiplied with."""
        return self.weights @ self.vectors

    def is_hit(self, id: str, shown: str) -> bool:
        """Tell whether a row is another item than the source, and not to be left out."""
        if id == self.query.item or not self.query.exclude_linked:
            return id != self.query.item
        return not self.is_tied(id, json.loads(shown)["groups"] or ())

    def is_tied(self, id: str, groups: Iterable[str]) -> bool:
        """Tell whether the catalogue links an item of some groups to the source."""
        return id in self.linked or not self.groups.isdisjoint(groups)

    def named(self, groups: Iterable[str]) -> dict[str, bool]:
        """Return the names of groups under the relations, and if the source is in them."""
        found: dict[str, bool] = {}
        for line in groups:
            if line.startswith(tuple(self.wanted)):
                name = line.rpartition("\t")[2]
                found[name] = found.get(name, False) or line in self.groups
        return dict(sorted(found.items(), key=lambda pair: (not pair[1], pair[0])))

    def take(self, found: pa.Table) -> None:
        """Keep the new rows that are hits, best first.

        A later row never comes before an earlier one, however many are asked for: so pages have no
        doubles, even where an index finds other rows when it is asked for more.
        """
        ids, shown = found["id"].to_pylist(), found["shown"].to_pylist()
        keys = enumerate(zip(ids, shown, strict=True))
        rows = [n for n, key in keys if key[0] not in self.seen and self.is_hit(*key)]
        self.seen |= {*ids}
        distances = found["_distance"].to_pylist()
        rows.sort(key=lambda row: (distances[row], ids[row]))
        self.pages.append(found.take(pa.array(rows, pa.int64())))

    def is_full(self) -> bool:
        """Tell whether the page asked for is found."""
        return sum(map(len, self.pages)) >= self.query.offset + self.query.k


def look_up(queries: Mapping[int, Query], view: View, model: Model, ways: Ways) -> Sources:
    """Read the items that ask, in one call."""
    if not queries:
        return {}
    names = ["groups", "links", *token_columns(model)]
    names += ["text", "thumbnail"] * any(query.explain for query in queries.values())
    found = view.having([query.item or "" for query in queries.values()], names)
    tokens = read_tokens(model, found) if len(found) else None
    rows = {id: row for row, id in enumerate(found["id"].to_pylist())}
    sources: Sources = {}
    for place, query in queries.items():
        row = rows.get(query.item or "")
        if row is None or tokens is None:
            sources[place] = view.missing(query.item or "")
            continue
        wanted = ways.wanted(query)
        links = found.select(["groups", "links"]).slice(row, 1).to_pylist()[0]
        asked = sources[place] = Asked(query, tokens[row : row + 1], wanted=wanted or frozenset())
        asked.is_told = bool(wanted) and links["groups"] is not None
        if query.explain:
            asked.item = stored_item(found.slice(row, 1))
        asked.groups, asked.linked = links_under(links, wanted)
    return sources


@torch.no_grad()
def encode(queries: Mapping[int, Query], model: Model, ways: Ways) -> Sources:
    """Encode texts and pictures together; nothing of it stays in the token cache."""
    if not queries:
        return {}
    try:
        items = [_as_item(query) for query in queries.values()]
        tokens = forward_items(items, model.encoder, model.reduction)
    except DataError as error:
        if len(queries) > 1:  # one of them is bad: each alone
            alone = [encode({place: query}, model, ways) for place, query in queries.items()]
            return {place: source for one in alone for place, source in one.items()}
        what = error.what.replace("item 'query'", "the query")
        fix = "ask with a text, a whole picture or both"
        return dict.fromkeys(queries, DataError(what, where=error.where, fix=fix))
    sources: Sources = {}
    for row, (place, query) in enumerate(queries.items()):
        item = items[row] if query.explain else None
        wanted = ways.wanted(query) or frozenset()
        sources[place] = Asked(query, tokens[row : row + 1], item, wanted)
    return sources


def links_under(
    row: Mapping[str, Any], wanted: Collection[str] | None
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the groups and the ids of a row's lines that begin so, of all lines for None."""
    groups, links = (
        [line for line in row[name] or () if wanted is None or line.startswith(tuple(wanted))]
        for name in ("groups", "links")
    )
    return frozenset(groups), frozenset(line.partition("\t")[2] for line in links)


def stored_item(found: pa.Table) -> Item:
    """Return the item of the first of some rows."""
    row = found.select(["id", "text", "thumbnail"]).to_pylist()[0]
    return Item(row["id"], row["text"], row["thumbnail"])


def _as_item(query: Query) -> Item:
    image = Path(query.image) if isinstance(query.image, str) else query.image
    if isinstance(image, Image.Image):
        file = io.BytesIO()
        try:
            plain(image).save(file, "PNG", compress_level=1)
        except ValueError as error:
            raise DataError(f"item 'query': expected a picture, got {error}") from error
        image = file.getvalue()
    return Item("query", query.text, image)
