"""What a store promises, on a small catalogue and a model trained for ten steps."""

import io
import json
import random
import re
import shutil
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image

import relatum.store
from relatum import Catalogue, Item, Model, train
from relatum.batch import Tokens, Vectors
from relatum.config import Config
from relatum.errors import DataError, RelatumError, StoreError
from relatum.scores import compare
from relatum.store import Hit, Store

Settings = Callable[..., Config]
Passes = Callable[[Mapping[str, Any]], bool]
RELATIONS = (None, "are of the same colour", "is larger than", "look good beside")


@pytest.fixture(scope="module")
def varied(catalogue: Catalogue) -> Catalogue:
    """The shapes, with metadata of every kind."""
    return replace(catalogue, items=tuple(map(_with_metadata, range(16), catalogue.items)))


def _with_metadata(number: int, item: Item) -> Item:
    metadata = dict(item.metadata) | {
        "price": number + 0.5 if number % 3 else None,
        "is_new": number % 2 == 0,
        "tags": ["round", "small"] if number % 4 == 0 else [],
        "mixed": number if number % 2 else {"deep": [number]},
        "vector": "ours has this name too",
        "Text tokens": "no identifier",
        "2nd": "half a pair \ud800",
    }
    return replace(item, metadata=metadata)


@pytest.fixture(scope="module")
def model(varied: Catalogue, settings: Settings, cache: Path) -> Model:
    return train(varied, settings(split__test_items=0.2), cache=cache)


@pytest.fixture(scope="module")
def store(
    model: Model, varied: Catalogue, cache: Path, tmp_path_factory: pytest.TempPathFactory
) -> Store:
    return Store.build(model, varied, tmp_path_factory.mktemp("store") / "store", cache=cache)


