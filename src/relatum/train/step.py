"""One step of training, and one validation.

In: a `Run`.
Out: the run a step further, what the step did; the best weights so far.
This file does not know of folders.
"""

import math
import time
from collections.abc import Iterator, Sequence
from dataclasses import replace

import numpy as np
import torch
from torch.autograd.graph import increment_version

from relatum.batch import Pool, Tokens, Vectors, draw_ask, draw_pool
from relatum.distributed import add_gradients, agree, gather, is_first, share_pool
from relatum.encoders.tuning import tuned_tensors
from relatum.loss import Losses
from relatum.protocols.contestant import Participants, from_model
from relatum.protocols.retrieval import METRICS, measure
from relatum.sharding import clip, is_split
from relatum.train.feed import Back, asked, feed, tuned_now
from relatum.train.kinds import tell_apart
from relatum.train.run import Run
from relatum.train.watch import Taken, Validation, spread

# what chance is left, torch's seed, the pools and their tokens
Loaded = tuple[np.random.Generator, int, list[Pool], list[tuple[Tokens, Back]]]


def take_step(run: Run) -> Taken:
    """Draw pools, contrast them, and step; all chance depends on the seed and the step alone."""
    begun = time.perf_counter()
    chance, seed, pools, feeds = _load_ahead(run)
    waited = time.perf_counter() - begun
    _sow(run, seed)
    _set_rate(run)
    run.model.conditioner.train()
    run.optimiser.zero_grad(set_to_none=True)
    feeds = feeds or _feed_all(run, pools)
    pairs = zip(pools, feeds, strict=True)
    losses = Losses.mean([_pool_losses(run, pool, tokens) for pool, (tokens, _) in pairs])
    told = tell_apart(run, pools[-1], feeds[-1][0], chance)
    total = losses.total(run.config.loss) + run.config.loss.relations * told
    total.backward()
    for _, back in feeds:
        back()
    norm = _finish_gradients(run)
    run.optimiser.step()
    for group in run.optimiser.param_groups:  # a fused step does not, and fingerprints go by it
        increment_version(group["params"])
    anchors = [pool.positives.sum() / max(pool.positives.any(1).sum(), 1) for pool in pools]
    items = sum(len(pool.rows) for pool in pools)
    terms = {**losses.numbers(), "relations": float(told.detach())}
    return Taken(terms, norm, items, float(np.mean(anchors)), waited)


def _sow(run: Run, seed: int) -> None:
    """Seed torch's chance; without a card in use, without a look at all kinds of cards (2 ms)."""
    sow = torch.manual_seed if run.device.type == "cuda" else torch.default_generator.manual_seed
    sow(seed)


def _load_ahead(run: Run) -> Loaded:
    """Return what this step is made of, and have the next one's read by another thread."""
    ready = run.ahead.pop(run.step, None)
    loaded = ready.result() if ready else _load(run, run.step)
    run.ahead.clear()
    if run.step + 1 < run.steps:
        run.ahead[run.step + 1] = run.reader.submit(_load, run, run.step + 1)
    return loaded


def _load(run: Run, step: int) -> Loaded:
    """Draw a step's pools and read their tokens; tuned encoders run later, in the step."""
    chance = np.random.default_rng([run.config.training.seed, step])
    seed = int(chance.integers(2**62))
    pools = list(_draw_pools(run, chance))
    feeds = _feed_all(run, pools) if run.config.tuning.is_frozen else []
    return chance, seed, pools, feeds


def _feed_all(run: Run, pools: Sequence[Pool]) -> list[tuple[Tokens, Back]]:
    return [feed(run, pool, number) for number, pool in enumerate(pools)]


def _finish_gradients(run: Run) -> float:
    """Add up the gradients of all processes and clip them; return their norm before that."""
    parameters = [p for group in run.optimiser.param_groups for p in group["params"]]
    after = list(run.temperature.parameters())  # used on gathered vectors
    before = [p for p in parameters if all(p is not other for other in after)]
    add_gradients([p for p in before if not is_split(p)], after)  # FSDP has added the others
    return clip(parameters, run.config.training.clip)


def _set_rate(run: Run) -> None:
    """Warm up linearly, then follow a cosine to zero."""
    settings = run.config.training
    warm = max(settings.warmup * run.steps, 1.0)
    done = run.step / run.steps
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


def _pool_losses(run: Run, pool: Pool, tokens: Tokens) -> Losses:
    """Contrast a pool, of which `tokens` are this process's share."""
    sources = _condition(run, pool, tokens, pool.text)
    targets: Vectors = sources
    inverse = pool.inverse if run.recipe.symmetric else None
    if inverse != pool.text:
        targets = _condition(run, pool, tokens, inverse)
    positives = torch.from_numpy(pool.positives).to(run.device)
    own = torch.eye(len(pool.rows), dtype=torch.bool, device=run.device)
    if not run.config.loss.inter_item:
        positives = torch.zeros_like(positives)
    elif pool.text is not None:
        own = torch.zeros_like(own)  # an item's own image is its pair under the null relation
    return run.recipe.contrasts(sources, targets, positives, own, run.temperature)


def _condition(run: Run, pool: Pool, tokens: Tokens, text: str | None) -> Vectors:
    """Condition this process's share and gather the whole pool's vectors."""
    share_pool(len(pool.rows))
    vectors = run.model.conditioner(tokens, asked(run, text))
    one = torch.stack([vectors.image, vectors.text, vectors.both], dim=1)
    return Vectors(*gather(one, len(pool.rows)).unbind(1))


def validate(run: Run) -> Validation:
    """Keep the weights if the mean of all measures of the fused vectors is the best so far.

    One measure alone jumps too much on a hundred items. The first process measures for all, unless
    no process has all weights.
    """
    found = agree(examine(run) if is_first() or run.is_sharded else Validation(0.0))
    if found.score > run.best_score or not run.questions:
        run.best_score, run.best_step = found.score, run.step
        run.best = {k: v.detach().clone() for k, v in run.model.conditioner.state_dict().items()}
        state = tuned_tensors(run.model.encoder, run.config.tuning)
        run.best_encoder = {k: v.clone() for k, v in state.items()}
    return found


def examine(run: Run) -> Validation:
    """Measure the model as it is on the validation items."""
    score, tokens = 0.0 if run.step else -1.0, run.validation_tokens
    if run.questions:
        if run.config.tuning.text != "frozen":
            run.model.forget_texts()
        with torch.no_grad():
            tokens = tuned_now(run, run.validation, run.validation_tokens)
        asked = Participants(run.validation, tokens)
        model = from_model("", run.model, symmetric=run.recipe.symmetric)
        outcome = measure("", model.method(asked, ("both",)), run.questions)
        score = sum(outcome.mean("both", metric) for metric in METRICS) / len(METRICS)
    return spread(score, run.model.condition(tokens, None).both)
