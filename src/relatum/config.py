"""Every setting of a run, with its default, meaning and unit.

In: a TOML file and `name=value` pairs from the command line.
Out: a frozen `Config`, which the model folder keeps and the docs print.
This room does not know what the settings do.
"""

import tomllib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal

from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    ValidationError,
    field_validator,
    model_validator,
)

from relatum.errors import ConfigError


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    @field_validator("*", mode="before")
    @classmethod
    def _no_truth_but_for_flags(cls, value: object, info: Any) -> object:  # noqa: ANN401
        if isinstance(value, bool) and cls.model_fields[info.field_name].annotation is not bool:
            raise ValueError("true and false are not expected")
        return value


class SplitConfig(_Settings):
    """Who is trained on and who is not."""

    seed: int = Field(default=0, description="draws the split")
    test_items: float = Field(
        default=0.35, ge=0, lt=1, description="share of items held out for tests"
    )
    validation_items: float = Field(
        default=0.10, ge=0, lt=1, description="share for early stopping"
    )
    held_out_groups: float = Field(
        default=0.0, ge=0, lt=1, description="share of groups not trained on"
    )
    links: float = Field(
        default=1.0, gt=0, le=1, description="share of the training links that is used"
    )
    held_out_relations: int | tuple[str, ...] = Field(
        default=(), description="relations not trained on: their ids, or how many to draw"
    )


class TokensConfig(_Settings):
    """What is kept of an encoder's output for each item."""

    hidden: int = Field(default=256, ge=1, description="dimensions of a reduced token")
    image_side: int = Field(default=2, ge=1, description="image tokens a side: 2 gives 4 of them")
    text_tokens: int = Field(default=12, ge=1, description="text tokens at most")


