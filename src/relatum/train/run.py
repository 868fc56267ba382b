"""A training run: everything that a step touches, made ready from a catalogue and settings.

In: a catalogue, settings, the token cache.
Out: a `Run`: split first, then encoder, reduction, tokens, model, questions and optimiser.
This file does not know what a step does.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from scipy import sparse
from torch import Tensor

from relatum.batch import Part, Theme, Tokens, training_themes
from relatum.catalogue import Catalogue, split_catalogue
from relatum.config import Config
from relatum.encoders import encode_items, encode_texts, find_reduction, load_encoder
from relatum.errors import DataError
from relatum.items import Item
from relatum.loss import Temperature
from relatum.model import Model
from relatum.progress import Report
from relatum.protocols.questions import Questions, build_questions, some_of

MIN_ITEMS = 8


@dataclass
class Run:
    """Everything a training step touches."""

    model: Model
    items: list[Item]
    tokens: Tokens
    themes: list[Theme]
    anything: sparse.csr_array
    questions: list[Questions]
    validation: list[Item]
    validation_tokens: Tokens
    texts: dict[str, Part]
    temperature: Temperature
    optimiser: torch.optim.Optimizer
    step: int = 0
    best_score: float = -math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    best_encoder: dict[str, Tensor] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """Return the settings."""
        return self.model.config


def prepare(catalogue: Catalogue, config: Config, cache: Path | None, report: Report) -> Run:
    """Split first; then load the encoder, fit the reduction, encode, and make the model."""
    split = split_catalogue(catalogue, config.split)
    if len(split.train) < MIN_ITEMS:
        raise DataError(
            f"{len(split.train)} training items, expected at least {MIN_ITEMS}",
            where=catalogue.name,
            fix="add items, or lower split.test_items and split.validation_items",
        )
    by_id = {item.id: item for item in catalogue.items}
    items = [by_id[name] for name in split.train]
    validation = [by_id[name] for name in some_of(split.validation)]
    held_out = [by_id[name] for name in (*split.validation, *split.test)]
    encoder = load_encoder(config.encoder)
    reduction = find_reduction(items, held_out, encoder, config.tokens, cache=cache, report=report)
    torch.manual_seed(config.training.seed)
    model = Model(
        config,
        encoder,
        reduction,
        relations=catalogue.relations,
        split=split,
        catalogue=catalogue.fingerprint(),
    )
    rows = {name: row for row, name in enumerate(split.train)}
    themes, anything = training_themes(catalogue, split, rows)
    if not anything.nnz:
        raise DataError(
            "no link between training items", where=catalogue.name, fix="add links or groups"
        )
    seen = [r.id for r in catalogue.relations if r.id not in split.relations_held_out]
    tokens = encode_items(items, encoder, reduction, cache=cache, report=report)
    temperature = Temperature(config.loss.temperature, config.loss.max_scale)
    return Run(
        model=model,
        items=items,
        tokens=tokens,
        themes=themes,
        anything=anything,
        questions=build_questions(catalogue, [item.id for item in validation], relations=seen),
        validation=validation,
        validation_tokens=encode_items(validation, encoder, reduction, cache=cache, report=report),
        texts=_encode_asks(themes, model),
        temperature=temperature,
        optimiser=_optimiser(model, temperature),
    )


def _encode_asks(themes: Sequence[Theme], model: Model) -> dict[str, Part]:
    asks = [ask for theme in themes for ask in (*theme.whole, *theme.groups)]
    texts = sorted({text for ask in asks for text in (ask.text, ask.inverse) if text is not None})
    if not texts:
        return {}
    part = encode_texts(texts, model.encoder, model.reduction)
    return {text: part[row : row + 1] for row, text in enumerate(texts)}


def _optimiser(model: Model, temperature: Temperature) -> torch.optim.Optimizer:
    """Make AdamW; gains, biases and the temperature do not decay."""
    settings = model.config.training
    weights = list(model.conditioner.parameters())
    groups: list[dict] = [
        {"params": [p for p in weights if p.ndim > 1], "lr": settings.learning_rate},
        {
            "params": [p for p in weights if p.ndim <= 1] + list(temperature.parameters()),
            "lr": settings.learning_rate,
            "weight_decay": 0.0,
        },
    ]
    tuned = model.config.tuning == "full"
    model.encoder.module().requires_grad_(tuned)
    if tuned:
        groups.append(
            {"params": list(model.encoder.module().parameters()), "lr": settings.encoder_rate}
        )
    for group in groups:
        group["peak"] = group["lr"]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay)