def one_line(error: pytest.ExceptionInfo[RelatumError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def dying(original: Callable[..., object], calls: Iterator[bool]) -> Callable[..., object]:
    """Return a function that is killed at the first True of `calls`."""

    def die(*given: object) -> object:
        if next(calls):
            raise KeyboardInterrupt
        return original(*given)

    return die


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


@pytest.mark.parametrize("relation", RELATIONS)
def test_search_agrees_with_scoring_everything(
    store: Store, model: Model, varied: Catalogue, cache: Path, relation: str | None
) -> None:
    tokens = model.encode(varied.items, cache=cache)
    asked = wanted = relation
    if relation == "is larger than":
        wanted = "is smaller than"
    scores = compare(model.condition(tokens, asked), model.condition(tokens, wanted), "both")
    for row, item in enumerate(varied.items):
        hits = store.search(item=item.id, relation=relation, k=50)
        assert len(hits) == len(store) - 1 == 15
        assert [hit.rank for hit in hits] == list(range(1, 16))
        expected = {other.id: float(scores[row, n]) for n, other in enumerate(varied.items)}
        assert [hit.score for hit in hits] == pytest.approx(
            sorted((v for key, v in expected.items() if key != item.id), reverse=True), abs=1e-5
        )
        assert all(hit.score == pytest.approx(expected[hit.id], abs=1e-5) for hit in hits)


@pytest.mark.parametrize("relation", RELATIONS)
def test_an_item_is_never_its_own_hit(store: Store, relation: str | None) -> None:
    assert "i003" not in ids(store.search(item="i003", relation=relation, k=99))
    assert "i003" not in ids(store.search(item="i003", relation=relation, shortlist=1, k=3))


def test_items_without_a_text_or_an_image_are_found_and_asked(
    store: Store, varied: Catalogue
) -> None:
    assert varied.items[9].text is None
    assert varied.items[8].image is None
    found = {hit.id: hit for hit in store.search(item="i000", relation="share a colour", k=99)}
    assert found["i009"].text is None
    assert found["i008"].text == varied.items[8].text
    assert len(store.search(item="i009", k=99)) == len(store.search(item="i008", k=99)) == 15


def test_a_shortlist_keeps_the_nearest_by_null_relation(store: Store) -> None:
    plain = ids(store.search(item="i001", k=4))
    short = store.search(item="i001", relation="have the same shape", k=4, shortlist=4)
    hits = store.search(item="i001", k=99, relation="have the same shape")
    whole = {hit.id: hit.score for hit in hits}
    assert set(ids(short)) == set(plain)
    assert ids(short) == sorted(plain, key=lambda name: -whole[name])
    assert [hit.score for hit in short] == pytest.approx([whole[hit.id] for hit in short], abs=1e-5)


def test_a_directed_relation_conditions_candidates_under_its_inverse(
    store: Store, monkeypatch: pytest.MonkeyPatch
) -> None:
    asked: list[tuple[int, str | None]] = []
    condition = Model.condition

    def spy(self: Model, tokens: Tokens, relation: str | None) -> Vectors:
        asked.append((len(tokens), relation))
        return condition(self, tokens, relation)

    monkeypatch.setattr(Model, "condition", spy)
    forth = store.search(item="i001", relation="is larger than", k=99)
    assert sorted(asked) == [(1, "is larger than"), (15, "is smaller than")]
    asked.clear()
    back = store.search(item="i001", relation="Is  smaller than", k=99)
    assert sorted(asked) == [(1, "is smaller than"), (15, "is larger than")]
    assert {hit.id: hit.score for hit in forth} != {hit.id: hit.score for hit in back}


def test_a_text_or_a_picture_is_asked_like_the_item_that_has_it(
    store: Store, varied: Catalogue
) -> None:
    whole, only_text, only_image = varied.items[1], varied.items[8], varied.items[9]
    assert isinstance(whole.image, Path)
    assert isinstance(only_image.image, Path)
    asked: dict[str, list[dict[str, Any]]] = {
        whole.id: [
            {"text": whole.text, "image": whole.image},
            {"text": whole.text, "image": whole.image.read_bytes()},
            {"text": whole.text, "image": Image.open(whole.image)},
        ],
        only_text.id: [{"text": only_text.text}],
        only_image.id: [{"image": only_image.image}],
    }
    for name, sources in asked.items():
        expected = {h.id: h.score for h in store.search(item=name, relation="share a colour", k=99)}
        for source in sources:
            hits = store.search(**source, relation="share a colour", k=99)
            assert name in ids(hits)
            scores = {hit.id: hit.score for hit in hits if hit.id != name}
            assert scores == pytest.approx(expected, abs=2e-3)  # the store keeps fp16


def test_a_query_stays_out_of_the_token_cache(
    store: Store, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    store.search(text="a small red ball", k=1)
    assert not (tmp_path / "cache").exists()


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("colour = 'green'", lambda m: m["colour"] == "green"),
        ("size >= 2 AND is_new", lambda m: m["size"] >= 2 and m["is_new"]),
        ("price IS NULL", lambda m: m["price"] is None),
        ("array_has(tags, 'round')", lambda m: "round" in m["tags"]),
        ("vector_ LIKE 'ours%'", lambda m: True),
        ("Text_tokens_ = 'no identifier'", lambda m: True),
        ("mixed = '3'", lambda m: m["mixed"] == 3),
        ("colour = 'mauve'", lambda m: False),
    ],
)
@pytest.mark.parametrize("shortlist", [1000, 3])
def test_a_filter_decides_who_can_be_a_hit(
    store: Store,
    varied: Catalogue,
    where: str,
    passes: Passes,
    shortlist: int,
) -> None:
    expected = {i.id for i in varied.items if passes(i.metadata) and i.id != "i000"}
    hits = store.search(item="i000", relation="share a colour", k=99, where=where)
    assert set(ids(hits)) == expected
    some = store.search(item="i000", where=where, k=2, shortlist=shortlist)
    assert ids(some) == ids(store.search(item="i000", where=where, k=99))[:2]


def test_metadata_comes_back_as_it_went_in(store: Store, varied: Catalogue) -> None:
    for item, found in zip(
        varied.items, store.items([item.id for item in varied.items]), strict=True
    ):
        assert (found.id, found.text) == (item.id, item.text)
        assert found.metadata == {**item.metadata, "2nd": "half a pair ?"}
        assert found.image == store.thumbnail(item.id)
    assert store.columns["vector"] == "vector_"
    assert store.columns["2nd"] == "m_2nd"


def test_a_thumbnail_is_a_small_webp(
    model: Model, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (640, 320), "teal").save(tmp_path / "wide.png")
    items = (Item("wide", image=tmp_path / "wide.png"), Item("it's", "a ball"))
    built = Store.build(model, replace(catalogue, items=items), tmp_path / "store", cache=cache)
    with Image.open(io.BytesIO(built.thumbnail("wide") or b"")) as picture:
        assert (picture.format, picture.size) == ("WEBP", (160, 80))
    assert built.thumbnail("it's") is None
    assert ids(built.search(item="it's")) == ["wide"]


def test_an_opened_store_answers_like_the_built_one(store: Store, varied: Catalogue) -> None:
    opened = Store.open(store.path)
    assert opened.relations == varied.relations
    assert len(opened) == 16
    assert opened.search(item="i000", relation="go with") == pytest.approx(
        store.search(item="i000", relation="go with")
    )


def test_many_rows_get_an_approximate_index(
    model: Model, varied: Catalogue, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tuple(replace(item, id=f"{item.id}-{n}") for n in range(20) for item in varied.items)
    monkeypatch.setattr(relatum.store, "INDEX_FROM", 300)
    monkeypatch.setattr(relatum.store, "BATCH", 96)
    built = Store.build(model, replace(varied, items=items), tmp_path / "store", cache=cache)
    assert {index.index_type for index in built._table.list_indices()} == {"IvfHnswSq", "BTree"}
    exact = built.search(item="i000-3", k=19, where="colour = 'red'")
    short = built.search(item="i000-3", k=19, where="colour = 'red'", shortlist=40)
    assert {hit.id for hit in exact} == {f"i000-{n}" for n in range(20) if n != 3}
    assert {hit.id for hit in short} == {hit.id for hit in exact}


def test_another_model_is_refused(
    store: Store, varied: Catalogue, settings: Settings, cache: Path
) -> None:
    other = train(varied, settings(split__test_items=0.2, training__seed=7), cache=cache)
    with pytest.raises(StoreError, match=f"built by model {store.fingerprint}, but the model is"):
        Store.open(store.path, other)


def test_what_is_no_store_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="it has no store.json") as error:
        Store.open(tmp_path / "none")
    assert str(tmp_path / "none") in one_line(error)
    for text, what in (
        ("{", "the manifest is damaged"),
        ("[]", "the manifest is damaged"),
        ('{"format": 1, "fingerprint": "x"}', "the manifest is damaged"),
        (json.dumps({"format": 99}), "store format 99, expected 1"),
    ):
        (tmp_path / "store.json").write_text(text)
        with pytest.raises(StoreError, match=what) as error:
            Store.open(tmp_path, store.model)
        one_line(error)


def test_a_store_without_its_table_is_named(store: Store, tmp_path: Path) -> None:
    folder = tmp_path / "store"
    shutil.copytree(store.path, folder)
    for file in (folder / "items.lance" / "data").iterdir():
        file.unlink()
    opened = Store.open(folder)
    with pytest.raises(StoreError, match="cannot use the items table") as error:
        opened.search(item="i000")
    one_line(error)
    shutil.rmtree(folder / "items.lance")
    with pytest.raises(StoreError, match="cannot use the items table") as error:
        Store.open(folder)
    one_line(error)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"item": "nobody"}, "no item 'nobody' in the store"),
        ({"item": "' OR 1=1 --"}, "no item"),
        ({"item": "i000", "k": 0}, "at least 1, got 0"),
        ({"item": "i000", "shortlist": -1}, "at least 1, got 1 and -1"),
        ({"item": "i000", "relation": " "}, "the relation is empty"),
        ({"item": "i000", "where": "colour = "}, "Expected: an expression, found: EOF"),
        ({"item": "i000", "where": "nonsense = 1"}, "No field named nonsense"),
        ({"item": "i000", "where": "size = 'x'"}, "could not convert"),
        ({"item": "i000", "where": "colour"}, "does not return a boolean"),
        ({"item": "i000", "where": ""}, "Expected: an expression"),
    ],
)
@pytest.mark.parametrize("shortlist", [1000, 2])
def test_a_search_that_cannot_be_answered_says_why(
    store: Store, asked: dict[str, Any], what: str, shortlist: int
) -> None:
    given: dict[str, Any] = {"shortlist": shortlist, "k": 1, **asked}
    with pytest.raises(StoreError, match=re.escape(what)) as error:
        store.search(**given)
    assert ".rs:" not in one_line(error)


