"""Which relation links these two: the term that contrasts the relations of a linked pair.

In: a run, a pool of items linked under anything, its tokens.
Out: the term, which is zero where there is nothing to tell apart.
This file does not know of other terms.
"""

import numpy as np
import torch
from torch import Tensor

from relatum.batch import Part, Pool, Tokens
from relatum.conditioner import Conditioner
from relatum.distributed import add_up, gather, rank, share_pool
from relatum.loss import contrast
from relatum.train.feed import asked
from relatum.train.run import Run

PAIRS = 64  # of a step at most
RELATIONS = 16  # told apart in a step at most


def tell_apart(run: Run, pool: Pool, tokens: Tokens, chance: np.random.Generator) -> Tensor:
    """Contrast the cosines of linked pairs under the texts of the relations that are trained on.

    `tokens` are this process's share of the pool. What a contrast of items leaves open, this
    settles: that a pair's cosine is higher under the relation that links it than under others.
    """
    model, themes, loss = run.model.conditioner, run.themes[:-1], run.config.loss
    is_wanted = loss.relations > 0 and loss.inter_item and run.config.model.conditioned
    picked = chance.permutation(len(themes))[:RELATIONS]
    ends = chance.permutation(np.argwhere(pool.positives))[:PAIRS].T
    if not is_wanted or run.recipe.symmetric or len(themes) < 2 or not ends.size:
        return torch.zeros((), device=run.device)
    if not isinstance(model, Conditioner):  # a rival has its own loss
        return torch.zeros((), device=run.device)
    asks = [themes[pick].whole[0] for pick in picked.tolist()]
    truth = np.stack([np.asarray(ask.links[*pool.rows[ends]]) > 0 for ask in asks], axis=1)
    share_pool(len(pool.rows))
    texts = Part.join([part for ask in asks if (part := asked(run, ask.text)) is not None])
    targets = gather(model(tokens, None).both, len(pool.rows), split=True)
    sources, wanted = torch.from_numpy(ends).to(run.device)
    own = sources - rank() * len(tokens)
    mine = torch.nonzero((own >= 0) & (own < len(tokens)))[:, 0]
    cosines = torch.zeros(len(asks), len(own), device=run.device)
    maps, others = model.map(tokens), targets[wanted[mine]]
    cosines[:, mine] = model.cosines(maps, tokens, texts, own[mine], others)
    links = torch.from_numpy(truth).to(run.device)
    return contrast(run.temperature(add_up(cosines).T), links, torch.ones_like(links))
