"""A training run: everything that a step touches, made ready from a catalogue and settings.

In: a catalogue, settings, the token cache.
Out: a `Run`: split first, then encoder, reduction, tokens, model, questions and optimiser.
This file does not know what a step does.
"""

import math
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from scipy import sparse
from torch import Tensor, nn

from relatum.batch import Part, Theme, Tokens, Vectors, training_themes
from relatum.catalogue import Catalogue, split_catalogue
from relatum.conditioner import Conditioner
from relatum.config import Config, ModelConfig
from relatum.distributed import find_device, size
from relatum.encoders import (
    CachedTokens,
    Encoder,
    blank_tokens,
    encode_items,
    encode_texts,
    find_encoder,
    find_reduction,
    takes_pictures,
)
from relatum.encoders.tuning import begin_tuning, check_tuning, split_towers, tuned_groups
from relatum.errors import DataError, EncoderError
from relatum.items import Item
from relatum.loss import Losses, Temperature, contrasts
from relatum.model import Model
from relatum.progress import Report
from relatum.protocols.questions import Questions, build_questions, some_of
from relatum.threads import lone_threads

STEPS = 160, 4000  # at least and at most, where no number is set
MIN_ITEMS = 8
HELD = 20_000  # training items up to this many are held in memory, more are read as needed
SEEN = 20_000  # items that a module sees before training, at most
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
    tokens: Tokens | CachedTokens
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
    reader: ThreadPoolExecutor = field(default_factory=lone_threads)
    ahead: dict[int, Future] = field(default_factory=dict)  # what it reads, by step
    is_sharded: bool = False  # no process has all weights of the towers

    @property
    def config(self) -> Config:
        """Return the settings."""
        return self.model.config

    @property
    def steps(self) -> int:
        """Return how many steps are taken at most: what is set, or more where there are more items.

        On 416 and 560 items 320 steps gave little more than 160; on 4,076, 1,000 gave 1.8 points.
        """
        fewest, most = STEPS
        return self.config.training.steps or min(max(len(self.items) // 4, fewest), most)

    @property
    def validate_every(self) -> int:
        """Return after how many steps each validation comes."""
        return self.config.training.validate_every or max(self.steps // 8, 1)

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
    encoder: Any = None,  # noqa: ANN401
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
    encoder = find_encoder(config, encoder)
    check_tuning(encoder, config)
    _check_sides(items, encoder, report)
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
    view = model.view(items, cache=cache, report=report)
    tokens = view if len(items) > HELD else view[:]
    validation_tokens = encode_items(validation, encoder, reduction, cache=cache, report=report)
    texts = _encode_asks(themes, model)
    _start(conditioner, tokens, [texts[text] for text in _whole_texts(themes)])
    begin_tuning(encoder, config)  # all that is frozen has been encoded
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
        validation_tokens=validation_tokens,
        texts=texts,
        temperature=temperature,
        optimiser=_optimiser(model, temperature),
        recipe=recipe,
    )


def split_weights(run: Run) -> None:
    """Split tuned towers among the processes, if asked to; all must do it at once."""
    run.is_sharded = run.config.training.sharded and size() > 1
    if run.is_sharded:
        split_towers(run.model.encoder, run.config)
        run.optimiser = _optimiser(run.model, run.temperature)


def _check_sides(items: Sequence[Item], encoder: Encoder, report: Report) -> None:
    """Say once that pictures are ignored; `EncoderError` where nothing else is there."""
    pictures = sum(item.image is not None for item in items)
    if not pictures or takes_pictures(encoder):
        return
    if not any((item.text or "").strip() for item in items):
        what = "the encoder takes texts only, and no training item has one"
        raise EncoderError(what, fix="name an encoder of pictures: encoder='IMAGES + TEXTS'")
    report("pictures ignored", pictures, pictures, "the encoder takes texts only")


def _start(conditioner: nn.Module, tokens: Tokens | CachedTokens, texts: Sequence[Part]) -> None:
    """Show the training items and the relation texts to a module that wants to see them first."""
    start = getattr(conditioner, "start", None)
    if start is not None:
        some = torch.arange(0, len(tokens), -(-len(tokens) // SEEN))  # an even sample of the many
        start(tokens[some].float(), Part.join(texts) if texts else None)


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
    groups += tuned_groups(model.encoder, model.config)
    for group in groups:
        group["peak"] = group["lr"]
    return torch.optim.AdamW(groups, weight_decay=settings.weight_decay, fused=True)
