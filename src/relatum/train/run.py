"""A training run: everything that a step touches, made ready from a catalogue and settings.

In: a catalogue, settings, the token cache.
Out: a `Run`: split first, then encoder, reduction, tokens, model, questions and optimiser.
This file does not know what a step does.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import torch
from scipy import sparse
from torch import Tensor, nn

from relatum.batch import Part, Theme, Tokens, Vectors, training_themes
from relatum.catalogue import Catalogue, split_catalogue
from relatum.conditioner import Conditioner
from relatum.config import Config, ModelConfig
from relatum.distributed import find_device
from relatum.encoders import (
    blank_tokens,
    encode_items,
    encode_texts,
    find_reduction,
    load_encoder,
)
from relatum.errors import DataError
from relatum.items import Item
from relatum.loss import Losses, Temperature, contrasts
from relatum.model import Model
from relatum.progress import Report
from relatum.protocols.questions import Questions, build_questions, some_of

MIN_ITEMS = 8
Contrasts = Callable[[Vectors, Vectors, Tensor, Tensor, Temperature], Losses]


@dataclass(frozen=True)
class Recipe:
    """What a rival changes of a run; the default is relatum itself.

    `conditioner` makes the module from a blank item and the settings; `contrasts` is the loss;
    with `symmetric` the targets are conditioned too, under the inverse text, where they else stay
    under the null relation; `bias` is where the learned bias of the logits starts.
    """

    conditioner: Callable[[Tokens, ModelConfig], nn.Module] = Conditioner
    contrasts: Contrasts = contrasts
    symmetric: bool = False
    bias: float = 0.0


RELATUM = Recipe()


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
    recipe: Recipe
    step: int = 0
    best_score: float = -math.inf
    best_step: int = 0
    best: dict[str, Tensor] = field(default_factory=dict)
    best_encoder: dict[str, Tensor] = field(default_factory=dict)

    @property
    def config(self) -> Config:
        """Return the settings."""
        return self.model.config

    @property
    def device(self) -> torch.device:
        """Return where the conditioner is and the loss is computed."""
        return self.temperature.log_scale.device


def prepare(
    catalogue: Catalogue,
    config: Config,
    cache: Path | None,
    report: Report,
    recipe: Recipe = RELATUM,
) -> Run:
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
    conditioner = recipe.conditioner(blank_tokens(encoder, reduction), config.model)
    model = Model(
        config,
        encoder,
        reduction,
        relations=catalogue.relations,
        split=split,
        catalogue=catalogue.fingerprint(),
        conditioner=conditioner,
    )
    rows = {name: row for row, name in enumerate(split.train)}
    share, seed = config.split.links, config.split.seed
    themes, anything = training_themes(catalogue, split, rows, share=share, seed=seed)
    if not anything.nnz:
        raise DataError(
            "no link between training items", where=catalogue.name, fix="add links or groups"
        )
    seen = [r.id for r in catalogue.relations if r.id not in split.relations_held_out]
    tokens = encode_items(items, encoder, reduction, cache=cache, report=report)
    texts = _encode_asks(themes, model)
    _start(conditioner, tokens, [texts[text] for text in _whole_texts(themes)])
    temperature = Temperature(config.loss.temperature, config.loss.max_scale, recipe.bias)
    device = find_device(config.training.device)
    conditioner.to(device)
    temperature.to(device)
    return Run(
        model=model,
        items=items,
        tokens=tokens,
        themes=themes,
        anything=anything,
        questions=build_questions(catalogue, [item.id for item in validation], relations=seen),
        validation=validation,
        validation_tokens=encode_items(validation, encoder, reduction, cache=cache, report=report),
        texts=texts,
        temperature=temperature,
        optimiser=_optimiser(model, temperature),
        recipe=recipe,
    )


def _start(conditioner: nn.Module, tokens: Tokens, texts: Sequence[Part]) -> None:
    """Show the training items and the relation texts to a module that wants to see them first."""
    start = getattr(conditioner, "start", None)
    if start is not None:
        start(tokens.float(), Part.join(texts) if texts else None)


def _whole_texts(themes: Sequence[Theme]) -> list[str]:
    """Return the texts of whole relations: their own first, then paraphrases."""
    own = [ask.text for theme in themes for ask in theme.whole[:1]]
    others = [ask.text for theme in themes for ask in theme.whole[1:]]
    return list(dict.fromkeys(text for text in (*own, *others) if text is not None))


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
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
