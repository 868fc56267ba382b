"""A linked pair's cosine is contrasted between the relations that may link it."""

from pathlib import Path

import numpy as np
import pytest
import torch

from conftest import Settings
from relatum import Catalogue
from relatum.batch import Pool
from relatum.progress import silent
from relatum.train.kinds import tell_apart
from relatum.train.run import Recipe, Run, prepare


@pytest.fixture
def run(catalogue: Catalogue, settings: Settings, cache: Path) -> Run:
    run = prepare(catalogue, settings(model__dropout=0.0), cache, silent)
    for weights in run.model.conditioner.parameters():
        torch.nn.init.normal_(weights, std=0.5, generator=torch.Generator().manual_seed(0))
    return run


def pool_of(run: Run, count: int = 8) -> Pool:
    rows = np.flatnonzero(np.diff(run.anything.indptr))[:count]
    links = run.themes[-1].whole[0].links[np.ix_(rows, rows)].toarray() > 0
    return Pool(rows, None, None, links)


def term(run: Run, pool: Pool) -> float:
    tokens = run.tokens[torch.from_numpy(pool.rows)].float()
    return float(tell_apart(run, pool, tokens, np.random.default_rng(0)).detach())


def test_the_term_is_the_contrast_written_out_pair_by_pair(run: Run) -> None:
    pool = pool_of(run)
    tokens = run.tokens[torch.from_numpy(pool.rows)].float()
    asks = [theme.whole[0] for theme in run.themes[:-1]]
    wanted = run.model.condition(tokens, None).both
    asked = [run.model.condition(tokens, ask.text).both for ask in asks]
    each: list[float] = []
    for a, b in np.argwhere(pool.positives).tolist():
        logits = torch.stack([run.temperature(vectors[a] @ wanted[b]) for vectors in asked])
        true = [bool(ask.links[pool.rows[a], pool.rows[b]]) for ask in asks]
        assert any(true)
        each.append(float(-torch.log_softmax(logits, 0)[true].mean().detach()))
    assert 0 < len(each) <= 64 and 1 < len(asks) <= 16
    assert term(run, pool) == pytest.approx(np.mean(each), rel=1e-5)


def test_a_step_down_the_term_tells_relations_better_apart(run: Run) -> None:
    pool = pool_of(run)
    tokens = run.tokens[torch.from_numpy(pool.rows)].float()
    before = tell_apart(run, pool, tokens, np.random.default_rng(0))
    before.backward()
    with torch.no_grad():
        for weights in run.model.conditioner.parameters():
            weights -= 0.01 * (weights.grad if weights.grad is not None else 0)
    assert term(run, pool) < float(before.detach())


def test_there_is_no_term_without_links_texts_or_another_relation(
    run: Run, catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    assert term(run, pool_of(run)) > 0
    lone = Pool(np.arange(8), None, None, np.zeros((8, 8), dtype=bool))
    assert term(run, lone) == 0
    run.themes = run.themes[-2:]
    assert term(run, pool_of(run)) == 0
    for change in ({"model__conditioned": False}, {"loss__inter_item": False}):
        other = prepare(catalogue, settings(**change), cache, silent)
        assert term(other, pool_of(other)) == 0
    both_ends = Recipe(symmetric=True)
    other = prepare(catalogue, settings(), cache, silent, both_ends)
    assert term(other, pool_of(other)) == 0
