"""A run tells how it does, and says what to do when its vectors collapse."""

import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from conftest import Settings
from relatum import Catalogue, train
from relatum.batch import Tokens
from relatum.conditioner import Conditioner
from relatum.config import ModelConfig
from relatum.errors import RelatumError
from relatum.train import Recipe
from relatum.train.watch import (
    UNASKED,
    Taken,
    Validation,
    effective_rank,
    spread,
    uniformity,
    warnings_of,
)


def rows_of(folder: Path) -> list[dict]:
    return [json.loads(line) for line in (folder / "metrics.jsonl").read_text().splitlines()]


def test_uniformity_and_rank_equal_plain_loops() -> None:
    vectors = functional.normalize(torch.randn(7, 5, generator=torch.manual_seed(0)), dim=-1)
    pairs = [(a, b) for a in range(7) for b in range(a)]
    terms = [math.exp(-2 * float((vectors[a] - vectors[b]).square().sum())) for a, b in pairs]
    assert uniformity(vectors) == pytest.approx(math.log(sum(terms) / len(terms)), abs=1e-5)
    values = torch.linalg.svdvals(vectors).tolist()
    shares = [value / sum(values) for value in values]
    entropy = -sum(one * math.log(one) for one in shares)
    assert effective_rank(vectors) == pytest.approx(math.exp(entropy), rel=1e-5)


def test_the_row_tells_speed_and_health(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    lines: list[str] = []

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        lines.append(f"{stage} {note}")

    train(catalogue, settings(), tmp_path, cache=cache, report=report)
    last = rows_of(tmp_path)[-1]
    speed = last["speed"]
    assert speed["items_per_second"] > 0 and speed["peak_bytes"] > 1e7
    assert 0 < speed["seconds_waiting"] < 60
    assert last["gradient_norm"] > 0 and last["positives_per_anchor"] >= 1
    assert last["uniformity"] < 0 and 1 <= last["effective_rank"] <= 16
    assert last["scale"] > 0 and last["warnings"] == [UNASKED]  # eight validation items
    assert any(line.startswith("train") and "items/s" in line for line in lines)
    assert {line for line in lines if line.startswith("warning")} == {f"warning {UNASKED}"}


def collapsed(blank: Tokens, config: ModelConfig) -> Conditioner:
    """Make a conditioner whose bias outweighs all that an item says."""
    made = Conditioner(blank, config)
    for tower in (made.image, made.text):
        torch.nn.init.constant_(tower.whole.bias, 20.0)
    return made


def test_a_collapsed_model_is_told_what_to_do(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    told: list[str] = []

    def report(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "warning":
            told.append(note)

    config = settings(training__steps=5)
    recipe = Recipe(conditioner=collapsed)
    train(catalogue, config, tmp_path, cache=cache, report=report, recipe=recipe)
    warnings = rows_of(tmp_path)[-1]["warnings"]
    assert any("collapsed to almost one" in warning for warning in warnings)
    assert any("directions, expected at least 2" in warning for warning in warnings)
    assert set(warnings) <= set(told)


def test_a_step_that_went_wrong_is_told() -> None:
    taken = Taken({}, gradient_norm=math.nan, items=1, positives=0.0, waited=0.0)
    fine = replace(taken, gradient_norm=1.0, positives=1.0)
    said = " ".join(warnings_of(taken, Validation(0.0)))
    assert "not finite" in said
    assert warnings_of(fine, Validation(0.0)) == []
    assert spread(0.5, torch.zeros(3, 2)) == Validation(0.5)


def test_tensorboard_gets_the_same_numbers(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    accumulator = pytest.importorskip("tensorboard.backend.event_processing.event_accumulator")
    train(catalogue, settings(), tmp_path / "run", cache=cache, tensorboard=tmp_path / "board")
    events = accumulator.EventAccumulator(str(tmp_path / "board")).Reload()
    for name in ("validation", "losses/both", "speed/items_per_second", "uniformity"):
        found = [(event.step, event.value) for event in events.Scalars(name)]
        first, _, second = name.partition("/")
        values = [row[first][second] if second else row[first] for row in rows_of(tmp_path / "run")]
        assert found == [(5, pytest.approx(values[0])), (10, pytest.approx(values[1]))]


def test_without_tensorboard_the_extra_is_named(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(__import__("sys").modules, "torch.utils.tensorboard", None)
        with pytest.raises(RelatumError, match=r"not installed; pip install 'relatum\[scale\]'"):
            train(catalogue, settings(), cache=cache, tensorboard=tmp_path)
