"""The end of training: what follows from links and texts in closed form.

In: a run at its best weights.
Out: the same with its words fitted, its ridge if that does not lower the validation, and how much
     an image or a text alone counts.
This file does not know how the rest was learned.
"""

import torch
from jaxtyping import Float
from scipy import sparse
from torch import Tensor

from relatum.batch import Ask, Tokens
from relatum.closed import unit
from relatum.conditioner import Conditioner
from relatum.progress import Report
from relatum.ridge import Ridge
from relatum.train.feed import asked, tuned_now
from relatum.train.run import SEEN, Run
from relatum.train.step import examine
from relatum.words import Words

TEXTS = 4096  # relation texts that are known, at most
# by text: the place of its relation, all that it means, and whether it is that of a group
Known = dict[str, tuple[int, list[Ask], bool]]


@torch.no_grad()
def fit_closed_forms(run: Run, report: Report) -> None:
    """Fit what a module has of both to the training items, as the encoders give them now."""
    step = -(-len(run.items) // SEEN)  # an even sample of the many
    tokens = _tokens(run, step)
    if run.config.loss.inter_item and not run.recipe.symmetric:
        _fit_to_links(run, tokens, step, report)
    if isinstance(run.model.conditioner, Conditioner):
        run.model.conditioner.fit_alone(tokens)


def _fit_to_links(run: Run, tokens: Tokens, step: int, report: Report) -> None:
    parts = (getattr(run.model.conditioner, name, None) for name in ("ridge", "words", "traits"))
    ridge, words, traits = parts
    has_ridge = isinstance(ridge, Ridge) and ridge.size > 0 and run.config.model.ridge_weight > 0
    has_words = isinstance(words, Words) and run.config.model.conditioned
    if not has_ridge and not has_words:
        return
    known, texts = _known(run)
    narrow = torch.tensor([is_narrow for *_, is_narrow in known.values()], dtype=torch.bool)
    members = torch.zeros(len(known), len(tokens), dtype=torch.bool)
    if words is not None and known:
        counts = _counts(known, step, len(tokens))
        words.fit(tokens.text, texts, counts, narrow)
        members = counts > 0
        del counts  # it may be large
    if ridge is not None and has_ridge:
        _fit_ridge(run, ridge, tokens, known, texts, step, report)
        if words is not None and traits is not None:
            mean = words.mean if words.is_fitted else unit(texts).mean(0, keepdim=True)
            traits.fit(ridge.wanted(tokens), mean, texts, narrow, members)


def _counts(known: Known, step: int, items: int) -> Float[Tensor, "texts items"]:
    """Return how many links, as each text means them, lead to each item that is seen."""
    counts = torch.zeros(len(known), items)
    for row, (_, asks, _) in zip(counts, known.values(), strict=True):
        for ask in asks:
            row += torch.from_numpy(sparse.csr_array(ask.links > 0).sum(0)[::step])
    return counts


def _fit_ridge(
    run: Run,
    ridge: Ridge,
    tokens: Tokens,
    known: Known,
    texts: Float[Tensor, "texts width"],
    step: int,
    report: Report,
) -> None:
    """Fit the ridge to the training links, and forget it where the validation falls by it."""
    themes = run.themes if run.config.model.conditioned else run.themes[-1:]
    links = [theme.whole[0].links[::step, ::step] for theme in themes]
    owners = torch.tensor([place for place, *_ in known.values()], dtype=torch.int64)
    before = run.best_score
    ridge.fit(tokens, [links[-1], *links[:-1]], texts, owners)
    after = examine(run).score
    if after < before:
        ridge.forget()
    report("ridge", 1, 1, f"validation {before:.3f}, with the links in closed form {after:.3f}")
    run.best_score = max(before, after)


def _known(run: Run) -> tuple[Known, Float[Tensor, "texts width"]]:
    """Return the texts that may be asked in training, and their vectors; relations' go first."""
    known: Known = {}
    themes = list(enumerate(run.themes[:-1] if run.config.model.conditioned else (), 1))
    whole = [(place, ask, False) for place, theme in themes for ask in theme.whole]
    groups = [(place, ask, True) for place, theme in themes for ask in theme.groups]
    for place, ask, is_narrow in (*whole, *groups):
        if ask.text is not None and (ask.text in known or len(known) < TEXTS):
            known.setdefault(ask.text, (place, [], is_narrow))[1].append(ask)
    parts = [part.pooled for text in known if (part := asked(run, text)) is not None]
    width = run.validation_tokens.text.pooled.shape[1]
    return known, torch.cat(parts).float().cpu() if parts else torch.zeros(0, width)


def _tokens(run: Run, step: int) -> Tokens:
    """Return the training items as the encoders give them now."""
    rows = torch.arange(0, len(run.items), step)
    if run.config.tuning.is_frozen:
        return run.tokens[rows].float()
    size = run.config.training.chunk or run.config.training.pool_size
    parts = [
        tuned_now(run, [run.items[row] for row in some], run.tokens[some].float())
        for some in rows.split(size)
    ]
    return Tokens.join(parts).cpu()