class ModelConfig(_Settings):
    """The part that is trained on top of the encoders."""

    dim: int = Field(default=416, ge=1, description="dimensions of a vector")
    conditioned: bool = Field(default=True, description="false: no relation texts, all is null")
    doubt: float = Field(
        default=0.5, ge=0, le=1, description="how far the weights of a wholly new text are muted"
    )
    words: float = Field(
        default=0.4, ge=0, description="pull of a wholly new text's own words; 0 is none"
    )
    words_dim: int = Field(
        default=32, ge=0, description="of dim, what items' texts say in closed form: 1/12 at most"
    )
    words_weight: float = Field(
        default=0.4,
        ge=0,
        description="weight of the encoder's cosine under a wholly new text, times its mark",
    )
    traits: float = Field(
        default=0.03, ge=0, description="how much groups' texts tell of a new text like them"
    )
    own_relation_map: bool = Field(
        default=True, description="true: relation texts go through a linear map of their own"
    )
    ridge_dim: int = Field(
        default=64, ge=0, description="of dim, what links give in closed form: a quarter at most"
    )
    ridge_weight: float = Field(
        default=0.5, ge=0, description="how much their cosine counts beside that of the others"
    )
    beta: float = Field(
        default=1.0, ge=0, le=1, description="share of the pooled vector; the rest is attention"
    )
    dropout: float = Field(default=0.5, ge=0, lt=1, description="of feature dimensions")
    token_dropout: float = Field(default=0.2, ge=0, lt=1, description="of whole tokens")

    @property
    def closed_dim(self) -> int:
        """Return the dimensions that are fitted to the links in closed form."""
        return min(self.ridge_dim, self.dim // 4)

    @property
    def said_dim(self) -> int:
        """Return the dimensions that are fitted to the texts in closed form: none, or two or more.

        One alone would hold only what the others leave.
        """
        size = min(self.words_dim, self.dim // 12)
        return size if size > 1 else 0

    @property
    def learned_dim(self) -> int:
        """Return the dimensions that are learned step by step."""
        return self.dim - self.closed_dim - self.said_dim


Way = Literal["frozen", "lora", "full"]


class Tuning(_Settings):
    """Are the encoders trained too; `tuning=lora` stands for both towers."""

    image: Way = Field(default="frozen", description="frozen, lora (adapters) or full")
    text: Way = Field(default="frozen", description="the same; relation texts go with the texts")

    @model_validator(mode="before")
    @classmethod
    def _spread_word(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic gives anything
        return {"image": values, "text": values} if isinstance(values, str) else values

    def way(self, side: Literal["image", "text"]) -> Way:
        """Return how one tower is trained."""
        return self.image if side == "image" else self.text

    @property
    def is_frozen(self) -> bool:
        """Return whether neither tower is trained."""
        return self.image == self.text == "frozen"


class LoraSettings(_Settings):
    """Low-rank adapters."""

    rank: int = Field(default=8, ge=1, description="rank of an adapter")
    alpha: int = Field(default=16, gt=0, description="its output counts alpha / rank times")


class LossConfig(_Settings):
    """What is contrasted, and how much each term counts."""

    across: float = Field(
        default=0.125, ge=0, description="weight of text-to-image and image-to-text each"
    )
    within: float = Field(
        default=0.125, ge=0, description="weight of text-to-text and image-to-image each"
    )
    both: float = Field(default=1.0, ge=0, description="weight of the contrast of fused vectors")
    relations: float = Field(
        default=0.3, ge=0, description="weight of the contrast of relations for a linked pair"
    )
    intra_modal: bool = Field(default=True, description="false: no text-to-text, no image-to-image")
    inter_item: bool = Field(default=True, description="false: own image-text pairs only")
    temperature: float = Field(default=0.07, gt=0, description="at the start; learned from there")
    max_scale: float = Field(default=50.0, gt=0, description="cap of 1 / temperature")


class TrainingConfig(_Settings):
    """How it is trained."""

    seed: int = Field(default=0, description="draws weights, batches and dropout")
    steps: int | None = Field(
        default=None,
        ge=1,
        description="optimiser steps at most; unset, a quarter of the training items, 160 to 4000",
    )
    pools: int = Field(default=5, ge=1, description="pools a step, each under one text")
    pool_size: int = Field(default=96, ge=4, description="items a pool")
    hard_share: float = Field(
        default=0.33, ge=0, lt=1, description="share of other-relation negatives"
    )
    group_share: float = Field(
        default=0.2, ge=0, le=1, description="how often a group's text is asked"
    )
    paraphrase_share: float = Field(
        default=0.25, ge=0, le=1, description="how often a paraphrase is asked"
    )
    null_share: float = Field(
        default=0.15, ge=0, lt=1, description="how often links are asked without their text"
    )
    learning_rate: float = Field(default=5e-4, gt=0, description="peak, after warm-up; then cosine")
    encoder_rate: float = Field(default=1e-5, gt=0, description="the same for tuned encoders")
    layer_decay: float = Field(
        default=1.0, gt=0, le=1, description="of encoder_rate, for each block nearer the input"
    )
    checkpointing: bool = Field(
        default=False, description="recompute tuned blocks: less memory, more time"
    )
    bf16: bool = Field(default=False, description="run tuned towers in bfloat16")
    sharded: bool = Field(
        default=False, description="split the blocks of tuned towers among the processes (FSDP2)"
    )
    weight_decay: float = Field(default=0.05, ge=0, description="of AdamW")
    warmup: float = Field(default=0.05, ge=0, lt=1, description="share of the steps")
    clip: float = Field(default=1.0, gt=0, description="largest norm of the gradient")
    validate_every: int | None = Field(
        default=None,
        ge=1,
        description="steps between validations and checkpoints; unset, an eighth of all",
    )
    snapshot_every: int = Field(default=0, ge=0, description="steps between more snapshots; 0: no")
    chunk: int = Field(default=0, ge=0, description="items tuned at a time, each twice; 0: a pool")
    device: Literal["auto", "cpu"] = Field(default="auto", description="auto: cuda where it is")
    patience: int = Field(default=8, ge=1, description="validations without gain before it stops")


class Config(_Settings):
    """All settings. `Config(seed=3)` is short for the same seed in `split` and `training`."""

    encoder: str = Field(
        default="starter", description="starter, a folder or hub id, `IMAGES + TEXTS`"
    )
    tuning: Tuning = Tuning()
    lora: LoraSettings = LoraSettings()
    split: SplitConfig = SplitConfig()
    tokens: TokensConfig = TokensConfig()
    model: ModelConfig = ModelConfig()
    loss: LossConfig = LossConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _spread_seed(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic gives anything
        if not isinstance(values, dict) or "seed" not in values:
            return values
        spread = {**values}
        seed = spread.pop("seed")
        for name in ("split", "training"):
            given = spread.get(name, {})
            if isinstance(given, BaseModel):
                given = given.model_dump(exclude_unset=True)
            spread[name] = {"seed": seed, **given} if isinstance(given, Mapping) else given
        return spread

    def __init__(self, **values: Any) -> None:  # noqa: ANN401
        """Check the settings; `ConfigError` names the first that is wrong."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error) from error

    @classmethod
    def load(cls, path: str | Path | None = None, sets: Sequence[str] = ()) -> "Config":
        """Read a TOML file, then apply `name.name=value` pairs on top.

        >>> Config.load(sets=["training.seed=3", "model.beta=1"]).model.beta
        1.0
        """
        values: dict[str, Any] = {}
        if path is not None:
            try:
                values = tomllib.loads(Path(path).read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                reason = getattr(error, "strerror", None) or str(error)
                what, fix = f"cannot read the settings: {reason}", "correct the file or its name"
                raise ConfigError(what, where=path, fix=fix) from error
        for pair in sets:
            _set(values, pair)
        return cls(**values)


def _set(values: dict[str, Any], pair: str) -> None:
    name, equals, text = pair.partition("=")
    if not equals or not name:
        raise ConfigError(f"expected name=value, got {pair!r}", where="--set")
    *path, last = name.strip().split(".")
    for part in path:
        values = values.setdefault(part, {})
        if not isinstance(values, dict):
            raise ConfigError(f"{part!r} is not a table of settings", where=f"--set {pair}")
    try:
        values[last] = tomllib.loads(f"value = {text}")["value"]
    except tomllib.TOMLDecodeError:
        values[last] = text.strip()  # a bare word is a text


def _config_error(error: ValidationError) -> ConfigError:
    first = error.errors()[0]
    name = ".".join(str(part) for part in first["loc"])
    if first["type"] == "extra_forbidden":
        return ConfigError(f"unknown setting {name!r}", fix="docs/api.md lists all settings")
    if first["type"] == "model_type":
        return ConfigError(f"{name}: expected a table of settings, got {first['input']!r}")
    what = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
    return ConfigError(what, fix="correct the setting")
