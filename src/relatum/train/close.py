"""The end of training: what follows from the links in closed form.

In: a run at its best weights.
Out: the same with its ridge fitted, if that does not lower the validation.
This file does not know how the rest was learned.
"""

import torch

from relatum.batch import Part, Tokens
from relatum.progress import Report
from relatum.ridge import Ridge
from relatum.train.feed import asked, tuned_now
from relatum.train.run import SEEN, Run
from relatum.train.step import examine

TEXTS = 4096  # relation texts that are known, at most


@torch.no_grad()
def fit_ridge(run: Run, report: Report) -> None:
    """Fit the ridge to the training links, and forget it where the validation falls by it."""
    ridge, config = getattr(run.model.conditioner, "ridge", None), run.config
    if not isinstance(ridge, Ridge) or not ridge.size or not config.model.ridge_weight:
        return
    if run.recipe.symmetric or not config.loss.inter_item:
        return
    step = -(-len(run.items) // SEEN)  # an even sample of the many
    themes = run.themes if config.model.conditioned else run.themes[-1:]
    links = [theme.whole[0].links[::step, ::step] for theme in themes]
    owners: dict[str, int] = {}
    for place, theme in enumerate(themes[:-1], 1):
        for ask in (*theme.whole, *theme.groups):
            if ask.text is not None and len(owners) < TEXTS:
                owners.setdefault(ask.text, place)
    known = [part.pooled for text in owners if (part := asked(run, text)) is not None]
    texts = torch.cat(known).float() if known else torch.zeros(0, ridge.texts.shape[1])
    places, before = torch.tensor([*owners.values()], dtype=torch.int64), run.best_score
    ridge.fit(_tokens(run, step), [links[-1], *links[:-1]], texts.cpu(), places)
    after = examine(run).score
    if after < before:
        ridge.forget()
    report("ridge", 1, 1, f"validation {before:.3f}, with the links in closed form {after:.3f}")
    run.best_score = max(before, after)


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
    joined = Tokens(Part.join([one.image for one in parts]), Part.join([one.text for one in parts]))
    return joined.cpu()
