"""Metrics against plain Python loops, on random scores with ties."""

import numpy as np
import pytest

from relatum.metrics import (
    bootstrap,
    filtered_reciprocal,
    hit_at,
    macro_mean,
    precision_at,
    rank_of_first,
    reciprocal,
)

SEEDS = range(20)


def _tied_scores(rng: np.random.Generator, queries: int, candidates: int) -> np.ndarray:
    return rng.integers(0, 6, size=(queries, candidates)) / 5.0


def _plain_rank(first: float, others: list[float]) -> float:
    better = sum(1 for other in others if other > first)
    equal = sum(1 for other in others if other == first)
    return 1.0 + better + equal / 2


def test_scores_that_are_no_numbers_rank_last() -> None:
    nan = float("nan")
    rows = np.array([[nan, nan, nan], [nan, 0.1, 0.2], [0.3, nan, 0.2], [0.3, 0.1, 0.2]])
    assert rank_of_first(rows).tolist() == [3.0, 3.0, 2.0, 1.0]


@pytest.mark.parametrize("seed", SEEDS)
def test_ranks_hits_and_reciprocals_equal_a_plain_loop(seed: int) -> None:
    scores = _tied_scores(np.random.default_rng(seed), 9, 21)
    ranks = [_plain_rank(row[0], row[1:]) for row in scores.tolist()]
    found = rank_of_first(scores)
    assert found.tolist() == ranks
    for k in (1, 5):
        assert hit_at(found, k).tolist() == [1.0 if rank <= k else 0.0 for rank in ranks]
    assert np.allclose(reciprocal(found), [1 / rank for rank in ranks])


def test_a_rank_is_the_mean_of_its_ties() -> None:
    assert rank_of_first(np.zeros((1, 21))).tolist() == [11.0]


@pytest.mark.parametrize("seed", SEEDS)
def test_precision_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = _tied_scores(rng, 7, 30)
    right, candidates = rng.random((7, 30)) < 0.3, rng.random((7, 30)) < 0.8
    expected = []
    for row in range(7):
        # stable: of equal scores, the earlier candidate comes first
        offered = [place for place in range(30) if candidates[row, place]]
        order = sorted(offered, key=lambda place: -scores[row, place])
        expected.append(sum(bool(right[row, place]) for place in order[:10]) / 10)
    assert np.allclose(precision_at(scores, right, candidates, 10), expected)


def test_precision_never_counts_what_is_no_candidate() -> None:
    scores, right = np.array([[0.9, 0.8, 0.1]]), np.array([[True, True, True]])
    candidates = np.array([[False, True, False]])
    assert precision_at(scores, right, candidates, 3).tolist() == [pytest.approx(1 / 3)]


@pytest.mark.parametrize("seed", SEEDS)
def test_filtered_reciprocal_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    scores = _tied_scores(rng, 7, 30)
    right, candidates = rng.random((7, 30)) < 0.2, rng.random((7, 30)) < 0.8
    right[0] = False
    expected = []
    for row in range(7):
        wrong = [scores[row, c] for c in range(30) if candidates[row, c] and not right[row, c]]
        good = [scores[row, c] for c in range(30) if candidates[row, c] and right[row, c]]
        values = [1 / _plain_rank(score, wrong) for score in good]
        expected.append(sum(values) / len(values) if values else 0.0)
    assert np.allclose(filtered_reciprocal(scores, right, candidates), expected)


def test_other_right_ones_do_not_worsen_a_filtered_rank() -> None:
    scores = np.array([[0.9, 0.8, 0.7, 0.1]])
    right = np.array([[True, True, True, False]])
    assert filtered_reciprocal(scores, right, np.ones_like(right)).tolist() == [1.0]


@pytest.mark.parametrize("seed", SEEDS)
def test_macro_mean_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.random(size) for size in (3, 1, 0, 8)]
    means = [sum(values.tolist()) / len(values) for values in groups if len(values)]
    assert macro_mean(groups) == pytest.approx(sum(means) / len(means))


def test_nothing_has_no_mean_and_no_interval() -> None:
    empty = [np.zeros(0)]
    assert np.isnan(macro_mean(empty))
    assert np.isnan(bootstrap(empty)).all()


def _plain_bootstrap(groups: list[np.ndarray], draws: int, seed: int) -> tuple[float, float]:
    rng = np.random.default_rng(seed)
    picks = [rng.integers(len(values), size=(draws, len(values))) for values in groups]
    totals = []
    for draw in range(draws):
        means = []
        for values, picked in zip(groups, picks, strict=True):
            drawn = [float(values[place]) for place in picked[draw]]
            means.append(sum(drawn) / len(drawn))
        totals.append(sum(means) / len(means))
    totals.sort()
    return _percentile(totals, 0.025), _percentile(totals, 0.975)


def _percentile(ordered: list[float], share: float) -> float:
    place = share * (len(ordered) - 1)
    below = int(place)
    above = min(below + 1, len(ordered) - 1)
    return ordered[below] + (place - below) * (ordered[above] - ordered[below])


@pytest.mark.parametrize("seed", range(4))
def test_the_bootstrap_equals_a_plain_loop(seed: int) -> None:
    rng = np.random.default_rng(seed)
    groups = [rng.integers(0, 2, size=size).astype(float) for size in (5, 12, 2)]
    found = bootstrap(groups, draws=200, seed=seed)
    assert found == pytest.approx(_plain_bootstrap(groups, 200, seed))


def test_the_interval_covers_the_mean_about_as_often_as_it_says() -> None:
    rng = np.random.default_rng(0)
    covered = 0
    for _ in range(200):
        low, high = bootstrap([(rng.random(60) < 0.5).astype(float)], draws=200)
        covered += low <= 0.5 <= high
    assert 0.88 <= covered / 200 <= 0.99
