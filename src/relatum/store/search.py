"""Answer queries: the source is conditioned on the relations, the nearest vectors are the hits.

In: a view of the table, the model, the calibration, queries.
Out: for each query its hits, or the error that stands in their place.
What is searched stays under the null relation, so several relations are one sum of vectors.
"""

import io
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import pyarrow as pa
import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.catalogue import directions
from relatum.encoders import forward_items
from relatum.errors import DataError, RelatumError, StoreError
from relatum.items import Item
from relatum.model import Model
from relatum.store.calibration import Calibration
from relatum.store.columns import Columns
from relatum.store.explain import variants
from relatum.store.query import Explanation, Hit, Query
from relatum.store.rows import read_tokens, read_vectors, token_columns
from relatum.store.view import View

FIRST = 32  # rows asked for at once; four times as many when they do not suffice
EXPLAINED = 10  # hits of a search that say what carried them: each has its parts encoded anew


@dataclass(frozen=True)
class _Source:
    """A query with what is known of its source."""

    query: Query
    item: Item | None  # None: not to be explained
    tokens: Tokens
    groups: frozenset[str] = frozenset()
    linked: frozenset[str] = frozenset()

    def is_hit(self, row: Mapping[str, Any]) -> bool:
        """Tell whether a row is another item than the source, and not to be left out."""
        if row["id"] == self.query.item or row["id"] in self.linked:
            return False
        return not self.groups or self.groups.isdisjoint(row["groups"] or ())


