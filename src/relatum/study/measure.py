"""One cell of a study: train a variant with one seed and answer every protocol.

In: a catalogue, a variant, a seed, a fold's settings.
Out: a `Cell` of plain data, which can be kept on disk.
This file does not know of other cells.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

import numpy as np

from relatum.batch import Tokens
from relatum.catalogue import Catalogue, Split, split_catalogue
from relatum.config import Config
from relatum.evaluate.sections import ask
from relatum.items import Item
from relatum.model import Model
from relatum.protocols.classes import class_texts, classify, find_columns
from relatum.protocols.contestant import Contestant, Participants, blind, from_model
from relatum.protocols.pairs import draw_pairs, judge_validity, predict_types, probe_types
from relatum.protocols.questions import Questions, build_questions
from relatum.protocols.retrieval import METRICS, measure
from relatum.rivals import RIVALS, Rival, train_rival
from relatum.rivals.frozen import (
    concatenated,
    frozen,
    product,
    texts_of,
    tfidf,
    with_words,
    word_basis,
)
from relatum.rivals.rivals import changed
from relatum.scores import Way

KEPT = ("hit@5", "other hit@5", "precision@10", "full mrr")
Answers = dict[str, dict[str, list[float]]]


@dataclass(frozen=True)
class Cell:
    """What one method gave with one seed. `answers[metric][direction]` holds one number a query."""

    method: str
    seed: int
    fold: int
    way: str
    answers: Answers
    numbers: dict[str, float] = field(default_factory=dict)
    seconds: float = 0.0
    is_blind: bool = False
    rate: float | None = None  # of learning, where it was chosen


@dataclass(frozen=True)
class Sides:
    """The items of a split with their tokens, and the questions asked of them."""

    train: Participants
    validation: Participants
    test: Participants
    questions: Mapping[str, Sequence[Questions]]
    encode: Callable[[Sequence[Item]], Tokens]


def run_cell(
    catalogue: Catalogue,
    rival: Rival,
    seed: int,
    fold: int,
    settings: Mapping[str, object],
    section: str,
    cache: Path | None,
    trained_on: Catalogue | None = None,
) -> list[Cell]:
    """Train and judge; with relatum itself come the rivals that train nothing.

    With `trained_on`, the catalogue is new to the model: it is trained on that one.
    """
    begun = time.perf_counter()
    config = changed(Config(seed=seed), settings)
    model = train_rival(rival, trained_on or catalogue, config, cache=cache)
    seconds = time.perf_counter() - begun
    split = model.split if trained_on is None else split_catalogue(catalogue, config.split)
    assert split is not None
    sides = prepare(catalogue, model, split, section, cache)
    contestant = from_model(rival.name, model, symmetric=rival.recipe.symmetric)
    whole = section == "seen" and rival.name in {one.name for one in RIVALS}
    cell = judge(contestant, sides, seed, fold, seconds, whole=whole, types=section == "seen")
    cells = [replace(cell, rate=model.config.training.learning_rate)]
    if rival.name == "unconditioned":
        cells.append(judge(with_words(contestant, model), sides, seed, fold, 0.0, whole=False))
    if rival.name == "relatum":
        cells += [
            judge(one, sides, seed, fold, 0.0, whole=whole)
            for one in _untrained(model, sides, section)
        ]
        nulled = blind(from_model("relatum, null relation", model))
        cells.append(judge(nulled, sides, seed, fold, 0.0, whole=False))
    return cells


def _untrained(model: Model, sides: Sides, section: str) -> list[Contestant]:
    """Return the rivals that train nothing.

    A text appended to every item is left out where groups are asked for: each of their many texts
    would have all items encoded anew.
    """
    texts = texts_of(sides.train.items)
    plain = frozen()
    ways: list[tuple[str, Way]] = [("text", "TT"), ("image", "II"), ("both", "both")]
    return [
        *(replace(plain, name=f"frozen {name}", ways=(way,)) for name, way in ways),
        *([] if section == "groups" else [concatenated(sides.encode)]),
        product(model),
        word_basis(model, texts),
        tfidf(texts),
    ]


def prepare(
    catalogue: Catalogue, model: Model, split: Split, section: str, cache: Path | None
) -> Sides:
    """Encode the split's sides and build the questions of one section of the test."""
    by_id = {item.id: item for item in catalogue.items}

    def side(ids: Sequence[str]) -> Participants:
        items = [by_id[name] for name in ids]
        return Participants(items, model.encode(items, cache=cache))

    seen = [r.id for r in catalogue.relations if r.id not in split.relations_held_out]
    titles = {"seen": "Relations seen", "unseen": "Unseen relations", "groups": "Unseen groups"}
    found = ask(catalogue, split.test, split, 0)
    asked = [one.questions for one in found if one.title.startswith(titles[section])]
    return Sides(
        side(split.train),
        side(split.validation),
        side(split.test),
        {
            "validation": build_questions(catalogue, split.validation, relations=seen),
            "test": asked[0] if asked else [],
        },
        lambda items: model.encode(items, cache=cache),
    )


