"""What a sceptic asks of an evaluation, answered in sentences.

In: a model, its twin, the catalogue, who was asked, the sections.
Out: facts as numbers, notes as sentences.
This file does not know how anything was computed.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from relatum.catalogue import Catalogue
from relatum.evaluate.report import TITLES, show
from relatum.evaluate.summary import FEW, RelationRow, Section
from relatum.items import Item
from relatum.model import Model
from relatum.protocols.questions import NEGATIVES, QUERIES

CHANCE = 5 / (NEGATIVES + 1)  # Hit@5
SURE = 100  # validation items from which what they decide is not called doubtful


@dataclass(frozen=True)
class Tested:
    """Who is asked about: the items, their ids in order, and how they were chosen."""

    items: list[Item]
    ids: list[str]
    choice: str


def find_facts(model: Model, catalogue: Catalogue, tested: Tested) -> dict[str, int]:
    """Count who was asked about and who was trained on."""
    split = model.split
    return {
        "items": len(catalogue.items),
        "items asked about": len(tested.ids),
        "training items": len(split.train if split else ()),
        "validation items": len(split.validation if split else ()),
        "training items asked about": _trained(model, tested),
    }


def _trained(model: Model, tested: Tested) -> int:
    trained = set(model.split.train if model.split else ())
    return sum(name in trained for name in tested.ids)


def write_notes(
    facts: dict[str, int], catalogue: Catalogue, tested: Tested, sections: Sequence[Section]
) -> list[str]:
    """Say what was compared, on what, and what the numbers cannot say."""
    main = sections[0]
    unsure = facts["validation items"] < SURE
    notes = [
        f"Asked about: {facts['items asked about']:,} of {facts['items']:,} items, "
        f"{tested.choice}. The model was trained on {facts['training items']:,} items, "
        f"{facts['training items asked about']:,} of which are asked about here; "
        f"{facts['validation items']:,} others decided when to stop, and whether the closed form "
        f"is kept{': so few that others might decide otherwise' * unsure}.",
        f"{main.queries:,} queries in {len(main.relations)} directions, at most {QUERIES} each: "
        f"one right item, drawn, and {NEGATIVES} that are not linked to the source under the "
        f"relation. By chance, Hit@5 is {100 * CHANCE:.1f} %, Hit@1 4.8 % and MRR 0.174.",
        f"“Other relation”: the {NEGATIVES} are linked to the source, but under another relation "
        "or in the other direction; where it has fewer such items, the rest is drawn at random.",
        f"“All items”: all {main.candidates:,} items asked about are ranked. For MRR each right "
        "item is ranked against the wrong ones only. A source with fewer than 10 right items "
        "cannot reach a precision@10 of 100 %.",
        f"Left out: {main.left_out:,} ordered pairs that share a group whose name stands in both "
        "texts, for the texts then give the answer away.",
        "Every direction counts the same, however many queries it has. Two items that are related "
        "but not linked in the catalogue count as wrong, for all methods alike.",
        "The best frozen encoder is chosen for each measure on these very queries, which flatters "
        "it. The frozen encoders do not read the relation.",
        "Intervals (95 %) draw queries again within each direction. They do not cover another "
        "split or another training run; for that, train with several seeds.",
    ]
    return [*notes, *_few(main), *_weak(main), *_behind(main), *_unasked(catalogue, sections)]


def write_controls(main: Section, constant: str, gap: float, kept: float) -> list[str]:
    """Say what the controls are, and what the model keeps of plain retrieval and of paraphrases."""
    notes: list[str] = []
    null, twin = main.find("null relation"), main.find("unconditioned")
    if null is not None:
        notes.append(
            f"`null relation`, `constant relation` (“{constant}” for all) and `shuffled relations` "
            "are the conditioned model under a text that is not the right one: none, one for all, "
            "or that of another direction. Whatever it keeps there does not come from reading the "
            "relation."
        )
    if null is not None and twin is not None:
        ends = [100 * row.numbers["hit@5"].value for row in (null, twin)]
        notes.append(
            f"Plain retrieval kept: under the null relation Hit@5 is {ends[0]:.1f} %, that of the "
            f"unconditioned model {ends[1]:.1f} %."
        )
    if not math.isnan(kept):
        notes.append(
            f"Said in other words: {100 * kept:.0f} % of an item's ten nearest stay when a "
            "paraphrase takes the place of the relation's text."
        )
    if not math.isnan(gap):
        notes.append(f"Modality gap: {gap:.2f} between the mean image and the mean text vector.")
    return notes


def _few(main: Section) -> list[str]:
    """Say what the directions of few queries do to the means."""
    rest = [one for one in main.relations if one.queries >= FEW]
    if not main.few or not rest:
        return []
    *others, method = rest[0].numbers
    told: list[str] = []
    for name in (method, *(name for name in ("unconditioned", "best frozen") if name in others)):
        means = [
            100 * sum(one.numbers[name][metric].value for one in rest) / len(rest)
            for metric in ("hit@5", "other hit@5")
        ]
        told.append(f"{means[0]:.1f} / {means[1]:.1f} % {name}")
    names = ", ".join(f"{one.name} ({one.queries})" for one in main.few)
    return [
        f"Directions of fewer than {FEW} queries count as much as others: {names}. Without them, "
        f"Hit@5 / other relation: {', '.join(told)}."
    ]


def _weak(main: Section) -> list[str]:
    """Name the directions in which the method shows nothing, or less than without the relation."""
    *_, method = main.relations[0].numbers
    lost = [one for one in main.relations if one.numbers[method]["hit@5"].low <= CHANCE]
    notes = []
    if lost:
        names = ", ".join(f"{one.name} ({one.queries} queries)" for one in lost)
        notes.append(f"Hit@5 is not shown to be above chance in: {names}.")
    if "null relation" in main.relations[0].numbers:
        ends = [
            (one.name, _mean_of(one, method), _mean_of(one, "null relation"))
            for one in main.relations
            if one.queries >= FEW
        ]
        worse = [f"{name} ({mine:.1f}, {null:.1f} %)" for name, mine, null in ends if mine < null]
        if worse:
            notes.append(
                "The mean of Hit@5 with both kinds of negatives is lower than under the null "
                "relation, as if reading the relation cost something there, in: "
                f"{', '.join(worse)}. That takes the means as they are, without intervals."
            )
    return notes


def _behind(main: Section) -> list[str]:
    """Say in what the method is behind another that reads no relation, beyond chance."""
    told = [
        f"{TITLES[metric]}, against {one.against} ({show(metric, number, sign=True)})"
        for one in main.differences
        if one.against in ("null relation", "unconditioned", "best frozen")
        for metric, number in one.numbers.items()
        if number.high < 0
    ]
    return [f"Behind, by an interval without 0, in: {'; '.join(told)}."] * bool(told)


def _mean_of(one: RelationRow, method: str) -> float:
    numbers = one.numbers[method]
    return 50 * (numbers["hit@5"].value + numbers["other hit@5"].value)


def _unasked(catalogue: Catalogue, sections: Sequence[Section]) -> list[str]:
    asked = {row.name.removesuffix(" (inverse)") for one in sections for row in one.relations}
    missing = [r.id for r in catalogue.relations if r.id not in asked]
    if not missing:
        return []
    return [f"Relations without a question, for too few links or items: {', '.join(missing)}."]


def write_twin_note(model: Model, twin: Model | None, why: str, tested: Tested) -> str:
    """Say what the unconditioned model is, or why there is none."""
    if twin is None:
        return f"There is no unconditioned model to compare with: {why}."
    same = twin.config.model_copy(update={"model": model.config.model}) == model.config
    settings = "the same settings and seeds" if same else "other settings or seeds"
    return (
        f"`unconditioned` has {settings}, stopped by its own validation score, and always gets the "
        "null relation. "
        f"{_trained(twin, tested):,} of the items asked about were among its training items."
    )
