"""Every setting of a run, with its default, meaning and unit.

In: a TOML file and `name=value` pairs from the command line.
Out: a frozen `Config`, which the model folder keeps and the docs print.
This room does not know what the settings do.
"""

import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from relatum.errors import ConfigError


class _Settings(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class SplitConfig(_Settings):
    """Who is trained on and who is not."""

    seed: int = Field(0, description="draws the split")
    test_items: float = Field(0.35, ge=0, lt=1, description="share of items held out for tests")
    validation_items: float = Field(0.10, ge=0, lt=1, description="share for early stopping")
    held_out_groups: float = Field(0.0, ge=0, lt=1, description="share of groups not trained on")
    held_out_relations: tuple[str, ...] = Field((), description="relations not trained on")


class TokensConfig(_Settings):
    """What is kept of an encoder's output for each item."""

    hidden: int = Field(256, ge=1, description="dimensions of a reduced token")
    image_side: int = Field(4, ge=1, description="image tokens a side: 4 gives 16 of them")
    text_tokens: int = Field(24, ge=1, description="text tokens at most")


class ModelConfig(_Settings):
    """The part that is trained on top of the encoders."""

    dim: int = Field(256, ge=1, description="dimensions of a vector")
    beta: float = Field(0.5, ge=0, le=1, description="share of the global path; 1 is plain CLIP")
    conditioned: bool = Field(True, description="false: every relation is the null relation")
    dropout: float = Field(0.5, ge=0, lt=1, description="dropout of tokens and features")


class TrainingConfig(_Settings):
    """How it is trained."""

    seed: int = Field(0, description="draws weights, batches and dropout")
    steps: int = Field(600, ge=1, description="optimiser steps")


class Config(_Settings):
    """All settings. `Config(seed=3)` is short for the same seed in `split` and `training`."""

    encoder: str = Field("starter", description="starter, or a CLIP/SigLIP folder or hub id")
    tuning: Literal["frozen", "full"] = Field("frozen", description="are the encoders trained too")
    split: SplitConfig = SplitConfig()
    tokens: TokensConfig = TokensConfig()
    model: ModelConfig = ModelConfig()
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="before")
    @classmethod
    def _spread_seed(cls, values: Any) -> Any:  # noqa: ANN401 - pydantic gives anything
        if not isinstance(values, dict) or "seed" not in values:
            return values
        seed = values["seed"]
        spread = {name: {"seed": seed, **values.get(name, {})} for name in ("split", "training")}
        return {name: value for name, value in (values | spread).items() if name != "seed"}

    def __init__(self, **values: Any) -> None:  # noqa: ANN401
        """Check the settings; `ConfigError` names the first that is wrong."""
        try:
            super().__init__(**values)
        except ValidationError as error:
            raise _config_error(error) from error

    @classmethod
    def load(cls, path: Path | None = None, sets: Sequence[str] = ()) -> Self:
        """Read a TOML file, then apply `name.name=value` pairs on top.

        >>> Config.load(sets=["training.seed=3", "model.beta=1"]).model.beta
        1.0
        """
        values: dict[str, Any] = {}
        if path is not None:
            try:
                values = tomllib.loads(path.read_text(encoding="utf-8"))
            except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
                raise ConfigError(f"cannot read the settings: {error}", where=path) from error
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
        return ConfigError(f"unknown setting {name!r}", fix="see relatum train --help or docs/api")
    what = f"{name}: {first['msg'][0].lower()}{first['msg'][1:]}, got {first['input']!r}"
    return ConfigError(what, fix="correct the setting")
