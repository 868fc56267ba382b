"""The tokens of a pool on their way into a step, and gradients on their way back to the encoders.

In: a run, a pool, its number in the step.
Out: a `Feed`: the tokens of this process's share of the pool; `back` ends the gradients' way.
This file does not know of losses.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from relatum.batch import Pool, Tokens
from relatum.distributed import greatest, rank, share
from relatum.encoders import forward_items
from relatum.train.run import Run

Forward = Callable[[slice], Tokens]


def _nothing() -> None:
    """Do nothing: the graph reaches as far as it should."""


@dataclass(frozen=True)
class Feed:
    """A share of a pool; `back`, called after the backward pass, goes on where the graph ends."""

    tokens: Tokens
    back: Callable[[], None] = _nothing


def feed(run: Run, pool: Pool, number: int) -> Feed:
    """Read the share's tokens from memory, or run encoders that are tuned."""
    rows = share(len(pool.rows))
    if run.config.tuning == "frozen":
        return Feed(run.tokens[torch.from_numpy(pool.rows)[rows]].float().to(run.device))
    items = [run.items[row] for row in pool.rows[rows.numpy()]]
    chunk = run.config.training.chunk or len(items)

    def forward(part: slice) -> Tokens:
        place = rank() * len(items) + part.start
        with _chance_of(run, number, place):
            tokens = forward_items(items[part], run.model.encoder, run.model.reduction)
        return tokens.float().to(run.device)

    if chunk >= len(items):
        return Feed(_as_wide_everywhere(forward(slice(0, len(items)))))
    parts = [slice(start, start + chunk) for start in range(0, len(items), chunk)]
    tokens, back = forward_twice(forward, parts)
    return Feed(_as_wide_everywhere(tokens), back)


def forward_twice(forward: Forward, parts: list[slice]) -> tuple[Tokens, Callable[[], None]]:
    """Run `forward` on one part after another without keeping what a gradient needs.

    The function that is returned runs each part again, this time with its graph, and sends the
    gradients that have reached the tokens through it: GradCache, arXiv 2101.06983. So memory holds
    one part's graph, and the gradients are those of the whole. `forward` must give the same twice.
    """
    with torch.no_grad():
        tokens = Tokens.join([forward(part) for part in parts])
    leaves = [leaf.requires_grad_() for leaf in _numbers(tokens)]

    def back() -> None:
        for part in parts:
            sent: list[Tensor] = []
            gradients: list[Tensor] = []
            for again, leaf in zip(_numbers(forward(part)), leaves, strict=True):
                if again.requires_grad and leaf.grad is not None:
                    sent.append(again)
                    gradients.append(leaf.grad[part][:, : again.shape[1]])
            torch.autograd.backward(sent, gradients)

    return tokens, back


def _numbers(tokens: Tokens) -> list[Tensor]:
    return [tensor for part in (tokens.image, tokens.text) for tensor in (part.tokens, part.pooled)]


@contextmanager
def _chance_of(run: Run, number: int, place: int) -> Iterator[None]:
    """Give the encoders chance of their own: by step, pool and row, so that it can be replayed."""
    cards = [run.device] if run.device.type == "cuda" else []
    seed = np.random.default_rng([run.config.training.seed, run.step, number, place])
    with torch.random.fork_rng(devices=cards):
        torch.manual_seed(int(seed.integers(2**62)))
        yield


def _as_wide_everywhere(tokens: Tokens) -> Tokens:
    """Pad to the longest item of the whole pool, as one process would."""
    widths = [tokens.image.mask.shape[1], tokens.text.mask.shape[1]]
    image, text = greatest(widths, tokens.image.mask.device)
    return Tokens(tokens.image.widen(image), tokens.text.widen(text))