def judge(
    contestant: Contestant,
    sides: Sides,
    seed: int,
    fold: int,
    seconds: float,
    *,
    whole: bool,
    types: bool = False,
) -> Cell:
    """Answer the questions in the way that is best on validation items; `whole`: all protocols.

    `types` alone asks which relation links two items, which needs no probe.
    """
    way = _best_way(contestant, sides)
    chosen = replace(contestant, ways=(way,))
    outcome = measure(contestant.name, chosen.method(sides.test), sides.questions["test"])
    answers: Answers = (
        {
            metric: {name: values.tolist() for name, values in outcome.values[way][metric].items()}
            for metric in KEPT
        }
        if sides.questions["test"]
        else {}
    )
    is_asked = bool(sides.questions["test"])
    numbers = _types(chosen, sides) if is_asked and (whole or types) else {}
    numbers |= _probes(chosen, sides) if is_asked and whole else {}
    return Cell(contestant.name, seed, fold, way, answers, numbers, seconds, contestant.is_blind)


def _best_way(contestant: Contestant, sides: Sides) -> Way:
    if len(contestant.ways) == 1 or not sides.questions["validation"]:
        return contestant.ways[-1]
    outcome = measure("", contestant.method(sides.validation), sides.questions["validation"])
    means: list[tuple[float, Way]] = [
        (float(np.mean([outcome.mean(way, metric) for metric in METRICS])), way)
        for way in contestant.ways
        if way in ("both", "TT", "II")  # one vector an item, which every protocol can use
    ]
    return max(means)[1]


def _types(contestant: Contestant, sides: Sides) -> dict[str, float]:
    chosen = predict_types(contestant, sides.test, draw_pairs(sides.questions["test"]))
    return {"type top-1": float(chosen.top1.mean()), "type top-3": float(chosen.top3.mean())}


def _probes(contestant: Contestant, sides: Sides) -> dict[str, float]:
    """Return what a linear probe reads from the vectors; fitting it takes longer than training."""
    questions = sides.questions["test"]
    probed = probe_types(contestant, sides.test, draw_pairs(questions))
    return {
        "type top-1, probe": float(probed.top1.mean()),
        "type top-3, probe": float(probed.top3.mean()),
        **judge_validity(contestant, sides.test, questions).numbers(),
        **_classify(contestant, sides),
    }


def _classify(contestant: Contestant, sides: Sides) -> dict[str, float]:
    """Return the mean over columns of the accuracies, under no relation and under the column's."""
    found: dict[str, list[float]] = {}
    for column in find_columns(sides.train.items, sides.test.items):
        texts = class_texts(sides.train.items, column)
        named = Participants(texts, sides.encode(texts))
        for told, note in ((False, ""), (True, ", conditioned")):
            one = classify(contestant, sides.train, sides.test, named, column, conditioned=told)
            found.setdefault(f"class probe{note}", []).append(float(one.probed.mean()))
            found.setdefault(f"class nearest text{note}", []).append(float(one.nearest.mean()))
    return {name: float(np.mean(values)) for name, values in found.items()}
