"""Evaluate a model: ask the questions, compare, and gather it in a report.

In: a model and a catalogue; perhaps the model's twin, trained without conditioning.
Out: a `Report`.
This file does not know how numbers are counted or written.
"""

from collections.abc import Sequence
from pathlib import Path

from relatum.batch import Tokens
from relatum.catalogue import Catalogue
from relatum.encoders import OWN, encode_items, find_encoder
from relatum.errors import CheckpointError, DataError, expect
from relatum.evaluate.baselines import (
    all_ways,
    alone_method,
    constant_method,
    frozen_method,
    shuffled_method,
)
from relatum.evaluate.controls import modality_gap, paraphrase_overlap
from relatum.evaluate.maps import find_views
from relatum.evaluate.notes import (
    Tested,
    find_facts,
    write_controls,
    write_notes,
    write_twin_note,
)
from relatum.evaluate.plots import draw_bars, draw_maps
from relatum.evaluate.report import Plot, Report
from relatum.evaluate.sections import Asked, ask
from relatum.evaluate.summary import Section, summarise
from relatum.items import Item
from relatum.model import Model
from relatum.progress import Report as Progress
from relatum.progress import silent
from relatum.protocols.contestant import Participants, from_model
from relatum.protocols.questions import ITEMS, some_of
from relatum.protocols.retrieval import Method, measure
from relatum.rivals.frozen import tfidf
from relatum.scores import WAYS
from relatum.train import train, without_conditioning

CONSTANT = "are related"  # the one text of the control that gets the same for every relation


def evaluate(
    model: Model,
    catalogue: Catalogue,
    *,
    folder: str | Path | None = None,
    unconditioned: Model | None = None,
    cache: Path | None = None,
    report: Progress = silent,
    seed: int = 0,
) -> Report:
    """Compare a model with the frozen encoders and with its twin without conditioning.

    The model's test items are asked; all items where the catalogue has none of them. Without
    `unconditioned` the twin is trained, into `folder/unconditioned` so that it serves again.
    Raises `DataError` where nothing can be asked.
    """
    expect(model, Model, "model")
    expect(catalogue, Catalogue, "catalogue")
    if unconditioned is not None and unconditioned.config.model.conditioned:
        raise ValueError("expected an unconditioned model, got one with model.conditioned = true")
    tested = _choose(model, catalogue, seed)
    known = {relation.text for relation in model.relations} if model.split else None
    asked = ask(catalogue, tested.ids, model.split, seed, known)
    if not asked:
        raise DataError(
            f"none of the {len(tested.ids)} items can be asked about: expected a linked pair and "
            "20 items not linked to its source",
            where=catalogue.name,
            fix="evaluate on a larger catalogue, or raise split.test_items and train again",
        )
    twin, why = unconditioned, ""
    if twin is None:
        twin, why = _find_twin(model, catalogue, folder, cache, report)
    tokens = model.encode(tested.items, cache=cache, report=report)
    methods = _methods(model, twin, tokens, tested.items, cache)
    sections = [_measure(one, methods, model, tokens, seed, report) for one in asked]
    facts = find_facts(model, catalogue, tested)
    notes = write_notes(facts, catalogue, tested, sections)
    gap, kept = modality_gap(model, tokens), paraphrase_overlap(model, tokens)
    notes += write_controls(sections[0], CONSTANT, gap, kept)
    return Report(
        catalogue=catalogue.name,
        model=model.fingerprint,
        method=_name(model),
        seed=seed,
        facts=facts,
        sections=sections,
        notes=[*notes, write_twin_note(model, twin, why, tested)],
        plots=_plots(model, catalogue, tested, tokens, sections[0]),
    )


def _choose(model: Model, catalogue: Catalogue, seed: int) -> Tested:
    """Take the test items that the catalogue has; all items where it has none of them."""
    known = set(model.split.test if model.split else ())
    items = [item for item in catalogue.items if item.id in known]
    choice = "the model's test items, on which it was not trained"
    if not items:
        items = list(catalogue.items)
        why = "has none of the model's test items" if known else "and the model has no test items"
        choice = f"all items, as the catalogue {why}"
    if len(items) > ITEMS:
        kept = set(some_of([item.id for item in items], seed))
        items = [item for item in items if item.id in kept]
        choice += f", {ITEMS:,} of them drawn at random"
    return Tested(items, [item.id for item in items], choice)


