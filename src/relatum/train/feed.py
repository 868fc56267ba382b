"""The tokens of a pool on their way into a step, and gradients on their way back to the encoders.

In: a run, a pool, its number in the step.
Out: the tokens of this process's share of the pool, and `back`, to be called after the backward
pass: it goes on where the graph ends.
This file does not know of losses.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch import Tensor

from relatum.batch import Part, Pool, Tokens
from relatum.distributed import rank, share
from relatum.encoders import SIDES, forward_part
from relatum.items import Item
from relatum.train.run import Run

Forward = Callable[[slice], Tokens]
Back = Callable[[], None]


def feed(run: Run, pool: Pool, number: int) -> tuple[Tokens, Back]:
    """Read the share's tokens from memory, or run encoders that are tuned."""
    rows = share(len(pool.rows))
    kept = run.tokens[torch.from_numpy(pool.rows)[rows]].float()
    if run.config.tuning.is_frozen:
        return kept.to(run.device), lambda: None
    items = [run.items[row] for row in pool.rows[rows.numpy()]]
    cards = [run.device] if run.device.type == "cuda" else []
    seed = run.config.training.seed

    def forward(part: slice) -> Tokens:
        place = [seed, run.step, number, rank() * len(items) + part.start]
        with torch.random.fork_rng(devices=cards):  # chance that can be replayed
            torch.manual_seed(int(np.random.default_rng(place).integers(2**62)))
            tokens = tuned_now(run, items[part], kept[part])
        text = tokens.text.widen(run.config.tokens.text_tokens)  # alike in all processes
        return Tokens(tokens.image, text)

    chunk = run.config.training.chunk or len(items)
    if chunk >= len(items):
        return forward(slice(0, len(items))), lambda: None
    return forward_twice(forward, [slice(i, i + chunk) for i in range(0, len(items), chunk)])


def tuned_now(run: Run, items: Sequence[Item], kept: Tokens) -> Tokens:
    """Replace what is kept by what a tuned tower says now; a frozen tower is never run again.

    Both are returned where the loss is computed.
    """
    encoder, reduction = run.model.encoder, run.model.reduction
    for side in SIDES:
        if run.config.tuning.way(side) != "frozen":
            with precision(run):
                part = forward_part(items, encoder, reduction, side).float()
            kept = replace(kept, **{side: part})
    return kept.to(run.device)


def precision(run: Run) -> torch.autocast:
    """Return the precision that tuned towers run in."""
    return torch.autocast(run.device.type, torch.bfloat16, enabled=run.config.training.bf16)


def forward_twice(forward: Forward, parts: list[slice]) -> tuple[Tokens, Back]:
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


def asked(run: Run, text: str | None) -> Part | None:
    """Return a relation's encoded text; a tuned encoder encodes it anew in every step."""
    if text is None or run.config.tuning.text == "frozen":
        return run.texts[text].to(run.device) if text is not None else None
    with precision(run):
        raw = run.model.encoder.encode_texts([text])
        return run.model.reduction.text_part(raw).float().to(run.device)
