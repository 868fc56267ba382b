"""A model that has learned nothing, but works as much as one that has."""

import torch
from scipy import sparse

from relatum import Model
from relatum.batch import Tokens


def fit_ridge(model: Model, tokens: Tokens, texts: list[str]) -> None:
    """Fit the ridge of a fresh model to links drawn at random, one set for each known text."""
    count = len(tokens)
    links = [sparse.csr_array(sparse.random_array((count, count), density=0.05, rng=seed))
             for seed in range(len(texts) + 1)]  # fmt: skip
    owners = torch.arange(1, len(texts) + 1)
    model.conditioner.ridge.fit(tokens, links, model.relation_parts(texts).pooled, owners)  # pyright: ignore