def _find_twin(
    model: Model,
    catalogue: Catalogue,
    folder: str | Path | None,
    cache: Path | None,
    report: Progress,
) -> tuple[Model | None, str]:
    """Train the model without conditioning on the same items, or say why that cannot be."""
    config = model.config
    if not config.model.conditioned:
        return None, "the model itself is not conditioned"
    if model.catalogue != catalogue.fingerprint():
        return None, "the catalogue is not the one the model was trained on, or has changed"
    own = model.encoder if config.encoder == OWN else None
    if own is not None and not config.tuning.is_frozen:
        return None, "the encoder is an object that was tuned with the model"
    settings = without_conditioning(config)
    output = Path(folder) / "unconditioned" if folder is not None else None

    def tell(stage: str, done: int, total: int, note: str = "") -> None:
        report(f"unconditioned: {stage}", done, total, note)

    try:
        twin = train(
            catalogue, settings, output, resume=True, cache=cache, report=tell, encoder=own
        )
    except CheckpointError:  # a twin of other settings or another version: it is made again
        twin = None
    if twin is None or twin.split != model.split:
        twin = train(catalogue, settings, output, cache=cache, report=tell, encoder=own)
    return twin, ""


def _name(model: Model) -> str:
    return "conditioned" if model.config.model.conditioned else "unconditioned"


def _methods(
    model: Model, twin: Model | None, tokens: Tokens, items: Sequence[Item], cache: Path | None
) -> dict[str, Method]:
    """Return the methods by name, from the frozen encoders to the model."""
    asked, untuned = Participants(items, tokens), tokens
    if not model.config.tuning.is_frozen and model.config.encoder != OWN:
        encoder = find_encoder(model.config)
        untuned = encode_items(items, encoder, model.reduction, cache=cache)
    methods = {"frozen": frozen_method(untuned)}
    texts = [item.text for item in items]
    if any(texts):
        methods["TF-IDF"] = tfidf(texts).method(asked, ("both",))
    if model.config.model.conditioned:
        methods["null relation"] = constant_method(model, tokens)
        methods["constant relation"] = constant_method(model, tokens, text=CONSTANT)
    if twin is not None:
        theirs = twin.encode(items, cache=cache)
        plain = constant_method(twin, theirs, WAYS)
        methods["unconditioned"] = all_ways(plain, alone_method(twin, theirs))
    own = from_model("", model).method(asked)
    methods[_name(model)] = all_ways(own, alone_method(model, tokens))
    return methods


def _measure(
    asked: Asked,
    methods: dict[str, Method],
    model: Model,
    tokens: Tokens,
    seed: int,
    report: Progress,
) -> Section:
    """Answer a section's questions by every method, the model last."""
    directions = [one.direction for one in asked.questions]
    named = dict(methods)
    if len(directions) > 1 and model.config.model.conditioned:
        last = named.pop(_name(model))
        fused = from_model("", model).method(Participants([], tokens), ("both",))
        named["shuffled relations"] = shuffled_method(fused, directions, seed)
        named[_name(model)] = last
    outcomes = []
    for done, (name, method) in enumerate(named.items()):
        report(f"evaluate {asked.title.lower()}", done, len(named), name)
        outcomes.append(measure(name, method, asked.questions))
    report(f"evaluate {asked.title.lower()}", len(named), len(named), "")
    return summarise(asked.title, asked.about, asked.questions, outcomes)


def _plots(
    model: Model, catalogue: Catalogue, tested: Tested, tokens: Tokens, main: Section
) -> list[Plot]:
    bars = Plot(
        "By relation",
        f"Hit@5 of the fused vectors on {main.queries:,} queries; the whiskers are 95 % intervals.",
        draw_bars(main),
    )
    found = find_views(model, catalogue, tested.items, tokens)
    if found is None:
        return [bars]
    caption = (
        f"The same {len(found.pictures)} items by their fused "
        "vectors under two relations, in the plane of most variance; pictures that would cover one "
        "another are moved apart. A frame's colour is the item's group under that relation."
    )
    maps = Plot(
        "The same items under two relations", caption, draw_maps(found.views, found.pictures)
    )
    return [bars, maps]
