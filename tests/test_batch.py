"""Pools hold what they promise: positives of the whole graph, hard negatives, no surprises."""

import numpy as np
import pytest
import torch

from relatum import Catalogue, Config
from relatum.batch import Part, Theme, draw_ask, draw_pool, training_themes
from relatum.catalogue import linked, split_catalogue


@pytest.fixture(scope="module")
def rows(catalogue: Catalogue) -> dict[str, int]:
    split = split_catalogue(catalogue, Config().split)
    return {name: row for row, name in enumerate(split.train)}


@pytest.fixture(scope="module")
def themes(catalogue: Catalogue, rows: dict[str, int]) -> tuple:
    return training_themes(catalogue, split_catalogue(catalogue, Config().split), rows)


def test_every_direction_is_a_theme_and_the_null_relation_is_the_last(themes: tuple) -> None:
    texts = [theme.whole[0].text for theme in themes[0]]
    assert texts == [
        "are of the same colour",
        "have the same shape",
        "is larger than",
        "is smaller than",
        None,
    ]
    assert [ask.text for ask in themes[0][0].whole[1:]] == ["have one colour"]
    assert {ask.text for ask in themes[0][0].groups} == {
        f"both are {colour}" for colour in ("red", "green", "blue", "black")
    }


def test_positives_come_from_the_whole_graph(
    catalogue: Catalogue, rows: dict[str, int], themes: tuple
) -> None:
    every, anything = themes
    truth = linked(catalogue, "colour", rows).toarray() > 0
    for seed in range(20):
        rng = np.random.default_rng(seed)
        pool = draw_pool(every[0].whole[0], anything, rng, size=12, hard_share=0.33)
        assert len(set(pool.rows.tolist())) == len(pool.rows) <= 14
        assert (pool.positives == truth[np.ix_(pool.rows, pool.rows)]).all()
        assert pool.positives.any()


def test_hard_negatives_are_linked_under_another_relation(themes: tuple) -> None:
    every, anything = themes
    ask = every[0].whole[0]
    with_hard, without = [], []
    for seed in range(30):
        for share, counts in ((0.5, with_hard), (0.0, without)):
            rng = np.random.default_rng(seed)
            pool = draw_pool(ask, anything, rng, size=10, hard_share=share)
            other = (anything.toarray() > 0)[np.ix_(pool.rows, pool.rows)] & ~pool.positives
            counts.append(other.sum())
    assert np.mean(with_hard) > np.mean(without)


def test_a_directed_relation_is_asked_from_both_ends(themes: tuple) -> None:
    forward, backward = themes[0][2].whole[0], themes[0][3].whole[0]
    assert (forward.text, forward.inverse) == (backward.inverse, backward.text)
    assert (forward.links.toarray() == backward.links.toarray().T).all()


def test_held_out_groups_and_relations_are_never_asked(catalogue: Catalogue) -> None:
    config = Config(split={"held_out_groups": 0.5, "held_out_relations": ["shape"]})
    split = split_catalogue(catalogue, config.split)
    rows = {name: row for row, name in enumerate(split.train)}
    themes, anything = training_themes(catalogue, split, rows)
    texts = {ask.text for theme in themes for ask in (*theme.whole, *theme.groups)}
    hidden = {f"both are {name.split('/')[1]}" for name in split.groups_held_out}
    assert len(hidden) == 2
    assert not texts & (hidden | {"have the same shape"})
    kept = linked(catalogue, "colour", rows, split.groups_held_out)
    larger = linked(catalogue, "larger", rows)
    assert anything.nnz == kept.maximum(larger).maximum(larger.T).nnz


def test_shares_decide_how_a_theme_is_asked(themes: tuple) -> None:
    theme: Theme = themes[0][0]
    rng = np.random.default_rng(0)
    drawn = [draw_ask(theme, rng, group_share=1.0, paraphrase_share=0.0).text for _ in range(20)]
    assert all(text and text.startswith("both are") for text in drawn)
    drawn = [draw_ask(theme, rng, group_share=0.0, paraphrase_share=0.0).text for _ in range(5)]
    assert set(drawn) == {"are of the same colour"}


def test_joining_pads_to_the_longest() -> None:
    short = Part(torch.ones(1, 2, 3), torch.ones(1, 2, dtype=torch.bool), torch.ones(1, 4))
    long = Part(torch.ones(2, 5, 3), torch.ones(2, 5, dtype=torch.bool), torch.ones(2, 4))
    joined = Part.join([short, long])
    assert joined.mask.sum(1).tolist() == [2, 5, 5]
