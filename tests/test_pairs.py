"""The protocols on pairs and on classes find what was planted, and nothing where nothing is."""

import numpy as np
import pytest
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import make_pipeline
from sklearn.preprocessing import StandardScaler
from torch.nn import functional

from relatum.batch import Part, Tokens, Vectors
from relatum.catalogue import Catalogue, Direction, Group, Relation
from relatum.items import Item
from relatum.protocols.classes import class_texts, classify, find_columns
from relatum.protocols.contestant import Contestant, Participants
from relatum.protocols.pairs import (
    Validity,
    draw_pairs,
    fit_probe,
    judge_validity,
    predict_types,
    probe_types,
)
from relatum.protocols.questions import Questions, build_questions

COUNT = 120
COLOURS, SHAPES = 8, 5


def blank(count: int) -> Tokens:
    part = Part(torch.zeros(count, 1, 2), torch.ones(count, 1).bool(), torch.zeros(count, 2))
    return Tokens(part, part)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    """Items of a colour and a shape, the two independent of one another."""
    rng = np.random.default_rng(0)
    colours, shapes = rng.integers(COLOURS, size=COUNT), rng.integers(SHAPES, size=COUNT)
    items = tuple(
        Item(f"i{row}", f"thing {row}", None, {"colour": f"c{colours[row]}"})
        for row in range(COUNT)
    )
    groups = [
        Group(name, str(value), tuple(f"i{row}" for row in np.flatnonzero(of == value)))
        for name, of in (("colour", colours), ("shape", shapes))
        for value in np.unique(of)
    ]
    relations = (Relation("colour", "share a colour"), Relation("shape", "share a shape"))
    return Catalogue("planted", items, relations, tuple(groups), ())


@pytest.fixture(scope="module")
def questions(catalogue: Catalogue) -> list[Questions]:
    return build_questions(catalogue, [item.id for item in catalogue.items])


@pytest.fixture(scope="module")
def asked(catalogue: Catalogue) -> Participants:
    return Participants(catalogue.items, blank(COUNT))


def group_of(catalogue: Catalogue, relation: str) -> torch.Tensor:
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    found = torch.zeros(COUNT, dtype=torch.long)
    for group in catalogue.groups:
        if group.relation == relation:
            found[[rows[name] for name in group.items]] = int(group.id)
    return found


def seer(catalogue: Catalogue, noise: float) -> Contestant:
    """One-hot colours under colour, shapes under shape, both under none, with noise."""
    chance = torch.Generator().manual_seed(0)
    one_hot = {
        name: functional.one_hot(group_of(catalogue, name), 10).float()
        for name in ("colour", "shape")
    }
    wobble = noise * torch.randn(COUNT, 20, generator=chance)

    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        parts = [
            one_hot[name] * (direction is None or direction.relation == name) for name in one_hot
        ]
        both = functional.normalize(torch.cat(parts, dim=1) + wobble, dim=-1)
        made = Vectors(both, both, both)
        return made, made

    return Contestant("seer", vectors, ("both",))


def deaf() -> Contestant:
    """The same random vectors, whatever the relation."""
    both = functional.normalize(torch.randn(COUNT, 20, generator=torch.Generator().manual_seed(1)))
    made = Vectors(both, both, both)
    return Contestant("deaf", lambda asked, direction: (made, made), ("both",))


def test_the_type_is_read_off_conditioned_vectors(
    catalogue: Catalogue, questions: list[Questions], asked: Participants
) -> None:
    pairs = draw_pairs(questions)
    assert predict_types(seer(catalogue, 0.05), asked, pairs).top1.mean() > 0.98
    assert predict_types(seer(catalogue, 0.05), asked, pairs).top3.mean() == 1.0
    blind = predict_types(deaf(), asked, pairs)
    first = pairs.truth[:, 0].mean()  # all relations look the same, so the first one is named
    assert blind.top1.mean() == pytest.approx(first)


