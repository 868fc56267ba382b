"""All of it on one catalogue: train, evaluate, index, and show one item under three relations.

In: a folder for everything, a catalogue.
Out: a `Quickstart`: where things are, and the neighbours as a page and for the terminal.
This room does not know how any of the steps is done.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from importlib import resources
from itertools import combinations
from pathlib import Path
from string import Template

import numpy as np
from jaxtyping import Bool, Int
from rich.console import RenderableType
from rich.table import Table
from rich.text import Text

from relatum.catalogue import Catalogue, Direction, as_asked, directions, linked
from relatum.config import Config
from relatum.disk import write_file
from relatum.errors import StoreError
from relatum.evaluate import evaluate
from relatum.items import Item, thumbnail
from relatum.model import Model
from relatum.page import inline
from relatum.progress import Report, silent
from relatum.scores import compare
from relatum.store import Hit, Store
from relatum.train import train

RELATIONS = 3  # shown side by side
HITS = 6  # shown under each
PICTURE = 320  # pixels of the asked item's picture


@dataclass(frozen=True)
class Neighbours:
    """What was found under one relation."""

    relation: str
    hits: tuple[Hit, ...]


@dataclass(frozen=True)
class Quickstart:
    """What was made and where; `item` was asked under each of `found`."""

    model: Path
    store: Path
    report: Path
    page: Path
    headline: str
    item: Item
    found: tuple[Neighbours, ...]

    def terminal(self) -> RenderableType:
        """Return the neighbours for a terminal, side by side."""
        return render_terminal(self.item, self.found)


def quickstart(
    output: str | Path,
    *,
    catalogue: str | Path = "furniture",
    config: Config | None = None,
    report: Report = silent,
    cache: Path | None = None,
) -> Quickstart:
    """Train on a catalogue, evaluate, index and search it; what a run left in `output` serves."""
    output = Path(output)
    data = Catalogue.load(catalogue)
    model = train(data, config, output / "model", resume=True, cache=cache, report=report)
    outcome = evaluate(model, data, folder=output, cache=cache, report=report)
    outcome.save(output)
    store = _open_store(model, data, output / "store", cache, report)
    item, asked = choose_item(model, data, cache=cache)
    found = tuple(_search(store, item, direction) for direction in asked)
    done = Quickstart(
        model=output / "model",
        store=output / "store",
        report=output / "report.html",
        page=output / "neighbours.html",
        headline=outcome.headline(),
        item=item,
        found=found,
    )
    write_file(done.page, render_page(done, store).encode())
    return done


def _open_store(
    model: Model, catalogue: Catalogue, path: Path, cache: Path | None, report: Report
) -> Store:
    """Open the store if it holds this catalogue under this model, or build it."""
    try:
        store = Store.open(path, model)
        if (store.catalogue, len(store)) == (catalogue.name, len(catalogue.items)):
            return store
    except StoreError:
        pass  # none, or of another model
    return Store.build(model, catalogue, path, cache=cache, report=report)


def choose_item(
    model: Model, catalogue: Catalogue, *, cache: Path | None = None
) -> tuple[Item, list[Direction]]:
    """Return the test item with most different right neighbours under three relations, and those.

    Under each of the three it has many links; of equals, the one whose neighbours differ most. So
    it is telling, not typical.
    """
    asked = directions(catalogue.relations)
    hits, right, counts = _top_hits(model, catalogue, asked, cache)
    known = set(model.split.test if model.split else ())
    items = catalogue.items
    rows = [n for n, item in enumerate(items) if item.id in known] or list(range(len(items)))
    rows = [row for row in rows if items[row].image is not None] or rows
    for least in (HITS, 1, 0):
        places = [(row, some) for row in rows for some in _choices(asked, counts[:, row], least)]
        if places:
            row, best = max(places, key=lambda it: _telling(hits[:, it[0]], right[:, it[0]], it[1]))
            return items[row], [asked[place] for place in best]
    raise StoreError("the catalogue has no relations", where=catalogue.name, fix="add relations")


def _top_hits(
    model: Model, catalogue: Catalogue, asked: Sequence[Direction], cache: Path | None
) -> tuple[
    Int[np.ndarray, "directions items hits"],
    Bool[np.ndarray, "directions items hits"],
    Int[np.ndarray, "directions items"],
]:
    """Return every item's nearest rows in each direction, which are linked, and its link counts."""
    tokens = model.encode(catalogue.items, cache=cache)
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    hits, right, counts = [], [], []
    targets = model.condition(tokens, None)
    for direction in asked:
        scores = compare(model.condition(tokens, direction.text), targets, "both").numpy()
        np.fill_diagonal(scores, -np.inf)
        nearest = np.argsort(-scores, axis=1, kind="stable")[:, : min(HITS, len(rows) - 1)]
        links = as_asked(linked(catalogue, direction.relation, rows), direction).toarray() > 0
        hits.append(nearest)
        right.append(np.take_along_axis(links, nearest, axis=1))
        counts.append(links.sum(1))
    return np.stack(hits), np.stack(right), np.stack(counts)


