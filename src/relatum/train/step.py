"""One step of training, and one validation.

In: a `Run`.
Out: the run a step further, the loss terms; the best weights so far.
This file does not know of folders.
"""

import math
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch

from relatum.batch import Part, Pool, Tokens, Vectors, draw_ask, draw_pool
from relatum.encoders import SIDES, forward_part
from relatum.encoders.tuning import tuned_tensors
from relatum.items import Item
from relatum.loss import Losses
from relatum.protocols.contestant import Participants, from_model
from relatum.protocols.retrieval import METRICS, measure
from relatum.train.run import Run


def take_step(run: Run) -> dict[str, float]:
    """Draw pools, contrast them, and step; all chance depends on the seed and the step alone."""
    settings = run.config.training
    chance = np.random.default_rng([settings.seed, run.step])
    torch.manual_seed(int(chance.integers(2**62)))
    _set_rate(run)
    run.model.conditioner.train()
    run.optimiser.zero_grad(set_to_none=True)
    pools = list(_draw_pools(run, chance))
    losses = Losses.mean(_pool_losses(run, pools))
    losses.total(run.config.loss).backward()
    parameters = [p for group in run.optimiser.param_groups for p in group["params"]]
    torch.nn.utils.clip_grad_norm_(parameters, settings.clip)
    run.optimiser.step()
    return losses.numbers()


def _set_rate(run: Run) -> None:
    """Warm up linearly, then follow a cosine to zero."""
    settings = run.config.training
    warm = max(settings.warmup * settings.steps, 1.0)
    done = run.step / settings.steps
    factor = min((run.step + 1) / warm, 0.5 * (1 + math.cos(math.pi * done)))
    for group in run.optimiser.param_groups:
        group["lr"] = group["peak"] * factor


def _draw_pools(run: Run, chance: np.random.Generator) -> Iterator[Pool]:
    """Draw the step's pools, each under another theme; the null relation is always among them."""
    settings = run.config.training
    others = len(run.themes) - 1
    count = min(settings.pools - 1, others)
    for pick in [*chance.choice(others, size=count, replace=False), others] if count else [others]:
        ask = draw_ask(
            run.themes[pick],
            chance,
            group_share=settings.group_share,
            paraphrase_share=settings.paraphrase_share,
        )
        pool = draw_pool(
            ask,
            run.anything,
            chance,
            size=min(settings.pool_size, len(run.items)),
            hard_share=settings.hard_share,
        )
        told = chance.random() >= settings.null_share
        yield pool if told else replace(pool, text=None, inverse=None)


def _pool_losses(run: Run, pools: Sequence[Pool]) -> list[Losses]:
    results: list[Losses] = []
    for pool in pools:
        kept = run.tokens[torch.from_numpy(pool.rows)].float()
        tokens = _tuned_now(run, [run.items[row] for row in pool.rows], kept)
        sources = run.model.conditioner(tokens, _asked(run, pool.text))
        targets: Vectors = sources
        inverse = pool.inverse if run.recipe.symmetric else None
        if inverse != pool.text:
            targets = run.model.conditioner(tokens, _asked(run, inverse))
        positives = torch.from_numpy(pool.positives)
        own = torch.eye(len(pool.rows), dtype=torch.bool)
        if not run.config.loss.inter_item:
            positives = torch.zeros_like(positives)
        elif pool.text is not None:
            own = torch.zeros_like(own)  # an item's own image is its pair under the null relation
        results.append(run.recipe.contrasts(sources, targets, positives, own, run.temperature))
    return results


def _tuned_now(run: Run, items: Sequence[Item], kept: Tokens) -> Tokens:
    """Replace what is kept by what a tuned tower says now; a frozen tower is never run again."""
    encoder, reduction = run.model.encoder, run.model.reduction
    for side in SIDES:
        if run.config.tuning.way(side) != "frozen":
            with _precision(run):
                part = forward_part(items, encoder, reduction, side).float()
            kept = replace(kept, **{side: part})
    return kept


def _precision(run: Run) -> torch.autocast:
    return torch.autocast("cpu", torch.bfloat16, enabled=run.config.training.bf16)


def _asked(run: Run, text: str | None) -> Part | None:
    """Return a relation's encoded text; a tuned encoder encodes it anew in every step."""
    if text is None or run.config.tuning.text == "frozen":
        return run.texts[text] if text is not None else None
    with _precision(run):
        raw = run.model.encoder.encode_texts([text])
        return run.model.reduction.text_part(raw).float()


def validate(run: Run) -> float:
    """Keep the weights if the mean of all measures of the fused vectors is the best so far.

    One measure alone jumps too much on a hundred items.
    """
    score = -float(run.step == 0)
    if run.questions:
        if run.config.tuning.text != "frozen":
            run.model.forget_texts()
        with torch.no_grad():
            tokens = _tuned_now(run, run.validation, run.validation_tokens)
        asked = Participants(run.validation, tokens)
        model = from_model("", run.model, symmetric=run.recipe.symmetric)
        outcome = measure("", model.method(asked, ("both",)), run.questions)
        score = sum(outcome.mean("both", metric) for metric in METRICS) / len(METRICS)
    if score > run.best_score or not run.questions:
        run.best_score, run.best_step = score, run.step
        run.best = {k: v.detach().clone() for k, v in run.model.conditioner.state_dict().items()}
        state = tuned_tensors(run.model.encoder, run.config.tuning)
        run.best_encoder = {k: v.clone() for k, v in state.items()}
    return score
