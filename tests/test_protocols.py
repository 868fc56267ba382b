"""The questions and how methods are asked, without any encoder."""

import numpy as np
import pytest

from relatum.catalogue import Catalogue, Direction, Group, Link, Relation
from relatum.items import Item
from relatum.protocols.questions import NEGATIVES, Questions, build_questions
from relatum.protocols.retrieval import METRICS, Method, Scores, measure

COUNT = 60
SHAPES = ("round", "square", "long", "flat")
ROOMS = ("kitchen", "office")


def _id(row: int) -> str:
    return f"i{row:02}"


def _members(step: int, start: int) -> tuple[str, ...]:
    return tuple(_id(row) for row in range(start, COUNT, step))


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Sixty items of four shapes in six rooms; each but the last contains the next."""
    items = [Item(_id(row), f"thing {_word(row)} {SHAPES[row % 4]}") for row in range(COUNT)]
    shapes = [Group("shape", str(s), _members(4, s), f"both are {SHAPES[s]}") for s in range(4)]
    rooms = [Group("room", str(room), _members(6, room)) for room in range(6)]
    links = [Link(_id(row), "contains", _id(row + 1)) for row in range(COUNT - 1)]
    relations = (
        Relation("shape", "have the same shape"),
        Relation("room", "belong in the same room"),
        Relation("contains", "contains", directed=True, inverse="is inside"),
    )
    return Catalogue("tiny", tuple(items), relations, (*shapes, *rooms), tuple(links))


def _word(row: int) -> str:
    return "ab"[row % 2] * (row + 2)


@pytest.fixture(scope="module")
def ids(catalogue: Catalogue) -> list[str]:
    return [item.id for item in catalogue.items]


@pytest.fixture(scope="module")
def questions(catalogue: Catalogue, ids: list[str]) -> list[Questions]:
    return build_questions(catalogue, ids)


def _is_linked(name: str, source: int, target: int) -> bool:
    return {
        "room": source % 6 == target % 6,
        "contains": target == source + 1,
        "contains (inverse)": target == source - 1,
    }[name]


def test_each_way_to_ask_has_its_questions(questions: list[Questions]) -> None:
    names = [asked.direction.name for asked in questions]
    assert names == ["room", "contains", "contains (inverse)"]  # all pairs of `shape` leak
    texts = [(asked.direction.text, asked.direction.inverse) for asked in questions[1:]]
    assert texts == [("contains", "is inside"), ("is inside", "contains")]
    assert [len(asked.sources) for asked in questions] == [60, 59, 59]


def test_one_is_right_and_twenty_are_not_linked(questions: list[Questions]) -> None:
    for asked in questions:
        for offered in (asked.random, asked.other):
            assert offered.shape == (len(asked.sources), 1 + NEGATIVES)
            for source, (positive, *negatives) in zip(asked.sources, offered, strict=True):
                assert _is_linked(asked.direction.name, source, positive)
                assert not any(_is_linked(asked.direction.name, source, n) for n in negatives)
                assert source not in (positive, *negatives)
                assert len({positive, *negatives}) == 1 + NEGATIVES


def test_the_kinds_of_negatives_share_their_positive(questions: list[Questions]) -> None:
    for asked in questions:
        assert (asked.random[:, 0] == asked.other[:, 0]).all()


def test_other_negatives_are_linked_under_another_relation(questions: list[Questions]) -> None:
    for asked in questions:
        name = asked.direction.name
        for source, (_, *negatives) in zip(asked.sources, asked.other, strict=True):
            hard = {
                row
                for row in range(COUNT)
                if row != source
                and (row % 4 == source % 4 or row % 6 == source % 6 or abs(row - source) == 1)
                and not _is_linked(name, source, row)
            }
            if len(hard) >= NEGATIVES:
                assert set(negatives) <= hard
            else:
                assert hard <= set(negatives)  # all there are, the rest at random


def test_some_sources_have_enough_other_negatives(questions: list[Questions]) -> None:
    inside = next(asked for asked in questions if asked.direction.name == "contains")
    assert any(
        all(abs(n - s) == 1 or n % 4 == s % 4 or n % 6 == s % 6 for n in row[1:])
        for s, row in zip(inside.sources, inside.other, strict=True)
    )


def test_pairs_whose_texts_give_the_answer_away_are_left_out(catalogue: Catalogue) -> None:
    half = [
        Item(item.id, item.text if row < 30 else f"thing {_word(row)}")
        for row, item in enumerate(catalogue.items)
    ]
    told = Catalogue("told", tuple(half), catalogue.relations, catalogue.groups, catalogue.links)
    asked = build_questions(told, [item.id for item in half], relations=["shape"])[0]
    expected = 0
    for one in range(COUNT):
        for other in range(COUNT):
            same = one != other and one % 4 == other % 4
            leaks = same and one < 30 and other < 30
            expected += leaks
            assert asked.right[one, other] == (same and not leaks)
            if leaks:
                assert not asked.allowed[one, other]
    # a leaking item is also left out with itself, which is no pair
    assert asked.left_out == expected
    assert all(asked.right[s, p] for s, p in zip(asked.sources, asked.random[:, 0], strict=True))


def test_the_same_seed_asks_the_same(catalogue: Catalogue, ids: list[str]) -> None:
    one, again, other = (build_questions(catalogue, ids, seed=seed) for seed in (3, 3, 4))
    for a, b in zip(one, again, strict=True):
        assert (a.sources == b.sources).all()
        assert (a.random == b.random).all() and (a.other == b.other).all()
    assert any((a.random != c.random).any() for a, c in zip(one, other, strict=True))


def test_only_the_relations_named_are_asked(catalogue: Catalogue, ids: list[str]) -> None:
    found = build_questions(catalogue, ids, relations=["contains"])
    assert {asked.direction.relation for asked in found} == {"contains"}


def test_rows_follow_the_order_of_the_ids(catalogue: Catalogue, ids: list[str]) -> None:
    turned = ids[::-1]
    for asked in build_questions(catalogue, turned, relations=["contains"]):
        step = -1 if not asked.direction.is_backward else 1
        assert (asked.random[:, 0] - asked.sources == step).all()


def test_too_few_items_ask_nothing(catalogue: Catalogue, ids: list[str]) -> None:
    assert build_questions(catalogue, ids[:20]) == []


def _perfect(questions: list[Questions]) -> Method:
    right = {asked.direction.name: asked.right.astype(float) for asked in questions}

    def score(direction: Direction) -> Scores:
        return {"both": right[direction.name]}

    return score


def _chance(seed: int) -> Method:
    rng = np.random.default_rng(seed)

    def score(direction: Direction) -> Scores:
        return {"both": rng.random((COUNT, COUNT))}

    return score


def test_a_perfect_method_scores_one(questions: list[Questions]) -> None:
    outcome = measure("perfect", _perfect(questions), questions)
    for metric in set(METRICS) - {"precision@10"}:
        assert outcome.mean("both", metric) == 1.0
    best = {"room": 0.9, "contains": 0.1, "contains (inverse)": 0.1}  # 9 and 1 of 10 are right
    for name, share in best.items():
        assert outcome.values["both"]["precision@10"][name].mean() == pytest.approx(share)


def test_a_reversed_method_scores_least(questions: list[Questions]) -> None:
    perfect = _perfect(questions)
    outcome = measure("worst", lambda d: {"both": -perfect(d)["both"]}, questions)
    assert outcome.mean("both", "hit@5") == outcome.mean("both", "precision@10") == 0.0
    assert outcome.mean("both", "mrr") == pytest.approx(1 / 21)


def test_a_random_method_scores_about_chance(questions: list[Questions]) -> None:
    outcomes = [measure("chance", _chance(seed), questions) for seed in range(20)]
    means = {m: np.mean([one.mean("both", m) for one in outcomes]) for m in METRICS}
    expected_mrr = sum(1 / rank for rank in range(1, 22)) / 21
    for prefix in ("", "other "):
        assert means[f"{prefix}hit@5"] == pytest.approx(5 / 21, abs=0.03)
        assert means[f"{prefix}hit@1"] == pytest.approx(1 / 21, abs=0.015)
        assert means[f"{prefix}mrr"] == pytest.approx(expected_mrr, abs=0.02)


def test_a_method_that_tells_nothing_is_not_rewarded(questions: list[Questions]) -> None:
    outcome = measure("equal", lambda d: {"both": np.zeros((COUNT, COUNT))}, questions)
    assert outcome.mean("both", "hit@5") == 0.0
    assert outcome.mean("both", "mrr") == pytest.approx(1 / 11)


def test_outcomes_keep_each_way_and_direction(questions: list[Questions]) -> None:
    perfect = _perfect(questions)
    outcome = measure(
        "two", lambda d: {"TT": perfect(d)["both"], "II": -perfect(d)["both"]}, questions
    )
    assert outcome.mean("TT", "hit@1") == 1.0 and outcome.mean("II", "hit@1") == 0.0
    assert [len(group) for group in outcome.groups("TT", "hit@1")] == [60, 59, 59]
    assert list(outcome.values["II"]["mrr"]) == ["room", "contains", "contains (inverse)"]
