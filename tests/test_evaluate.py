"""Evaluation from end to end on a small catalogue, and its parts against plain loops."""

import json
import math
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image, ImageDraw

from relatum.batch import Part, Tokens
from relatum.catalogue import Catalogue, Direction, Group, Link, Relation, Split
from relatum.checkpoint import MANIFEST
from relatum.config import Config
from relatum.errors import DataError
from relatum.evaluate import Report, evaluate, notes, sections, summary
from relatum.evaluate.baselines import (
    FROZEN,
    alone_method,
    constant_method,
    frozen_method,
    wrong_directions,
)
from relatum.evaluate.plots import draw_bars, place, spread_apart
from relatum.evaluate.report import show, tables
from relatum.evaluate.sections import ask
from relatum.evaluate.summary import FEW, Difference, Number
from relatum.items import Item
from relatum.model import Model
from relatum.protocols.questions import Questions
from relatum.protocols.retrieval import METRICS, Outcome
from relatum.scores import WAYS
from relatum.train import train

COUNT = 60
SYLLABLES = ("ba", "ko", "mi", "ru", "sel", "tan", "vo", "zer")
CONFIG = Config(
    split={"test_items": 0.5, "held_out_groups": 0.3, "held_out_relations": ("owner",)},
    tokens={"hidden": 32, "image_side": 2, "text_tokens": 8},
    model={"dim": 32},
    training={"steps": 10, "pools": 2, "pool_size": 16, "validate_every": 5},
)


def _id(row: int) -> str:
    return f"i{row:02}"