def test_a_probe_reads_the_type_off_plain_vectors(
    catalogue: Catalogue, questions: list[Questions], asked: Participants
) -> None:
    pairs = draw_pairs(questions)
    assert probe_types(seer(catalogue, 0.05), asked, pairs).top1.mean() > 0.9
    assert probe_types(deaf(), asked, pairs).top1.mean() < 0.75


def test_what_the_rows_do_not_span_changes_no_answer() -> None:
    rng = np.random.default_rng(0)
    features, labels = rng.normal(size=(40, 90)), rng.integers(3, size=40)
    model = LogisticRegression(C=0.01, max_iter=1000)
    plain = make_pipeline(StandardScaler(), model).fit(features, labels)
    turned = fit_probe(features, labels, scaled=True, strength=0.01)
    assert turned[:-1].transform(features).shape == (40, 40)
    new = rng.normal(size=(50, 90))
    assert np.allclose(turned.predict_proba(new), plain.predict_proba(new), atol=1e-3)


def test_validity_tells_true_links_from_false_ones(
    catalogue: Catalogue, questions: list[Questions], asked: Participants
) -> None:
    numbers = judge_validity(seer(catalogue, 0.05), asked, questions).numbers()
    assert numbers["validity AUC"] > 0.98 and numbers["validity AUC, cosine"] > 0.98
    assert numbers["validity accuracy"] > 0.95
    chance = judge_validity(deaf(), asked, questions).numbers()
    assert 0.35 < chance["validity AUC"] < 0.65


def test_claims_are_half_true(
    catalogue: Catalogue, questions: list[Questions], asked: Participants
) -> None:
    found = judge_validity(deaf(), asked, questions)
    assert 0.35 < found.truth.mean() < 0.65  # exactly half before those across halves are left out
    assert len(found.truth) > 100


def test_classes_are_found_by_probe_and_by_text(catalogue: Catalogue) -> None:
    colours = group_of(catalogue, "colour")

    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        names = [str(item.metadata.get("colour", item.text)) for item in asked.items]
        both = functional.one_hot(torch.tensor([int(name[1:]) for name in names]), 10).float()
        made = Vectors(both, both, both)
        return made, made

    train, test = catalogue.items[:80], catalogue.items[80:]
    assert find_columns(train, test) == ["colour"] and len(colours) == COUNT
    named = class_texts(train, "colour")
    found = classify(
        Contestant("oracle", vectors),
        Participants(train, blank(80)),
        Participants(test, blank(40)),
        Participants(named, blank(len(named))),
        "colour",
        conditioned=False,
    )
    assert found.probed.mean() == found.nearest.mean() == 1.0 > found.commonest


def test_classes_are_what_is_wanted_where_items_ask_under_a_relation(catalogue: Catalogue) -> None:
    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        numbers = torch.tensor(
            [int(str(item.metadata.get("colour", item.text))[1:]) for item in asked.items]
        )
        made, turned = (functional.one_hot((numbers + by) % 10, 10).float() for by in (0, 1))
        is_class = torch.tensor([item.metadata.get("colour") is None for item in asked.items])
        asks = torch.where(is_class[:, None], turned, made)  # a class text asks for another class
        ends = (made, made) if direction is None else (asks, made)
        sources, targets = (Vectors(end, end, end) for end in ends)
        return sources, targets

    train, test = catalogue.items[:80], catalogue.items[80:]
    named = class_texts(train, "colour")
    found = classify(
        Contestant("asks in another way than it is found", vectors),
        Participants(train, blank(80)),
        Participants(test, blank(40)),
        Participants(named, blank(len(named))),
        "colour",
        conditioned=True,
    )
    assert found.nearest.mean() == 1.0


def test_without_claims_there_is_nothing_to_judge() -> None:
    none = np.zeros(0)
    assert Validity(none.astype(bool), none, none).numbers() == {"claims": 0.0}


def test_a_blank_value_is_no_class() -> None:
    values = ["red", "blue", " "] * 6
    items = [Item(str(n), "x", None, {"colour": value}) for n, value in enumerate(values)]
    assert [item.text for item in class_texts(items, "colour")] == ["blue", "red"]
