"""The store behind its queues.

In: checked requests. Out: what the store answers.
Searches that wait together are answered by one call; reads, embeddings and writes have a thread
each, so that none waits for another kind. This file does not know of HTTP.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, TypeVar

from relatum.items import Item
from relatum.serve import schemas
from relatum.serve.batcher import Batcher, each
from relatum.serve.guard import Counts, Limits
from relatum.serve.pictures import safe_picture
from relatum.store import Hit, Query, Store
from relatum.store.view import COUNTED

log = logging.getLogger("relatum.serve")
MOST = 500  # values of a column that a page may offer
TIDY = 64  # writes after which the store is optimised

Answer = TypeVar("Answer")


class Desk:
    """Answers for the routes; `close` finishes what has begun."""

    def __init__(self, store: Store, limits: Limits, counts: Counts) -> None:
        """Start nothing yet."""
        self.store, self._limits = store, limits
        self._searches: Batcher[Query, list[Hit]] = Batcher(
            store.search_many, seen=counts.batches.observe
        )
        self._reads: Batcher[Callable[[], Any], Any] = Batcher(each)
        self._embeds: Batcher[Callable[[], Any], Any] = Batcher(each, most=1, waiting=64)
        self._writes: Batcher[Callable[[], Any], Any] = Batcher(each, most=1, waiting=64)
        self._written = 0
        self._tidying: asyncio.Task[None] | None = None
        self._columns: list[schemas.Column] | None = None

    async def close(self) -> None:
        """Answer what waits."""
        for queue in (self._searches, self._reads, self._embeds, self._writes):
            await queue.close()

    async def search(self, body: schemas.Search) -> list[Hit]:
        """Search together with whatever else waits."""
        image = await self._picture(body.image)
        values = body.model_dump(exclude={"image", "where"})
        query = Query(image=image, where=self._safe(body.where), **values)
        return await self._searches.ask(query)

    async def read(self, call: Callable[[], Answer]) -> Answer:
        """Run a quick call of the store."""
        return await self._reads.ask(call)

    async def browse(self, where: str | None, k: int, offset: int) -> tuple[int, list[Item]]:
        """Return how many items pass a filter, and some of them."""
        safe = self._safe(where)
        look = self.store
        return await self.read(
            lambda: (look.count(safe), look.browse(where=safe, k=k, offset=offset))
        )

    async def embed(self, body: schemas.Embed) -> list[list[float]]:
        """Return vectors under a relation."""
        items = [await self._item("input", one) for one in body.inputs]
        embed = self.store.model.embed
        return await self._embeds.ask(lambda: embed(items, body.relation, body.modality).tolist())

    async def add(self, items: list[schemas.NewItem]) -> None:
        """Add or replace items; they are on disk when this returns."""
        made = [await self._item(one.id, one, one.metadata) for one in items]
        await self._write(lambda: self.store.add(made))

    async def delete(self, id: str) -> None:
        """Delete an item; it is gone from the disk when this returns."""
        await self._write(lambda: self.store.delete([id]))

    async def columns(self) -> list[schemas.Column]:
        """Return the metadata columns, with the values of those that have few."""
        if self._columns is None:
            self._columns = await self.read(lambda: [*map(self._column, self.store.columns)])
        return self._columns

    def _column(self, key: str) -> schemas.Column:
        counts = sorted(self.store.counts(key, MOST).items())
        is_whole = len(self.store) <= COUNTED
        values = [schemas.Value(value=v, count=n if is_whole else None) for v, n in counts]
        name, is_list = self.store.columns[key], self.store.texts.get(key, False)
        return schemas.Column(key=key, name=name, is_list=is_list, values=values)

    def _safe(self, where: str | None) -> str | None:
        return schemas.check_filter(where, {"id", "text", *self.store.columns.values()})

    async def _picture(self, data: bytes | None) -> bytes | None:
        if data is None:
            return None
        return await asyncio.to_thread(safe_picture, data, self._limits.pixels)

    async def _item(
        self, id: str, source: schemas.Source, metadata: dict[str, Any] | None = None
    ) -> Item:
        return Item(id, source.text, await self._picture(source.image), metadata or {})

    async def _write(self, call: Callable[[], None]) -> None:
        await self._writes.ask(call)
        self._columns = None
        self._written += 1
        if self._written % TIDY == 0:
            self._tidying = asyncio.create_task(self._tidy())

    async def _tidy(self) -> None:
        try:
            await self._writes.ask(self.store.optimize)
        except Exception:  # the write itself is safe; a later one tries again
            log.exception("could not optimise the store")
