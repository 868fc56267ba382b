"""What the quickstart promises, with a small catalogue, ten steps and a stand-in for evaluation."""

import re
from collections.abc import Callable
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from rich.console import Console

import relatum.quickstart
from relatum import Catalogue, Config, Item
from relatum.catalogue import directions
from relatum.model import Model
from relatum.quickstart import (
    Neighbours,
    Quickstart,
    choose_item,
    quickstart,
    render_page,
    render_terminal,
)
from relatum.store import Hit, Store

NASTY = '<script>alert("1")</script> & [bold]$name'
VOID = {"meta", "img", "link", "br", "input"}


class Outcome:
    def save(self, folder: Path) -> None:
        (folder / "report.html").write_text("<p>report")

    def headline(self) -> str:
        return "Hit@5 of 21: 70 < 90."


@pytest.fixture(scope="module")
def monkey() -> pytest.MonkeyPatch:
    return pytest.MonkeyPatch()


@pytest.fixture(scope="module")
def run(
    folder: Path,
    settings: Callable[..., Config],
    cache: Path,
    monkey: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> Callable[[], Quickstart]:
    output = tmp_path_factory.mktemp("quickstart")

    def once() -> Quickstart:
        with monkey.context() as patch:
            patch.setattr(relatum.quickstart, "evaluate", lambda *given, **more: Outcome())
            return quickstart(output, catalogue=folder, config=settings(), cache=cache)

    return once


@pytest.fixture(scope="module")
def done(run: Callable[[], Quickstart]) -> Quickstart:
    return run()


@pytest.fixture(scope="module")
def store(done: Quickstart) -> Store:
    return Store.open(done.store)


class Page(HTMLParser):
    """Collects tags, and checks that they are closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.words: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((tag, dict(attrs)))
        self.open += [] if tag in VOID else [tag]

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag

    def handle_data(self, data: str) -> None:
        self.words.append(data)

    def all(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def test_everything_is_where_it_says(done: Quickstart) -> None:
    assert all(path.exists() for path in (done.model, done.store, done.report, done.page))
    assert done.headline == "Hit@5 of 21: 70 < 90."
    assert len(done.found) == 3
    assert len({one.relation for one in done.found}) == 3


def test_hits_are_what_the_store_answers(done: Quickstart, store: Store) -> None:
    for one in done.found:
        hits = store.search(item=done.item.id, relation=one.relation, k=6)
        assert [hit.id for hit in one.hits] == [hit.id for hit in hits]
        assert done.item.id not in {hit.id for hit in one.hits}


def test_check_marks_stand_for_true_links(done: Quickstart, catalogue: Catalogue) -> None:
    metadata = {item.id: item.metadata for item in catalogue.items}
    colour = metadata[done.item.id]["colour"]
    for one in done.found:
        if one.relation == "are of the same colour":
            right = {hit.id for hit in one.hits if metadata[hit.id]["colour"] == colour}
            assert {hit.id for hit in one.hits if hit.is_linked} == right


def test_a_second_run_uses_the_first(
    done: Quickstart, run: Callable[[], Quickstart], monkeypatch: pytest.MonkeyPatch
) -> None:
    def build(*given: object, **more: object) -> None:
        raise AssertionError("the store was built again")

    page, before = done.page.read_text(), (done.store / "store.json").stat().st_mtime_ns
    monkeypatch.setattr(Store, "build", build)
    again = run()
    assert again.item.id == done.item.id
    assert again.page.read_text() == page
    assert (again.store / "store.json").stat().st_mtime_ns == before


def test_the_item_is_a_test_item_with_links_under_each_relation(
    done: Quickstart, catalogue: Catalogue, cache: Path
) -> None:
    model = Model.load(done.model)
    item, asked = choose_item(model, catalogue, cache=cache)
    assert (item.id, [it.text for it in asked]) == (
        done.item.id,
        [one.relation for one in done.found],
    )
    assert model.split is not None
    assert item.id in model.split.test
    assert len({direction.relation for direction in asked}) == 3


def test_fewer_relations_than_three_are_all_shown(
    done: Quickstart, catalogue: Catalogue, cache: Path
) -> None:
    few = replace(catalogue, relations=catalogue.relations[:2])
    _, asked = choose_item(Model.load(done.model), few, cache=cache)
    assert asked == directions(few.relations)


def test_the_page_needs_nothing_from_elsewhere(done: Quickstart) -> None:
    page = Page(done.page.read_text(encoding="utf-8"))
    assert page.open == []
    assert not {tag for tag, _ in page.tags} & {"script", "link", "iframe"}
    assert all((image["src"] or "").startswith("data:image/webp;") for image in page.all("img"))
    assert all(image["alt"] for image in page.all("img"))
    assert [link["href"] for link in page.all("a")] == ["report.html", "report.html"]
    assert not re.search(r"https?:|url\(|@import", done.page.read_text(encoding="utf-8"))


def test_the_page_shows_three_columns_under_one_heading(done: Quickstart) -> None:
    page = Page(done.page.read_text(encoding="utf-8"))
    assert len(page.all("h1")) == len(page.all("main")) == 1
    assert len(page.all("section")) == len(page.all("h2")) == len(page.all("ol")) == 3
    assert len(page.all("li")) == sum(len(one.hits) for one in done.found)
    marks = [mark for mark in page.all("span") if mark.get("aria-label") == "linked"]
    assert len(marks) == sum(hit.is_linked or False for one in done.found for hit in one.hits)
    assert "70 < 90" in "".join(page.words)


def test_text_is_escaped_everywhere(done: Quickstart, store: Store) -> None:
    one = done.found[0]
    hits = tuple(replace(hit, text=NASTY, metadata={"name": NASTY}) for hit in one.hits)
    nasty = replace(
        done,
        item=replace(done.item, text=NASTY, metadata={"name": NASTY}),
        found=(Neighbours(NASTY, hits),),
        headline=NASTY,
    )
    text = render_page(nasty, store)
    assert "<script" not in text
    assert Page(text).open == []
    assert "".join(Page(text).words).count('<script>alert("1")</script> & [bold]$name') >= 9


def test_items_without_a_picture_have_a_box(done: Quickstart, store: Store) -> None:
    without = next(it for it in store.items(["i008"]) if it.image is None)
    hit = Hit(1, without.id, 0.5, None, without.text, without.metadata)
    bare = replace(done, item=Item("bare", "a ball"), found=(Neighbours("go with", (hit,)),))
    assert render_page(bare, store).count("no picture") == 2


def test_the_terminal_shows_relations_side_by_side(done: Quickstart) -> None:
    console = Console(width=160, record=True, file=None, quiet=False, force_terminal=False)
    with console.capture() as captured:
        console.print(done.terminal())
    lines = captured.get().splitlines()
    assert any(all(f"“{one.relation}”" in line for one in done.found) for line in lines)
    first = [f"{one.hits[0].score:.2f}" for one in done.found]
    assert any(all(score in line for score in first) for line in lines)
    marks = sum(line.count("✓ 0") + line.count("✓ 1") for line in lines)
    assert marks == sum(hit.is_linked or False for one in done.found for hit in one.hits)


def test_the_terminal_takes_brackets_as_they_are(done: Quickstart) -> None:
    item = replace(done.item, metadata={"name": "[red]lamp[/]"})
    console = Console(width=120)
    with console.capture() as captured:
        console.print(render_terminal(item, done.found))
    assert "[red]lamp[/]" in captured.get()