def _choices(
    asked: Sequence[Direction], counts: Int[np.ndarray, " directions"], least: int
) -> Iterator[tuple[int, ...]]:
    """Yield the sets of three directions under each of which an item has `least` links."""
    able = [place for place in range(len(asked)) if counts[place] >= least]
    size = min(RELATIONS, len(asked))
    for some in combinations(able, size) if size else ():
        if len({asked[place].relation for place in some}) == size:
            yield some


def _telling(
    hits: Int[np.ndarray, "directions hits"],
    right: Bool[np.ndarray, "directions hits"],
    some: tuple[int, ...],
) -> tuple[int, int]:
    shown, linked_too = hits[list(some)], right[list(some)]
    return len(set(shown[linked_too].tolist())), len(set(shown.ravel().tolist()))


def _search(store: Store, item: Item, direction: Direction) -> Neighbours:
    return Neighbours(
        direction.text, tuple(store.search(item=item.id, relation=direction.text, k=HITS))
    )


def render_terminal(item: Item, found: Sequence[Neighbours]) -> RenderableType:
    """Return a table with one column for each relation; a check mark for a true link."""
    table = Table(
        title=Text(f"{_name(item)} ({item.id}) under {len(found)} relations"),
        caption="✓ linked in the catalogue under that relation",
        pad_edge=False,
    )
    for one in found:
        table.add_column(Text(f"“{one.relation}”"), ratio=1)
    for rank in range(max((len(one.hits) for one in found), default=0)):
        table.add_row(*(_cell(one, rank) for one in found))
    return table


def _cell(one: Neighbours, rank: int) -> Text:
    if rank >= len(one.hits):
        return Text("")
    hit = one.hits[rank]
    mark = ("✓ ", "bold green") if hit.is_linked else "  "
    return Text.assemble(mark, (f"{hit.score:.2f} ", "dim"), _name(hit))


def render_page(done: Quickstart, store: Store) -> str:
    """Return the neighbours as one HTML page with everything in it but the report it links to."""
    template = resources.files("relatum").joinpath("quickstart.html").read_text("utf-8")
    name, text = escape(_name(done.item)), escape(done.item.text or "")
    columns = "\n".join(
        _column(one, {item.id: item for item in store.items([hit.id for hit in one.hits])})
        for one in done.found
    )
    large = thumbnail(done.item, PICTURE, quality=88)
    return Template(template).substitute(
        name=name,
        text="" if text == name else text,
        picture=_picture(large, f"The item asked about: {_name(done.item)}"),
        relations=len(done.found),
        untrained="The model was not trained on this item. " if _is_test(store.model, done) else "",
        catalogue=escape(store.catalogue),
        count=f"{len(store):,}",
        columns=columns,
        headline=escape(done.headline),
        report=escape(done.report.name),
    )


def _is_test(model: Model, done: Quickstart) -> bool:
    return model.split is not None and done.item.id in model.split.test


def _column(one: Neighbours, items: Mapping[str, Item]) -> str:
    hits = "\n".join(_card(hit, items[hit.id]) for hit in one.hits)
    right = f"{sum(hit.is_linked or False for hit in one.hits)} of {len(one.hits)} linked"
    return (
        f"<section><h2><small>under</small> “{escape(one.relation)}”</h2>"
        f'<p class="right">{right}</p>\n<ol>\n{hits}\n</ol></section>'
    )


def _card(hit: Hit, item: Item) -> str:
    mark = '<span class="mark" role="img" aria-label="linked">✓</span>' if hit.is_linked else ""
    picture = _picture(item.image if isinstance(item.image, bytes) else None, _name(hit))
    return (
        f"<li{' class=linked' if hit.is_linked else ''}>{picture}{mark}"
        f'<span class="name">{escape(_name(hit))}</span>'
        f'<span class="score">{hit.score:.2f}</span></li>'
    )


def _picture(data: bytes | None, alt: str) -> str:
    """Return an `img` with the picture in it, or a box that says there is none."""
    if data is None:
        return '<span class="none">no picture</span>'
    return inline(data, alt)


def _name(thing: Item | Hit) -> str:
    """Return the metadata's name, or the beginning of the text, or the id.

    >>> _name(Item("i1", "A lamp of brass", metadata={"name": "Lamp"})), _name(Item("i2", "A lamp"))
    ('Lamp', 'A lamp')
    """
    name = thing.metadata.get("name")
    if isinstance(name, str) and name.strip():
        return name
    text = " ".join((thing.text or thing.id).split())
    return text if len(text) <= 60 else text[:59].rstrip() + "…"
