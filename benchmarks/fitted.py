"""A model that has learned nothing, but works as much as one that has."""

import torch
from scipy import sparse

from relatum import Model
from relatum.batch import Tokens
from relatum.conditioner import Conditioner


def fit_to_chance(model: Model, tokens: Tokens, texts: list[str]) -> None:
    """Fit a fresh model's closed forms to links drawn at random, one set for each known text."""
    count, head = len(tokens), model.conditioner
    assert isinstance(head, Conditioner)
    links = [sparse.csr_array(sparse.random_array((count, count), density=0.05, rng=seed))
             for seed in range(len(texts) + 1)]  # fmt: skip
    owners, pooled = torch.arange(1, len(texts) + 1), model.relation_parts(texts).pooled
    head.ridge.fit(tokens, links, pooled, owners)
    counts = torch.stack([torch.from_numpy((each > 0).sum(0)).float() for each in links[1:]])
    narrow = torch.arange(len(texts)) % 2 == 0  # every second one stands for a group's
    head.words.fit(tokens.text, pooled, counts, narrow)
    head.traits.fit(head.ridge.wanted(tokens), head.words.mean, pooled, narrow, counts > 0)