@dataclass(frozen=True)
class Search:
    """What answers queries."""

    view: View
    model: Model
    columns: Columns
    calibration: Calibration

    def answers(self, queries: Sequence[Query]) -> list[list[Hit] | RelatumError]:
        """Answer queries; their sources are conditioned together."""
        found: dict[int, list[Hit] | RelatumError] = {}
        sources: dict[int, _Source] = {}
        for place, query in enumerate(queries):
            try:
                sources[place] = self._source(query)
            except RelatumError as error:
                found[place] = error
        vectors = self._conditioned(sources)
        for place, source in sources.items():
            try:
                asked = [vectors[place, text] for text in source.query.weights]
                found[place] = self._hits(source, torch.stack(asked))
            except RelatumError as error:
                found[place] = error
        return [found[place] for place in range(len(queries))]

    def _source(self, query: Query) -> _Source:
        if query.min_score is not None and not self.calibration.others:
            what, fix = "the store has no calibration", "search without a least probability"
            raise StoreError(what, where=self.view.path, fix=fix)
        if query.item is None:
            return self._encoded(query)
        names = ["text", "groups", "links", *token_columns(self.model)]
        found = self.view.find([query.item], [*names, *["thumbnail"] * query.explain])
        tokens = read_tokens(self.model, found)
        row = found.select(["id", "text", "groups", "links"]).to_pylist()[0]
        item = _item(found) if query.explain else None
        if not query.exclude_linked:
            return _Source(query, item, tokens)
        asked = {text for text, weight in query.weights.items() if weight > 0}
        known = {way.text for way in directions(self.model.relations)}
        return _Source(query, item, tokens, *links_under(row, asked if asked <= known else None))

    @torch.no_grad()
    def _encoded(self, query: Query) -> _Source:
        """Encode a text, a picture or both; nothing of it stays in the token cache."""
        image = query.image
        if isinstance(image, Image.Image):
            file = io.BytesIO()
            image.convert("RGBA").save(file, "PNG", compress_level=1)
            image = file.getvalue()
        try:
            item = Item("query", query.text, image)
            tokens = forward_items([item], self.model.encoder, self.model.reduction)
        except DataError as error:
            what = str(error).replace("item 'query'", "the query").partition("; ")[0]
            raise DataError(what, fix="ask with a text, a whole picture or both") from error
        return _Source(query, item if query.explain else None, tokens)

    def _conditioned(self, sources: Mapping[int, _Source]) -> dict[tuple[int, str | None], Tensor]:
        """Return each source's vector under each of its relations' texts."""
        vectors: dict[tuple[int, str | None], Tensor] = {}
        for text in dict.fromkeys(t for one in sources.values() for t in one.query.weights):
            places = [place for place, one in sources.items() if text in one.query.weights]
            tokens = _join([sources[place].tokens for place in places])
            for place, vector in zip(places, self.model.condition(tokens, text).both, strict=True):
                vectors[place, text] = vector
        return vectors

    def _hits(self, source: _Source, asked: Float[Tensor, "relations dim"]) -> list[Hit]:
        query, weights = source.query, torch.tensor([*source.query.weights.values()])
        found = self._nearest(source, weights @ asked)
        vectors = read_vectors(found["vector"])
        scores = vectors @ asked.T
        hits: list[Hit] = []
        rows = found.drop_columns(["vector"]).to_pylist()
        for row, parts, total in zip(
            rows, scores.tolist(), (scores @ weights).tolist(), strict=True
        ):
            odds = self.calibration.probability(query.weights, parts)
            if query.min_score is None or (odds or 0.0) >= query.min_score:
                rank, metadata = query.offset + len(hits) + 1, self.columns.metadata(row)
                hits.append(Hit(rank, row["id"], total, odds, row["text"], metadata))
        return self._explained(hits, source, weights @ asked) if source.item else hits

    def _nearest(self, source: _Source, probe: Float[Tensor, " dim"]) -> pa.Table:
        """Return the rows of the page asked for, best first.

        A later row never comes before an earlier one, however many are asked for: so pages have no
        doubles, even where an index finds other rows when it is asked for more.
        """
        query, limit = source.query, FIRST
        names = ["id", "text", "vector", *self.columns.names.values()]
        names += ["groups"] * bool(source.groups)
        pages: list[pa.Table] = []
        seen: set[str] = set()
        while True:
            found = self.view.nearest(probe, names, query.where, limit)
            is_last = len(found) < limit
            keys = found.select(["id", *["groups"] * bool(source.groups)]).to_pylist()
            rows = [n for n, row in enumerate(keys) if row["id"] not in seen and source.is_hit(row)]
            seen |= {row["id"] for row in keys}
            pages.append(found.take(pa.array(_sorted(found, keys, rows), pa.int64())))
            if is_last or sum(map(len, pages)) >= query.offset + query.k:
                return pa.concat_tables(pages).slice(query.offset, query.k)
            limit *= 4

    def _explained(
        self, hits: list[Hit], source: _Source, probe: Float[Tensor, " dim"]
    ) -> list[Hit]:
        """Say of the best hits what carried them, seen from both ends."""
        assert source.item is not None
        here, weights = variants(self.model, source.item), source.query.weights.items()
        asked = torch.stack([w * self.model.condition(here.tokens, t).both for t, w in weights])
        ids = [hit.id for hit in hits[:EXPLAINED]]
        found = self.view.find(ids, ["text", "thumbnail", "vector"])
        vectors = read_vectors(found["vector"])
        explained: list[Hit] = []
        for row, hit in enumerate(hits[:EXPLAINED]):
            there = variants(self.model, _item(found.slice(row, 1)))
            seen = here.attribution(asked.sum(0) @ vectors[row])
            met = there.attribution(self.model.condition(there.tokens, None).both @ probe)
            explained.append(replace(hit, explanation=Explanation(seen, met)))
        return explained + hits[EXPLAINED:]


def links_under(
    row: Mapping[str, Any], texts: Collection[str | None] | None
) -> tuple[frozenset[str], frozenset[str]]:
    """Return the groups and the ids that a row is linked by, under some texts or under any."""
    groups, links = (
        [line for line in row[name] or () if texts is None or line.partition("\t")[0] in texts]
        for name in ("groups", "links")
    )
    return frozenset(groups), frozenset(line.partition("\t")[2] for line in links)


def _sorted(found: pa.Table, keys: Sequence[Mapping[str, Any]], rows: list[int]) -> list[int]:
    """Put rows in the order of their scores, then their ids."""
    distances = found["_distance"].to_pylist()
    return sorted(rows, key=lambda row: (distances[row], keys[row]["id"]))


def _item(found: pa.Table) -> Item:
    row = found.select(["id", "text", "thumbnail"]).to_pylist()[0]
    return Item(row["id"], row["text"], row["thumbnail"])


def _join(tokens: Sequence[Tokens]) -> Tokens:
    floats = [one.float() for one in tokens]
    parts = [[one.image for one in floats], [one.text for one in floats]]
    return Tokens(Part.join(parts[0]), Part.join(parts[1]))
