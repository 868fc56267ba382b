"""Encoders that are tuned a few items at a time learn what they would from the whole pool."""

from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from torch import Tensor

from conftest import Settings
from relatum import Catalogue
from relatum.batch import Part, Tokens
from relatum.encoders import Dual
from relatum.encoders.tuning import tuned_tensors
from relatum.progress import silent
from relatum.train import feed
from relatum.train.run import Run, prepare
from relatum.train.step import take_step

UNFELT = ("temperature/bias", "k_proj.bias")  # see test_distributed.py
Start = Callable[[Run], None]


def tune(
    catalogue: Catalogue, settings: Settings, cache: Path, *, chunk: int, start: Start
) -> dict[str, Tensor]:
    """Return the weights after four steps."""
    config = settings(
        tuning="full", training__chunk=chunk, training__encoder_rate=1e-4, model__beta=0.5
    )
    run = prepare(catalogue, config, cache, silent)
    start(run)
    for _ in range(4):
        take_step(run)
        run.step += 1
    parts = {"weights": run.model.conditioner, "temperature": run.temperature}
    towers = {
        f"encoder/{k}": t for k, t in tuned_tensors(run.model.encoder, run.config.tuning).items()
    }
    state = {part: module.state_dict() for part, module in parts.items()}
    return towers | {f"{part}/{k}": t for part, some in state.items() for k, t in some.items()}


def same(one: dict[str, Tensor], other: dict[str, Tensor]) -> bool:
    felt = [name for name in one if not name.endswith(UNFELT)]
    return all(torch.allclose(one[name], other[name], rtol=0, atol=1e-5) for name in felt)


def without_dropout(run: Run) -> None:
    """Leave the encoders as they are."""


def with_dropout(run: Run) -> None:
    """Make the encoders' attention drop a third of its weights."""
    assert isinstance(run.model.encoder, Dual)
    for module in run.model.encoder.train().modules():
        if type(module).__name__ == "CLIPAttention":
            module.dropout = 0.3  # pyright: ignore


def test_chunks_give_the_weights_of_the_whole_pool(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    whole = tune(catalogue, settings, cache, chunk=0, start=without_dropout)
    assert same(whole, tune(catalogue, settings, cache, chunk=5, start=without_dropout))


def test_dropout_in_the_encoders_is_the_same_in_both_passes(
    catalogue: Catalogue, settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    twice = tune(catalogue, settings, cache, chunk=5, start=with_dropout)

    def once(forward: feed.Forward, parts: list[slice]) -> tuple[Tokens, Callable[[], None]]:
        """Keep the graphs of all chunks: what the second pass stands for."""
        made = [forward(part) for part in parts]
        image, text = (
            Part.join([getattr(one, name) for one in made]) for name in ("image", "text")
        )
        return Tokens(image, text), lambda: None

    monkeypatch.setattr(feed, "forward_twice", once)
    assert same(twice, tune(catalogue, settings, cache, chunk=5, start=with_dropout))


def test_only_one_chunk_has_a_graph_at_a_time() -> None:
    weight = torch.ones(1, requires_grad=True)
    seen: list[tuple[slice, bool]] = []

    def forward(part: slice) -> Tokens:
        seen.append((part, torch.is_grad_enabled()))
        rows = torch.arange(4.0)[part, None, None] * weight
        half = part_of(rows)
        return Tokens(half, half)

    parts = [slice(0, 3), slice(3, 6)]
    tokens, back = feed.forward_twice(forward, parts)
    (tokens.image.pooled.sum() + tokens.text.tokens.square().sum()).backward()
    assert weight.grad is None
    back()
    assert weight.grad is not None and weight.grad.item() == 6 + 2 * 14
    assert seen == [(part, is_kept) for is_kept in (False, True) for part in parts]


def part_of(rows: Tensor) -> Part:
    return Part(rows, torch.ones(rows.shape[:2], dtype=torch.bool), rows[:, 0])
