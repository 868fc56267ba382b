"""Answer queries: the source is conditioned on the relations, the nearest vectors are the hits.

In: a view of the table, the model, the calibration, queries.
Out: for each query its hits, or the error that stands in their place.
What is searched stays under the null relation, so several relations are one sum of vectors.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import pyarrow as pa
import torch
from torch import Tensor

from relatum.batch import Tokens
from relatum.errors import RelatumError, StoreError
from relatum.examples import gains
from relatum.model import Model
from relatum.store.calibration import Calibration
from relatum.store.columns import Columns
from relatum.store.explain import variants
from relatum.store.query import Explanation, Hit, Query
from relatum.store.rows import read_tokens, read_vectors, token_columns
from relatum.store.source import Asked, encode, look_up, stored_item
from relatum.store.view import View
from relatum.store.ways import Ways

FIRST = 32  # rows asked for at once; four times as many when they do not suffice
OTHERS = 256  # items of the store that examples are told from
EXPLAINED = 10  # hits of a search that say what carried them: each has its parts encoded anew


@dataclass(frozen=True)
class Search:
    """What answers queries."""

    view: View
    model: Model
    columns: Columns
    calibration: Calibration
    ways: Ways

    def answers(self, queries: Sequence[Query]) -> list[list[Hit] | RelatumError]:
        """Answer queries; what they have in common is done once for all of them."""
        found: dict[int, list[Hit] | RelatumError] = {}
        open_ = dict(enumerate(map(self.ways.reworded, queries)))
        stored = {n: q for n, q in open_.items() if q.item is not None}
        told = {n: q for n, q in open_.items() if q.item is None}
        sources = look_up(stored, self.view, self.model, self.ways)
        sources |= encode(told, self.model, self.ways)
        found |= {n: one for n, one in sources.items() if isinstance(one, RelatumError)}
        asked = {n: one for n, one in sources.items() if isinstance(one, Asked)}
        found |= {n: error for n, one in asked.items() if (error := self._refusal(one))}
        asked = {n: one for n, one in asked.items() if n not in found}
        self._condition(list(asked.values()))
        found |= self._learn(asked)
        found |= self._look({n: one for n, one in asked.items() if n not in found})
        found |= {n: self._hits(one) for n, one in asked.items() if n not in found}
        return [found[place] for place in range(len(queries))]

    def _refusal(self, asked: Asked) -> RelatumError | None:
        """Return what stands against a least probability."""
        if asked.query.min_score is None or self.calibration.lines(asked.tokens):
            return None
        what = "the store has no calibration for such a source"
        return StoreError(what, where=self.view.path, fix="search without a least probability")

    def _condition(self, asked: Sequence[Asked]) -> None:
        """Give each source its vector under each of its relations' texts."""
        texts = list(dict.fromkeys(text for one in asked for text in one.query.weights))
        if not texts:
            return
        tokens = Tokens.join([one.tokens.float() for one in asked])
        known = [text for text in texts if text]
        found = self.model.condition_many(tokens, known)
        vectors: dict[str | None, Tensor] = {**dict(zip(known, found, strict=True))}
        if None in texts:
            vectors[None] = self.model.condition(tokens, None).both
        for place, one in enumerate(asked):
            one.vectors = torch.stack([vectors[text][place] for text in one.query.weights])

    def _learn(self, asked: Mapping[int, Asked]) -> dict[int, RelatumError]:
        """Give the sources of queries with examples what these say of the relation."""
        failed: dict[int, RelatumError] = {}
        taught = {n: one for n, one in asked.items() if one.query.examples}
        others = read_vectors(self.view.spread(["vector"], OTHERS)["vector"]) if taught else None
        for n, one in taught.items():
            assert others is not None
            pairs = [*dict.fromkeys(map(tuple, one.query.examples))]
            ids = [*dict.fromkeys(id for pair in pairs for id in pair)]
            try:
                found = self.view.find(ids, ["vector", *token_columns(self.model)])
            except RelatumError as error:
                failed[n] = error
                continue
            rows = torch.tensor([[ids.index(id) for id in pair] for pair in pairs])
            tokens = read_tokens(self.model, found)[rows[:, 0]]
            asking = [
                w * self.model.condition(tokens, t).both for t, w in one.query.weights.items()
            ]
            targets = read_vectors(found["vector"])[rows[:, 1]]
            sources = torch.stack(asking).sum(0) / one.weights.abs().sum()  # whatever their scale
            learned = gains(sources, targets, others)
            one.gains = learned * (one.probe.norm() / (one.probe * learned).norm().clamp_min(1e-12))
            one.vectors = one.vectors * one.gains
        return failed

    def _look(self, asked: Mapping[int, Asked]) -> dict[int, RelatumError]:
        """Ask the table until every page is full: queries of the same filter in one call."""
        failed: dict[int, RelatumError] = {}
        open_, limit = dict(asked), FIRST
        while open_:
            for where in dict.fromkeys(one.query.where for one in open_.values()):
                some = {n: one for n, one in open_.items() if one.query.where == where}
                probes = torch.stack([one.probe for one in some.values()])
                try:
                    tables = self.view.nearest(probes, ["id", "vector", "shown"], where, limit)
                except RelatumError as error:
                    failed |= dict.fromkeys(some, error)
                    open_ = {n: one for n, one in open_.items() if n not in some}
                    continue
                for (n, one), found in zip(some.items(), tables, strict=True):
                    one.take(found)
                    if len(found) < limit or one.is_full():
                        del open_[n]
            limit *= 4
        return failed

    def _hits(self, asked: Asked) -> list[Hit]:
        query = asked.query
        found = pa.concat_tables(asked.pages).slice(query.offset, query.k)
        scores = read_vectors(found["vector"]) @ asked.vectors.T
        hits: list[Hit] = []
        rows = zip(found["id"].to_pylist(), found["shown"].to_pylist(), strict=True)
        totals = (scores @ asked.weights).tolist()
        lines = None if query.examples else self.calibration.lines(asked.tokens)
        reach = self.model.reach(asked.vectors).tolist()
        for (id, shown), parts, total in zip(rows, scores.tolist(), totals, strict=True):
            odds = lines.probability(query.weights, parts, reach) if lines else None
            if query.min_score is None or (odds or 0.0) >= query.min_score:
                rank, row = query.offset + len(hits) + 1, self.columns.read(shown)
                groups = row["groups"]
                can_tell = asked.is_told and groups is not None
                is_linked = asked.is_tied(id, groups or ()) if can_tell else None
                facts = row["text"], row["metadata"], is_linked, asked.named(groups or ())
                hits.append(Hit(rank, id, total, odds, *facts))
        return self._explained(hits, asked) if asked.item and hits else hits

    def _explained(self, hits: list[Hit], asked: Asked) -> list[Hit]:
        """Say of the best hits what carried them, seen from both ends."""
        assert asked.item is not None
        here, weights = variants(self.model, asked.item), asked.query.weights.items()
        sources = [w * self.model.condition(here.tokens, text).both for text, w in weights]
        ids = [hit.id for hit in hits[:EXPLAINED]]
        found = self.view.find(ids, ["text", "thumbnail", "vector"])
        vectors = read_vectors(found["vector"])
        explained: list[Hit] = []
        for row, hit in enumerate(hits[:EXPLAINED]):
            there = variants(self.model, stored_item(found.slice(row, 1)))
            seen = here.attribution((torch.stack(sources).sum(0) * asked.gains) @ vectors[row])
            met = there.attribution(self.model.condition(there.tokens, None).both @ asked.probe)
            explained.append(replace(hit, explanation=Explanation(seen, met)))
        return explained + hits[EXPLAINED:]