def _item(row: int, folder: Path) -> Item:
    text = f"{SYLLABLES[row % 8]}{SYLLABLES[row // 8]} of {SYLLABLES[row % 7]}na"
    if row % 10 == 3:
        return Item(_id(row), text)  # an item without a picture
    picture = Image.new("RGB", (48, 48), "white")
    colour = (25 * (row % 10), 255 - 20 * (row % 10), 60)
    ImageDraw.Draw(picture).ellipse((4, 4, 14 + row // 2, 44), fill=colour)
    picture.save(folder / f"{row}.png")
    return Item(_id(row), None if row % 10 == 7 else text, folder / f"{row}.png")


def _groups(relation: str, count: int, text: str) -> list[Group]:
    return [
        Group(
            relation, f"{g}", tuple(_id(r) for r in range(COUNT) if r % count == g), f"{text} {g}"
        )
        for g in range(count)
    ]


@pytest.fixture(scope="module")
def catalogue(tmp_path_factory: pytest.TempPathFactory) -> Catalogue:
    folder = tmp_path_factory.mktemp("pictures")
    relations = (
        Relation("colour", "are <painted> in the same colour"),
        Relation("shelf", "stand on the same shelf"),
        Relation("next", "stands left of", directed=True, inverse="stands right of"),
        Relation("owner", "belong to the same owner"),
    )
    groups = [
        *_groups("colour", 10, "both are painted in colour"),
        *_groups("shelf", 12, "both stand on shelf"),
        *_groups("owner", 15, "both belong to owner"),
    ]
    links = [
        Link(_id(row), "next", _id(later))
        for row in range(COUNT)
        for later in (row + 1, row + 2, row + 4)
        if later < COUNT
    ]
    items = tuple(_item(row, folder) for row in range(COUNT))
    return Catalogue("tiny", items, relations, tuple(groups), tuple(links))


@pytest.fixture(scope="module")
def cache(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("cache")


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("report")


@pytest.fixture(scope="module")
def model(catalogue: Catalogue, cache: Path) -> Model:
    return train(catalogue, CONFIG, cache=cache)


@pytest.fixture(scope="module")
def report(model: Model, catalogue: Catalogue, folder: Path, cache: Path) -> Report:
    return evaluate(model, catalogue, folder=folder, cache=cache)


@pytest.fixture(scope="module")
def twin(report: Report, folder: Path) -> Model:
    assert report.sections
    return Model.load(folder / "unconditioned")


def _split(model: Model) -> Split:
    assert model.split is not None
    return model.split


def test_all_methods_stand_in_one_table(report: Report) -> None:
    rows = [(row.method, row.way) for row in report.sections[0].rows]
    assert rows == [
        *((name, way) for way, name in FROZEN.items()),
        ("TF-IDF", "both"),
        ("null relation", "both"),
        ("constant relation", "both"),
        *(("unconditioned", way) for way in (*WAYS, "T", "I")),
        ("shuffled relations", "both"),
        *(("conditioned", way) for way in (*WAYS, "T", "I")),
    ]
    assert all(tuple(row.numbers) == METRICS for row in report.sections[0].rows)


def test_numbers_lie_in_their_intervals(report: Report) -> None:
    for section in report.sections:
        for row in section.rows:
            for number in row.numbers.values():
                assert 0 <= number.low <= number.value <= number.high <= 1


def test_the_test_items_are_asked_and_none_was_trained_on(report: Report, model: Model) -> None:
    split = _split(model)
    assert report.facts["items asked about"] == len(split.test) == report.sections[0].candidates
    assert report.facts["training items"] == len(split.train)
    assert report.facts["training items asked about"] == 0
    assert f"{len(split.test)} of {COUNT} items" in report.notes[0]


def test_sections_keep_seen_and_unseen_apart(report: Report, model: Model) -> None:
    titles = [section.title for section in report.sections]
    assert titles == ["Relations seen in training", "Unseen groups", "Unseen relations"]
    names = [{row.name for row in section.relations} for section in report.sections]
    assert names[0] == {"colour", "shelf", "next", "next (inverse)"}
    assert names[1] and names[1] <= set(_split(model).groups_held_out)
    assert names[2] == {"owner"}


def test_relations_of_another_catalogue_are_not_called_seen(
    catalogue: Catalogue, model: Model
) -> None:
    split, ids = _split(model), [item.id for item in catalogue.items]
    known = {relation.text for relation in model.relations}
    titles = [one.title for one in ask(catalogue, ids, split, 0, known)]
    assert titles[0] == "Relations seen in training"
    renamed = tuple(replace(one, text=f"{one.text}, say") for one in catalogue.relations)
    elsewhere = replace(catalogue, relations=renamed)
    titles = [one.title for one in ask(elsewhere, ids, split, 0, known)]
    assert "Relations seen in training" not in titles and titles[-1] == "Unseen relations"


def test_counts_add_up(report: Report) -> None:
    for section in report.sections:
        assert section.queries == sum(row.queries for row in section.relations) > 0
        assert section.left_out == sum(row.left_out for row in section.relations)


def test_the_best_frozen_encoder_is_the_best_by_each_measure(report: Report) -> None:
    section = report.sections[0]
    for metric in METRICS:
        values = {
            n: r.numbers[metric].value
            for n in FROZEN.values()
            for r in section.rows
            if r.method == n
        }
        assert values[section.best_frozen[metric]] == max(values.values())
        assert section.best(metric).value == max(values.values())


def test_differences_are_those_of_the_table(report: Report) -> None:
    section = report.sections[0]
    own = section.find("conditioned")
    assert own is not None
    against = [difference.against for difference in section.differences]
    assert {"unconditioned", "best frozen"} <= set(against)
    for difference in section.differences:
        other = section.find(difference.against)
        for metric, number in difference.numbers.items():
            left = other.numbers[metric] if other else section.best(metric)
            assert number.value == pytest.approx(own.numbers[metric].value - left.value)
            assert number.low <= number.value <= number.high


def test_the_mean_of_the_directions_is_the_mean_of_the_table(report: Report) -> None:
    section = report.sections[0]
    for method in ("unconditioned", "conditioned"):
        row = section.find(method)
        assert row is not None
        values = [one.numbers[method]["hit@5"].value for one in section.relations]
        assert row.numbers["hit@5"].value == pytest.approx(sum(values) / len(values))


def _refuse(word: str) -> None:
    raise AssertionError(f"{word} is not JSON")


def test_json_holds_everything_but_the_plots(report: Report) -> None:
    values = json.loads(report.to_json(), parse_constant=_refuse)
    assert values["catalogue"] == "tiny" and values["headline"] == report.headline()
    first = values["sections"][0]["rows"][0]
    assert (first["method"], first["way"]) == ("frozen text", "TT")
    number = report.sections[0].rows[0].numbers["hit@5"]
    assert first["numbers"]["hit@5"]["value"] == number.value
    assert values["notes"] == report.notes and "plots" not in values


def test_what_is_not_a_number_is_null_in_json(report: Report) -> None:
    section = report.sections[0]
    nothing = Number(math.nan, math.nan, math.inf)
    row = replace(section.rows[0], numbers=dict.fromkeys(METRICS, nothing))
    broken = replace(report, sections=[replace(section, rows=[row, *section.rows[1:]])])
    values = json.loads(broken.to_json(), parse_constant=_refuse)
    assert values["sections"][0]["rows"][0]["numbers"]["mrr"] == dict.fromkeys(
        ("value", "low", "high")
    )


def test_markdown_tells_every_number_and_note(report: Report) -> None:
    text = report.to_markdown()
    for section in report.sections:
        assert f"## {section.title}\n" in text
        for row in section.rows:
            line = next(
                t for t in text.splitlines() if t.startswith(f"| {row.method} | {row.way} |")
            )
            assert line.count("|") == len(METRICS) + 3
    own = report.sections[0].find("conditioned")
    assert own is not None
    assert show("hit@5", own.numbers["hit@5"]) in text
    assert all(f"- {note}\n" in text for note in report.notes)
    assert "are <painted> in the same colour" in text


def test_html_stands_alone_and_follows_the_reader(report: Report) -> None:
    page = report.to_html()
    assert page.startswith("<!doctype html>") and page.count("<svg") == len(report.plots) == 2
    for outside in ("<script", "<link", 'src="http', 'href="http', "url(http", "@import"):
        assert outside not in page
    assert "prefers-color-scheme: dark" in page and "currentColor" in page
    assert "are &lt;painted&gt; in the same colour" in page and "<painted>" not in page
    assert "What to keep in mind" in page and "$" not in page
    assert "data:image/png;base64," in page  # the items' pictures on the map


def test_directions_of_few_queries_are_named(report: Report, catalogue: Catalogue) -> None:
    first, *rest = report.sections[0].relations
    some = [replace(first, queries=3), *(replace(one, queries=99) for one in rest)]
    main = replace(report.sections[0], relations=some)
    told = replace(report, sections=[main]).headline()
    assert told.endswith(f"; 1 of {len(some)} directions have fewer than {FEW} queries.")
    asked = notes.Tested([], [], "some")
    told_of = notes.write_notes(report.facts, catalogue, asked, [main])
    (note,) = [note for note in told_of if "count as much" in note]
    mean = 100 * np.mean([one.numbers["conditioned"]["hit@5"].value for one in rest])
    assert f"{first.name} (3). Without them" in note and f"{mean:.1f} / " in note
    many = replace(main, relations=[replace(one, queries=99) for one in some])
    told_of = notes.write_notes(report.facts, catalogue, asked, [many])
    assert not any("count as much" in note for note in told_of)
    assert "directions" not in replace(report, sections=[many]).headline()
    table = tables(main)[-1].rows
    mine = [row for row in table if row[1] == "conditioned"]
    assert "[" not in mine[0][-1] and all("[" in row[-1] for row in mine[1:])


def test_directions_in_which_nothing_is_shown_are_named(
    report: Report, catalogue: Catalogue
) -> None:
    def write(own: tuple[float, float], null: float) -> str:
        numbers = {"hit@5": Number(own[0], own[1], 1.0), "other hit@5": Number(own[0], own[1], 1.0)}
        plain = {name: Number(null, null, null) for name in numbers}
        first, *rest = report.sections[0].relations
        strong = {
            "null relation": plain,
            "conditioned": {n: Number(1.0, 1.0, 1.0) for n in numbers},
        }
        one = replace(first, numbers={"null relation": plain, "conditioned": numbers}, queries=FEW)
        others = [replace(other, numbers=strong) for other in rest]
        main = replace(report.sections[0], relations=[one, *others])
        told = notes.write_notes(report.facts, catalogue, notes.Tested([], [], "some"), [main])
        return "\n".join(
            note for note in told if "above chance" in note or "cost something" in note
        )

    name = report.sections[0].relations[0].name
    assert f"above chance in: {name} (" in write((0.4, 0.2), 0.3)
    assert f"cost something there, in: {name} (40.0, 50.0 %)." in write((0.4, 0.3), 0.5)
    assert write((0.4, 0.3), 0.3) == ""


def test_a_measure_in_which_the_method_is_behind_is_named(
    report: Report, catalogue: Catalogue
) -> None:
    def write(low: float, high: float) -> list[str]:
        number = Number((low + high) / 2, low, high)
        behind = Difference("conditioned", "unconditioned", {"full mrr": number})
        main = replace(report.sections[0], differences=[behind])
        told = notes.write_notes(report.facts, catalogue, notes.Tested([], [], "some"), [main])
        return [note for note in told if note.startswith("Behind")]

    (note,) = write(-0.04, -0.02)
    assert "MRR, all items, against unconditioned (-0.030 [-0.040, -0.020])" in note
    assert not write(-0.04, 0.0)


def test_the_headline_is_one_sentence_with_numbers(report: Report) -> None:
    told = report.headline()
    section = report.sections[0]
    assert "\n" not in told and told.endswith(".")
    for name in ("conditioned", "unconditioned"):
        row = section.find(name)
        assert row is not None
        assert f"{show('hit@5', row.numbers['hit@5'])} {name}" in told
    assert show("other hit@5", section.best("other hit@5")) in told
    assert f"{section.queries:,} queries" in told


def test_save_writes_three_files(report: Report, tmp_path: Path) -> None:
    report.save(tmp_path / "new")
    found = sorted(path.name for path in (tmp_path / "new").iterdir())
    assert found == ["report.html", "report.json", "report.md"]
    assert (tmp_path / "new" / "report.json").read_text(encoding="utf-8") == report.to_json()


def test_the_twin_is_the_same_model_without_conditioning(twin: Model, model: Model) -> None:
    assert not twin.config.model.conditioned and twin.split == model.split
    assert twin.config.model_copy(update={"model": model.config.model}) == model.config


def test_a_second_evaluation_is_the_same_and_trains_nothing(
    report: Report, model: Model, catalogue: Catalogue, folder: Path, cache: Path
) -> None:
    stages: set[str] = set()
    again = evaluate(
        model, catalogue, folder=folder, cache=cache, report=lambda stage, *_: stages.add(stage)
    )
    assert again.to_json() == report.to_json() and again.to_html() == report.to_html()
    assert "unconditioned: train" not in stages
    assert any(stage.startswith("evaluate") for stage in stages)


def test_a_damaged_twin_is_made_again(
    report: Report, model: Model, catalogue: Catalogue, cache: Path, tmp_path: Path
) -> None:
    (tmp_path / "unconditioned").mkdir()
    (tmp_path / "unconditioned" / MANIFEST).write_text("{")
    assert evaluate(model, catalogue, folder=tmp_path, cache=cache).to_json() == report.to_json()


def test_a_twin_of_another_split_is_made_again(
    report: Report, model: Model, catalogue: Catalogue, twin: Model, cache: Path, tmp_path: Path
) -> None:
    split = _split(twin)
    other = replace(split, train=split.train[1:])
    parts = (twin.config, twin.encoder, twin.reduction)
    Model(*parts, relations=twin.relations, split=other).save(tmp_path / "unconditioned")
    assert evaluate(model, catalogue, folder=tmp_path, cache=cache).to_json() == report.to_json()


def test_another_catalogue_is_asked_whole_and_has_no_twin(
    model: Model, catalogue: Catalogue, cache: Path
) -> None:
    new = {item.id: f"new-{item.id}" for item in catalogue.items}
    other = Catalogue(
        "other",
        tuple(replace(item, id=new[item.id]) for item in catalogue.items),
        catalogue.relations[2:3],
        (),
        tuple(Link(new[link.source], link.relation, new[link.target]) for link in catalogue.links),
    )
    found = evaluate(model, other, cache=cache)
    assert found.facts["items asked about"] == COUNT
    assert found.sections[0].find("unconditioned") is None
    assert any("not the one the model was trained on" in note for note in found.notes)
    assert "has none of the model's test items" in found.notes[0]
    assert len(found.plots) == 1  # no two relations with groups: no map


def test_a_model_without_a_split_is_asked_about_all_items(
    model: Model, twin: Model, catalogue: Catalogue, cache: Path
) -> None:
    bare = Model(
        model.config, model.encoder, model.reduction, relations=(), conditioner=model.conditioner
    )
    found = evaluate(bare, catalogue, unconditioned=twin, cache=cache)
    assert found.facts["items asked about"] == COUNT
    assert f"{len(_split(twin).train)} of the items asked about were" in found.notes[-1]


def test_an_unconditioned_model_is_its_own_twin(
    twin: Model, catalogue: Catalogue, report: Report, cache: Path
) -> None:
    found = evaluate(twin, catalogue, cache=cache)
    assert found.method == "unconditioned" and "] conditioned" not in found.headline()
    assert found.sections[0].find("unconditioned") == report.sections[0].find("unconditioned")
    assert found.sections[0].find("null relation") is None
    assert not any("null relation" in note for note in found.notes[:-1])


def test_a_conditioned_twin_is_refused(model: Model, catalogue: Catalogue) -> None:
    with pytest.raises(ValueError, match=r"model.conditioned = true"):
        evaluate(model, catalogue, unconditioned=model)


def test_too_few_items_are_told_in_one_line(model: Model, catalogue: Catalogue) -> None:
    few = replace(catalogue, items=catalogue.items[:20], groups=(), links=catalogue.links[:5])
    with pytest.raises(DataError, match=r"^tiny: none of the \d+ items can be asked about: .*; "):
        evaluate(model, few)


def test_the_null_relation_ignores_what_is_asked(
    model: Model, catalogue: Catalogue, cache: Path
) -> None:
    tokens = model.encode(catalogue.items[:8], cache=cache)
    method = constant_method(model, tokens)
    one, other = method(Direction("a", "are red", "are red")), method(Direction("b", "b", "b"))
    assert (one["both"] == other["both"]).all()
    vectors = model.condition(tokens, None).both.numpy()
    assert np.allclose(one["both"], vectors @ vectors.T, atol=1e-5)


def test_a_picture_alone_asks_as_an_item_without_a_text_does(
    model: Model, catalogue: Catalogue, cache: Path
) -> None:
    items = catalogue.items[:9]
    tokens, text = model.encode(items, cache=cache), catalogue.relations[0].text
    scores = alone_method(model, tokens)(Direction("a", text, text))
    wanted = model.condition(tokens, None).both
    for way, bare in (
        ("I", [replace(item, text=None) for item in items if item.image]),
        ("T", [replace(item, image=None) for item in items if item.text]),
    ):
        rows = [row for row, item in enumerate(items) if (item.image if way == "I" else item.text)]
        asked = model.condition(model.encode(bare, cache=cache), text).both
        assert np.allclose(scores[way][rows], asked @ wanted.T, atol=1e-5)
    only = tokens[tokens.text.present]
    assert list(alone_method(model, only.only("text"))(Direction("a", text, text))) == ["T"]


def test_shuffled_directions_never_keep_their_text() -> None:
    asked = [Direction(str(n), f"text {n}", f"inverse {n}") for n in range(7)]
    for seed in range(20):
        wrong = wrong_directions(asked, seed)
        assert sorted(one.text for one in wrong.values()) == sorted(one.text for one in asked)
        for right, other in wrong.items():
            assert other.text != right.text and other.text[5:] == other.inverse[8:]
    with pytest.raises(ValueError, match="at least 2"):
        wrong_directions(asked[:1])


def _part(rng: np.random.Generator, present: list[bool], width: int) -> Part:
    mask = torch.tensor(present)[:, None]
    pooled = torch.from_numpy(rng.normal(size=(len(present), width))).float() * mask
    return Part(torch.zeros(len(present), 1, 2), mask, pooled)


def _cosine(one: list[float], other: list[float]) -> float:
    dot = sum(a * b for a, b in zip(one, other, strict=True))
    return dot / math.sqrt(sum(a * a for a in one) * sum(b * b for b in other))


def test_frozen_scores_equal_a_plain_loop() -> None:
    rng = np.random.default_rng(0)
    has_image, has_text = [True, True, False, True], [True, False, True, True]
    tokens = Tokens(image=_part(rng, has_image, 5), text=_part(rng, has_text, 3))
    scores = frozen_method(tokens)(Direction("any", "any", "any"))
    for a in range(4):
        for b in range(4):
            found = {}
            if has_text[a] and has_text[b]:
                found["TT"] = _cosine(
                    tokens.text.pooled[a].tolist(), tokens.text.pooled[b].tolist()
                )
            if has_image[a] and has_image[b]:
                ends = tokens.image.pooled[a].tolist(), tokens.image.pooled[b].tolist()
                found["II"] = _cosine(*ends)
            both = sum(found.values()) / len(found) if found else 0.0
            assert scores["TT"][a, b] == pytest.approx(found.get("TT", 0.0), abs=1e-5)
            assert scores["II"][a, b] == pytest.approx(found.get("II", 0.0), abs=1e-5)
            assert scores["both"][a, b] == pytest.approx(both, abs=1e-5)


def test_unseen_groups_are_asked_by_their_own_text(catalogue: Catalogue) -> None:
    ids = [item.id for item in catalogue.items]
    split = Split((), (), tuple(ids), groups_held_out=("colour/3", "shelf/0"))
    section = next(s for s in ask(catalogue, ids, split, 0) if s.title == "Unseen groups")
    found = {asked.direction.name: asked for asked in section.questions}
    assert set(found) == {"colour/3", "shelf/0"}
    asked = found["colour/3"]
    assert asked.direction.text == asked.direction.inverse == "both are painted in colour 3"
    members = {row for row in range(COUNT) if row % 10 == 3}
    for one in range(COUNT):
        right = {int(row) for row in np.flatnonzero(asked.right[one])}
        assert right == (members - {one} if one in members else set())


def test_unseen_groups_leave_out_what_their_texts_give_away(catalogue: Catalogue) -> None:
    named = [replace(item, text=f"{item.text or ''} crimson {item.id}") for item in catalogue.items]
    groups = tuple(
        replace(g, text="both are crimson") if (g.relation, g.id) == ("colour", "3") else g
        for g in catalogue.groups
    )
    told = replace(catalogue, items=tuple(named), groups=groups)
    ids = [item.id for item in named]
    split = Split((), (), tuple(ids), groups_held_out=("colour/3",))
    assert "Unseen groups" not in [section.title for section in ask(told, ids, split, 0)]


def test_pictures_on_the_map_do_not_cover_one_another() -> None:
    rng = np.random.default_rng(0)
    spread = spread_apart(rng.normal(0.5, 0.05, size=(60, 2)))
    for one in range(60):
        for other in range(one):
            assert np.abs(spread[one] - spread[other]).max() > 0.08


def test_a_place_keeps_the_distances_of_what_lies_in_a_plane() -> None:
    rng = np.random.default_rng(0)
    flat = rng.normal(size=(12, 2))
    turned = flat @ np.linalg.qr(rng.normal(size=(9, 9)))[0][:2]
    places, shares = place(turned)
    assert sum(shares) == pytest.approx(1.0)
    for one in range(12):
        for other in range(12):
            expected = np.linalg.norm(flat[one] - flat[other])
            assert np.linalg.norm(places[one] - places[other]) == pytest.approx(expected)


def test_any_text_can_be_drawn(report: Report) -> None:
    section = report.sections[0]
    row = replace(section.relations[0], text="cost $5 & are by 设计师 $x_{")
    drawn = draw_bars(replace(section, relations=[row]))
    for part in ("cost $5 &amp; are by", "设计师", "$x_{"):
        assert part in drawn


def test_bars_name_the_relation_and_are_the_same_each_time(report: Report) -> None:
    drawn = draw_bars(report.sections[0])
    assert drawn == draw_bars(report.sections[0])
    for word in ("stand on the same shelf", "unconditioned", "Hit@5 of 21 candidates (%)"):
        assert word in drawn


def test_a_word_of_all_groups_leaves_no_pair_out_of_a_groups_own_questions() -> None:
    kinds = ("fire", "ice", "rock")
    items = [Item(f"{kind}{n}", f"robot {n} of the works") for kind in kinds for n in range(12)]
    groups = [
        Group("type", kind, tuple(f"{kind}{n}" for n in range(12)), f"both are {kind} robots")
        for kind in kinds
    ]
    relation = Relation("type", "are of one type")
    made = Catalogue("robots", tuple(items), (relation,), tuple(groups))
    names = {f"type/{kind}" for kind in kinds}
    found = sections._group_questions(made, [item.id for item in items], names, 0)
    assert [(len(one.sources), one.left_out) for one in found] == [(12, 0)] * 3
    told = [replace(item, text=f"{item.id[:-1]} robot") for item in items]
    again = replace(made, items=tuple(told))
    assert not sections._group_questions(again, [item.id for item in items], {"type/fire"}, 0)


def test_the_frozen_encoder_that_is_best_in_a_direction_stands_below() -> None:
    shape = (np.zeros(30), np.ones(30))
    values = {
        way: {m: {"a": shape[way == "II"], "b": shape[way == "TT"]} for m in METRICS}
        for way in FROZEN
    }
    values["TT"]["hit@5"]["a"] = np.full(30, 0.5)  # so that texts are best over both
    outcome = Outcome("frozen", values)
    own = Outcome("conditioned", {"both": {m: {"a": shape[1], "b": shape[1]} for m in METRICS}})
    for name, here in (("a", 1.0), ("b", None)):
        rows = np.arange(30)
        grid = np.zeros((30, 21), dtype=np.int64)
        right = np.ones((30, 30), dtype=bool)
        asked = Questions(Direction(name, name, name), rows, grid, grid, right, right, 0)
        best: dict[str, str] = {metric: "TT" for metric in METRICS}
        numbers = summary._relation_row(asked, outcome, [own], best).numbers
        assert list(numbers)[-1] == "conditioned"
        found = numbers.get("best frozen here")
        assert (found and found["hit@5"].value) == here
