import numpy as np
import pytest
from scipy.special import expit

from relatum.errors import StoreError
from relatum.store.calibration import Line, Lines, count_scores, fit_line, ratio_of_spreads

COMMON = (15.0, 0.0, -7.0)


def drawn(asked: int, line: Line, seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    """Draw how alike items are to a thousand others, and which of these they are linked to."""
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.2, 0.2, (asked, 1000))
    return scores, rng.random(scores.shape) < 1 / (1 + np.exp(-(line[0] * scores + line[2])))


def counted(scores: np.ndarray, links: np.ndarray) -> np.ndarray:
    return count_scores(scores, links, np.ones_like(links), np.zeros(len(scores)))


def plain(scores: np.ndarray, links: np.ndarray) -> np.ndarray:
    flat = np.ones(scores.size)
    return np.stack([scores.ravel(), 0 * flat, flat, links.ravel()])


@pytest.mark.parametrize("common", [None, COMMON])
def test_many_links_speak_for_themselves(common: Line | None) -> None:
    line = (8.0, 0.0, -5.0)
    assert fit_line(counted(*drawn(1000, line)), common) == pytest.approx(line, rel=0.05)


def test_bins_give_what_the_weights_of_ranks_give() -> None:
    scores, links = drawn(20, COMMON)
    ranks = (-scores).argsort(1).argsort(1) + 1
    flat = 1 / ranks.ravel()
    whole = np.stack([scores.ravel(), 0 * flat, flat, links.ravel() * flat])
    found = counted(scores, links)
    assert found[1:].sum(1) == pytest.approx(whole[1:].sum(1), rel=0.02)
    assert fit_line(found) == pytest.approx(fit_line(whole), rel=0.02)
    assert fit_line(plain(scores, links)) != pytest.approx(fit_line(whole), rel=0.02)


def test_an_item_does_not_find_itself() -> None:
    scores, links = drawn(3, COMMON)
    scores[:, :3] += 9 * np.eye(3)
    links[:, :3] |= np.eye(3, dtype=bool)
    is_pair = np.ones_like(links)
    is_pair[:, :3] ^= np.eye(3, dtype=bool)
    without = [np.delete(row, at) for at, row in enumerate(scores)]
    least = np.delete(links[0], 0)
    one = count_scores(scores[:1], links[:1], is_pair[:1], np.zeros(1))
    assert one == pytest.approx(counted(without[0][None], least[None]))
    assert count_scores(scores, links, is_pair, np.zeros(3))[0].max() <= max(map(np.max, without))


def test_items_with_many_links_count_as_much_as_those_with_few() -> None:
    scores = np.zeros((10, 1000))
    scores[0, :500] = 1.0  # one item with five hundred near ones, all of which are linked to it
    scores[1:, 0] = 1.0  # nine with one near item each, which is not
    links = np.zeros_like(scores, dtype=bool)
    links[0, :500] = True
    whole, by_rank = (fit_line(of(scores, links)) for of in (plain, counted))
    assert whole and by_rank
    assert expit(sum(whole)) == pytest.approx(500 / 509, abs=0.01)
    near = sum(1 / rank for rank in range(1, 501))
    assert expit(sum(by_rank)) == pytest.approx(near / (near + 9), abs=0.01)


def test_three_links_that_chance_put_low_do_not_make_it_level() -> None:
    scores = np.linspace(-0.3, 0.7, 9000)
    links = np.isin(np.arange(9000), [2000, 4000, 6000])
    alone, drawn_in = (fit_line(plain(scores, links), one) for one in (None, COMMON))
    assert alone and drawn_in
    assert alone[0] < 1 < 3 < drawn_in[0] < COMMON[0]
    expected = [expit(drawn_in[0] * score + drawn_in[2]) for score in scores.tolist()]
    assert sum(expected) == pytest.approx(3, rel=0.01)  # as many as there are


@pytest.mark.parametrize("is_linked", [False, True])
def test_where_all_pairs_are_alike_there_is_no_line(is_linked: bool) -> None:
    scores = np.linspace(0, 1, 100)
    assert fit_line(counted(scores[None], np.full((1, 100), is_linked)), COMMON) is None


def test_a_falling_line_is_made_level() -> None:
    counts = counted(*drawn(50, (-9.0, 0.0, -2.0)))
    found, share = fit_line(counts, COMMON), counts[3].sum() / counts[2].sum()
    assert found and found[0] == 0.0 and expit(found[2]) == pytest.approx(share)


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(StoreError, match="scores that are no numbers"):
        counted(np.array([[0.1, np.nan, 0.3]]), np.array([[False, False, True]]))


def test_a_mix_is_as_likely_as_what_is_wanted_of_it() -> None:
    lines = Lines({"a": (2.0, 0.0, -1.0), "b": (1.0, 4.0, 0.1)}, (1.0, 0.0, -3.0))
    one, other = (lines.probability({text: 1.0}, [0.8], [0.1]) for text in ("a", "b"))
    mixed = lines.probability({"a": 1.0, "b": 1.0, "not": -5.0}, [0.8, 0.8, 0.8], [0.1, 0.1, 0.1])
    assert one and other and mixed and one < mixed < other
    assert lines.probability({"a": 3.0, "not": -0.1}, [0.8, 0.9], [0.1, 0.0]) == pytest.approx(one)
    assert lines.probability({"a": -1.0}, [0.8], [0.1]) is None


def test_sources_without_links_are_told_by_their_reach() -> None:
    rng = np.random.default_rng(0)
    reach = np.repeat([0.1, 0.4], 40) + rng.normal(0, 0.01, 80)
    scores, links = drawn(80, (15.0, 0.0, -7.0))
    links[:40] = False
    counts = count_scores(scores, links, np.ones_like(links), reach)
    blind = fit_line(counts * [[1], [0], [1], [1]])
    line = fit_line(counts)
    assert blind and line and blind[1] == 0 < line[1]
    near = [expit(line[0] * 0.6 + line[1] * one + line[2]) for one in (0.1, 0.4)]
    assert near[0] < 0.05 < expit(blind[0] * 0.6 + blind[2]) < near[1]
    ratio = ratio_of_spreads(counts)
    assert ratio == pytest.approx(scores.std() / reach.std(), rel=0.4)  # the first weigh most
    few = count_scores(scores[38:42], links[38:42], np.ones_like(links[:4]), reach[38:42])
    alone, drawn_in = fit_line(few), fit_line(few, line, ratio)
    assert alone and drawn_in
    assert abs(drawn_in[1] - line[1]) < abs(alone[1] - line[1])


def test_where_all_reach_alike_the_score_alone_counts() -> None:
    scores, links = drawn(40, COMMON)
    counts = count_scores(scores, links, np.ones_like(links), np.full(40, 0.3))
    assert ratio_of_spreads(counts) == 0
    found, plain_one = fit_line(counts, COMMON), fit_line(counted(scores, links), COMMON)
    assert found and plain_one
    assert found[0] * 0.5 + found[1] * 0.3 + found[2] == pytest.approx(
        plain_one[0] * 0.5 + plain_one[2], abs=0.01
    )
