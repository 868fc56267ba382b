"""What a store promises, on a small catalogue and a model trained for some steps."""

import io
import json
import re
import shutil
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from PIL import Image

from conftest import Settings
from relatum import Catalogue, Item, Model, train
from relatum.catalogue import directions
from relatum.errors import DataError, RelatumError, StoreError
from relatum.scores import compare
from relatum.store import Hit, Store, build, calibration, view
from relatum.store.columns import Columns
from relatum.store.manifest import FORMAT

COLOUR = "are of the same colour"
RELATIONS = (None, COLOUR, "is larger than", "look good beside")


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
        "Rec ord": "no identifier",
        "Rec_ord": "no identifier",
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


def test_every_line_has_that_of_all_pairs_as_its_prior_and_none_relation_has_one(
    varied: Catalogue, settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain = tuple(relation for relation in varied.relations if not relation.directed)
    varied = replace(varied, relations=plain, links=())
    model = train(varied, settings(split__test_items=0.1, split__validation_items=0.3), cache=cache)
    fit, fits = calibration.fit_line, []

    def spy(*given: Any) -> calibration.Line | None:  # noqa: ANN401
        fits.append((given[1:], fit(*given)))
        return fits[-1][1]

    monkeypatch.setattr(calibration, "fit_line", spy)
    items = {item.id: item for item in varied.items}
    vectors = model.condition(model.encode(varied.items, cache=cache), None).both
    made = calibration.calibrate(
        model,
        varied,
        lambda ids: model.encode([items[name] for name in ids], cache=cache),
        ([item.id for item in varied.items], vectors),
    )
    assert [*made.kinds] == ["both", "text", "image"]
    count = len(varied.relations) + 1
    for lines, start in zip(made.kinds.values(), range(0, len(fits), count + 2), strict=True):
        (common, whole), (blind, others), *known = fits[start : start + count + 2]
        assert common == blind == () and others == lines.others and others[1] == 0
        assert {given[0] for given, _ in known} == {whole}
        assert [line for _, line in known if line] == [*lines.known.values()] and "" in lines.known


def test_what_is_found_may_be_a_sample_that_lacks_who_asks(
    model: Model, varied: Catalogue, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert model.split is not None
    asked = [item.id for item in varied.items if item.id in {*model.split.validation}]
    found = [item for item in varied.items if item.id not in asked[::2]][::2]
    names = {item.id: item for item in varied.items}
    groups = [{*group.items} for group in varied.groups if group.relation == "colour"]
    count, seen = calibration.count_scores, []
    monkeypatch.setattr(
        calibration, "count_scores", lambda *given: seen.append(given) or count(*given)
    )
    calibration.calibrate(
        model,
        varied,
        lambda ids: model.encode([names[name] for name in ids], cache=cache),
        (
            [item.id for item in found],
            model.condition(model.encode(found, cache=cache), None).both,
        ),
    )
    ways = [way.text for way in directions(model.relations)]
    assert len(seen) == 3 * (len(ways) + 1)
    scores, links, is_pair, reach = seen[3 * ways.index(COLOUR) + 1]  # asked by texts alone
    asked = [one for one in asked if names[one].text is not None]
    assert scores.shape == links.shape == is_pair.shape == (len(asked), len(found))
    assert reach.shape == (len(asked),)
    for row, one in enumerate(asked):
        for column, other in enumerate(found):
            assert is_pair[row, column] == (one != other.id)
            together = any({one, other.id} <= group for group in groups)
            assert links[row, column] == (together and one != other.id)


def one_line(error: pytest.ExceptionInfo[RelatumError]) -> str:
    assert "\n" not in str(error.value)
    return str(error.value)


def ids(hits: list[Hit]) -> list[str]:
    return [hit.id for hit in hits]


def agrees(store: Store, catalogue: Catalogue, cache: Path, error: float) -> None:
    """Compare a search from every item with scoring everything."""
    tokens = store.model.encode(catalogue.items, cache=cache)
    plain = store.model.condition(tokens, None)
    for relation in RELATIONS:
        scores = compare(store.model.condition(tokens, relation), plain, "both")
        for row in (0, 8, 9):  # both, a text, a picture
            item = catalogue.items[row]
            hits = store.search(item=item.id, relation=relation, k=50)
            assert [hit.rank for hit in hits] == list(range(1, len(catalogue.items)))
            expected = {it.id: float(scores[row, n]) for n, it in enumerate(catalogue.items)}
            del expected[item.id]
            assert {hit.id: hit.score for hit in hits} == pytest.approx(expected, abs=error)
            best = sorted(expected.values(), reverse=True)
            assert [hit.score for hit in hits] == pytest.approx(best, abs=error)


def test_search_agrees_with_scoring_everything(
    store: Store, varied: Catalogue, cache: Path
) -> None:
    agrees(store, varied, cache, 1e-5)
    assert varied.items[9].text is None and varied.items[8].image is None


def test_a_store_keeps_the_tokens_where_the_model_looks_at_them(
    varied: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    chosen = settings(split__test_items=0.2, model__beta=0.5)
    model = train(varied, chosen, cache=cache)
    agrees(Store.build(model, varied, tmp_path / "store", cache=cache), varied, cache, 0.05)


def test_a_text_or_a_picture_is_asked_like_the_item_that_has_it(
    store: Store, varied: Catalogue, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("RELATUM_CACHE", str(tmp_path / "cache"))
    whole, only_text, only_image = varied.items[1], varied.items[8], varied.items[9]
    assert isinstance(whole.image, Path) and isinstance(only_image.image, Path)
    asked: list[tuple[str, dict[str, Any]]] = [
        (whole.id, {"text": whole.text, "image": whole.image}),
        (whole.id, {"text": whole.text, "image": whole.image.read_bytes()}),
        (whole.id, {"text": whole.text, "image": Image.open(whole.image)}),
        (only_text.id, {"text": only_text.text}),
        (only_image.id, {"image": only_image.image}),
    ]
    for name, source in asked:
        expected = {h.id: h.score for h in store.search(item=name, relation="share a colour", k=99)}
        scores = {h.id: h.score for h in store.search(**source, relation="share a colour", k=99)}
        assert len(scores) == 16 and scores.pop(name)
        assert scores == pytest.approx(expected, abs=1e-3)
    assert not (tmp_path / "cache").exists()  # a query is nobody else's business


@pytest.mark.parametrize(
    ("where", "passes"),
    [
        ("colour = 'green'", lambda m: m["colour"] == "green"),
        ("size >= 2 AND is_new", lambda m: m["size"] >= 2 and m["is_new"]),
        ("price IS NULL", lambda m: m["price"] is None),
        ("array_has(tags, 'round')", lambda m: "round" in m["tags"]),
        ("vector_ LIKE 'ours%'", lambda m: True),
        ("Rec_ord_ = 'no identifier' AND Rec_ord = 'no identifier'", lambda m: True),
        ("mixed = '3'", lambda m: m["mixed"] == 3),
        ("colour = 'mauve'", lambda m: False),
    ],
)
def test_a_filter_decides_who_can_be_a_hit(
    store: Store, varied: Catalogue, where: str, passes: Callable[[Mapping[str, Any]], bool]
) -> None:
    expected = {i.id for i in varied.items if passes(i.metadata) and i.id != "i000"}
    hits = store.search(item="i000", relation="share a colour", k=99, where=where)
    assert set(ids(hits)) == expected
    assert ids(store.search(item="i000", relation="share a colour", where=where, k=2)) == ids(
        hits[:2]
    )


def test_metadata_comes_back_as_it_went_in(store: Store, varied: Catalogue) -> None:
    found = store.items([item.id for item in varied.items])
    for item, back in zip(varied.items, found, strict=True):
        assert (back.id, back.text) == (item.id, item.text)
        assert back.metadata == {**item.metadata, "2nd": "half a pair ?"}
        assert back.image == store.thumbnail(item.id)
    assert store.columns["vector"] == "vector_"
    assert store.columns["2nd"] == "m_2nd"


def test_a_thumbnail_is_a_small_webp(
    model: Model, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    Image.new("RGB", (640, 320), "teal").save(tmp_path / "wide.png")
    items = (Item("wide", image=tmp_path / "wide.png"), Item("it's", "a ball"))
    few = replace(catalogue, items=items, groups=(), links=())
    built = Store.build(model, few, tmp_path / "store", cache=cache)
    with Image.open(io.BytesIO(built.thumbnail("wide") or b"")) as picture:
        assert (picture.format, picture.size) == ("WEBP", (160, 80))
    assert built.thumbnail("it's") is None
    assert ids(built.search(item="it's")) == ["wide"]


def test_an_opened_store_answers_like_the_built_one(store: Store, varied: Catalogue) -> None:
    opened = Store.open(store.path)
    assert opened.relations == varied.relations and len(opened) == 16
    assert opened.search(item="i000", relation="go") == store.search(item="i000", relation="go")


def test_many_rows_get_an_index(
    model: Model, varied: Catalogue, cache: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    items = tuple(replace(item, id=f"{item.id}-{n}") for n in range(20) for item in varied.items)
    monkeypatch.setattr(view, "INDEX_FROM", 300)
    monkeypatch.setattr(build, "BATCH", 96)
    many = replace(varied, items=items, groups=(), links=())
    built = Store.build(model, many, tmp_path / "store", cache=cache)
    assert {index.index_type for index in built._table.list_indices()} == {"IvfSq", "BTree"}
    found = built.search(item="i000-3", k=19, where="colour = 'red'")
    assert {hit.id for hit in found} == {f"i000-{n}" for n in range(20) if n != 3}
    assert len(built.search(item="i000-3", k=500)) == 319
    built.add([replace(varied.items[0], id="new")], cache=cache)
    built.delete(["i000-3", "i000-4"])
    for _ in range(2):
        hits = built.search(item="new", k=18)
        assert {hit.id for hit in hits} == {f"i000-{n}" for n in range(20) if n not in (3, 4)}
        built.optimize()
    pages = [built.search(item="new", k=50, offset=n) for n in range(0, 350, 50)]
    assert len({hit.id for page in pages for hit in page}) == 318 == sum(map(len, pages))


def test_another_model_is_refused(
    store: Store, varied: Catalogue, settings: Settings, cache: Path
) -> None:
    other = train(varied, settings(split__test_items=0.2, training__seed=7), cache=cache)
    with pytest.raises(StoreError, match=f"built by model {store.fingerprint}, but the model is"):
        Store.open(store.path, other)


def test_a_model_of_another_version_is_named_where_the_store_has_it(
    store: Store, tmp_path: Path
) -> None:
    shutil.copytree(store.path, tmp_path / "old")
    kept = tmp_path / "old" / f"model-{store.fingerprint}" / "relatum.json"
    kept.write_text(json.dumps({**json.loads(kept.read_text()), "format": 1}))
    with pytest.raises(StoreError, match="model format 1") as error:
        Store.open(tmp_path / "old")
    assert one_line(error).startswith(f"{kept}: ") and "build the store again" in one_line(error)


def test_what_is_no_store_is_named(store: Store, tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="it has no store.json") as error:
        Store.open(tmp_path / "none")
    assert str(tmp_path / "none") in one_line(error)
    for text, what in (
        ("{", "the manifest is damaged"),
        ("[]", "the manifest is damaged"),
        (json.dumps({"format": FORMAT, "fingerprint": "x"}), "the manifest is damaged"),
        (json.dumps({"format": 2}), f"store format 2, expected {FORMAT}"),
    ):
        (tmp_path / "store.json").write_text(text)
        with pytest.raises(StoreError, match=what) as error:
            Store.open(tmp_path, store.model)
        one_line(error)
    folder = tmp_path / "store"
    shutil.copytree(store.path, folder)
    (table,) = folder.glob("items-*.lance")
    for file in (table / "data").iterdir():
        file.unlink()
    opened = Store.open(folder)
    with pytest.raises(StoreError, match="cannot use the items table"):
        opened.search(item="i000")
    shutil.rmtree(table)
    with pytest.raises(StoreError, match="cannot use the items table"):
        Store.open(folder)


@pytest.mark.parametrize(
    ("asked", "what"),
    [
        ({"item": "nobody"}, "no item 'nobody' in the store"),
        ({"item": "' OR 1=1 --"}, "no item"),
        ({"item": "i000", "k": 0}, "at least 1"),
        ({"item": "i000", "offset": -1}, "at least 0"),
        ({"item": "i000", "min_score": 1.5}, "in [0, 1], got 1.5"),
        ({"item": "i000", "relation": " "}, "the relation is empty"),
        ({"item": "i000", "relation": {" ": 1.0}}, "the relation is empty"),
        ({"item": "i000", "relation": {COLOUR: 0.0}}, "not all 0"),
        ({"item": "i000", "relation": {COLOUR: float("nan")}}, "finite weights"),
        ({"item": "i000", "where": "colour = "}, "Expected: an expression, found: EOF"),
        ({"item": "i000", "where": "nonsense = 1"}, "no column nonsense; there are id, text, "),
        ({"item": "i000", "where": "lower(nonsense) = 'a'"}, "no column nonsense; "),
        ({"item": "i000", "where": 'colour = "red"'}, "a text stands in single quotes"),
        ({"item": "i000", "where": "size = 'x'"}, "could not convert"),
        ({"item": "i000", "where": "colour"}, "does not return a boolean"),
        ({"item": "i000", "where": ""}, "Expected: an expression"),
    ],
)
def test_a_search_that_cannot_be_answered_says_why(
    store: Store, asked: dict[str, Any], what: str
) -> None:
    with pytest.raises(StoreError, match=re.escape(what)) as error:
        store.search(**asked)
    assert ".rs:" not in one_line(error) and "thumbnail" not in one_line(error)


def test_a_bad_source_says_why(store: Store, tmp_path: Path) -> None:
    (tmp_path / "broken.png").write_bytes(b"no picture")
    for image in (b"no picture", tmp_path / "broken.png", tmp_path / "missing.png"):
        with pytest.raises(DataError, match="the query: ") as error:
            store.search(image=image)
        assert "--skip-bad" not in one_line(error)
    with pytest.raises(DataError, match="the query has an empty text"):
        store.search(text="  ")
    two: list[dict[str, Any]] = [{"item": "i000", "text": "a"}, {"item": "i000", "image": b""}]
    for sources in [{}, *two]:
        with pytest.raises(ValueError, match="expected one source"):
            store.search(**sources)


def test_a_uri_is_a_place_like_a_folder(
    model: Model, varied: Catalogue, cache: Path, tmp_path: Path
) -> None:
    uri = (tmp_path / "store").as_uri()
    built = Store.build(model, varied, uri, cache=cache)
    built.add([Item("new", "red ball")], cache=cache)
    assert len(Store.open(uri)) == 17
    assert ids(Store.open(uri).search(item="new", k=3)) == ids(built.search(item="new", k=3))


def test_a_place_of_other_things_is_not_replaced(
    model: Model, varied: Catalogue, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "letter.txt").write_text("keep me")
    for path in (tmp_path, tmp_path / "letter.txt"):
        with pytest.raises(StoreError, match="not a store, and one would replace it"):
            Store.build(model, varied, path)
    assert (tmp_path / "letter.txt").read_text() == "keep me"
    bad = replace(varied, items=(*varied.items, Item("bad", image=b"no picture")))
    with pytest.raises(DataError, match="item 'bad'"):
        Store.build(model, bad, tmp_path / "store", cache=cache)
    with pytest.raises(StoreError, match="its build has not ended; the same relatum index goes on"):
        Store.open(tmp_path / "store")
    assert len(Store.build(model, varied, tmp_path / "store", cache=cache)) == 16


def test_a_text_is_no_list_of_letters() -> None:
    columns = Columns.plan([Item("a", "x", metadata={"tags": ["red", "big"]})])
    with pytest.raises(StoreError, match=r"'tags': expected a list of texts, got 'red'"):
        columns.arrays([Item("b", "x", metadata={"tags": "red"})])