def test_an_unreadable_query_picture_says_why(store: Store, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for image in (b"no picture", tmp_path / "broken.png", tmp_path / "missing.png"):
        with pytest.raises(DataError, match="the query: ") as error:
            store.search(image=image)
        assert "--skip-bad" not in one_line(error)
    with pytest.raises(DataError, match="the query has an empty text"):
        store.search(text="  ")


def test_no_source_or_two_is_misuse(store: Store) -> None:
    two: list[dict[str, Any]] = [{"item": "i000", "text": "a"}, {"item": "i000", "image": b""}]
    for sources in [{}, *two]:
        with pytest.raises(ValueError, match="expected one source"):
            store.search(**sources)


def test_a_build_that_dies_leaves_the_old_store(
    model: Model, varied: Catalogue, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = tmp_path / "store"
    before = Store.build(model, varied, path, cache=cache).search(item="i000", k=99)
    fewer = replace(varied, items=varied.items[:12])
    with monkeypatch.context() as patch:
        patch.setattr(relatum.store, "BATCH", 5)
        for room, name in ((relatum.store, "write_file"), (relatum.store, "_write_part")):
            calls = iter([False, False, True] if name == "_write_part" else [True])
            original = getattr(room, name)
            patch.setattr(room, name, dying(original, calls))
            with pytest.raises(KeyboardInterrupt):
                Store.build(model, fewer, path, cache=cache)
            patch.setattr(room, name, original)
            assert [entry.name for entry in tmp_path.iterdir()] == ["store"]
            assert Store.open(path).search(item="i000", k=99) == before
    assert len(Store.build(model, fewer, path, cache=cache)) == len(Store.open(path)) == 12


def test_a_folder_of_other_things_is_not_replaced(
    model: Model, varied: Catalogue, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    for path in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(StoreError, match="not a store, and one would replace it"):
            Store.build(model, varied, path)
    assert (tmp_path / "letter.txt").read_text() == "keep me"


def test_a_bad_picture_stops_a_build(
    model: Model, varied: Catalogue, cache: Path, tmp_path: Path
) -> None:
    bad = replace(varied, items=(*varied.items, Item("bad", image=b"no picture")))
    with pytest.raises(DataError, match="item 'bad'"):
        Store.build(model, bad, tmp_path / "store", cache=cache)
    assert not list(tmp_path.iterdir())


def test_null_relation_vectors_are_in_the_table(
    store: Store, model: Model, varied: Catalogue, cache: Path
) -> None:
    rows = store._table.to_arrow().to_pydict()
    expected = model.condition(model.encode(varied.items, cache=cache), None).both.numpy()
    assert rows["id"] == [item.id for item in varied.items]
    np.testing.assert_allclose(np.array(rows["vector"]), expected, atol=1e-6)
    assert rows["image_tokens"][8] is None
    assert rows["text_tokens"][9] is None


def test_killed_while_it_is_built_the_old_store_stays(
    folder: Path, tiny_clip: Path, tmp_path: Path
) -> None:
    """Kill the command at random moments of a rebuild: what opens is whole, and then it ends."""
    program = [sys.executable, "-m", "relatum.cli"]
    sets = ["tokens.hidden=16", "model.dim=16", "training.steps=3", f"encoder={tiny_clip}"]
    model, cache, store = tmp_path / "model", f"--cache={tmp_path / 'cache'}", tmp_path / "store"
    words = ["train", str(folder), "-o", str(model), cache, *(f"--set={pair}" for pair in sets)]
    subprocess.run([*program, *words], check=True, capture_output=True)
    index = [*program, "index", str(model), str(folder), "-o", str(store), cache]
    begun = time.monotonic()
    subprocess.run(index, check=True, capture_output=True)
    seconds = time.monotonic() - begun
    chance = random.Random(0)
    for _ in range(6):
        process = subprocess.Popen(index, stderr=subprocess.DEVNULL, stdout=subprocess.DEVNULL)
        time.sleep(seconds * chance.uniform(0.5, 1.1))
        process.send_signal(signal.SIGKILL)
        process.wait()
        opened = Store.open(store)
        assert len(opened) == 48
        assert len(opened.search(item="i000", relation="have the same shape", k=5)) == 5
    subprocess.run(index, check=True, capture_output=True)
    assert not list(tmp_path.glob(".store*"))
