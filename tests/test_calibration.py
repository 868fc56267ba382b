import numpy as np
import pytest

from relatum.errors import StoreError
from relatum.store.calibration import count_scores, fit_line, sigmoid

COMMON = (15.0, -7.0)


def drawn(count: int, line: tuple[float, float], seed: int = 0) -> tuple[np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    scores = rng.normal(0.2, 0.2, count)
    return scores, rng.random(count) < 1 / (1 + np.exp(-(line[0] * scores + line[1])))


@pytest.mark.parametrize("common", [None, COMMON])
def test_many_links_speak_for_themselves(common: tuple[float, float] | None) -> None:
    line = (8.0, -5.0)
    assert fit_line(count_scores(*drawn(200_000, line)), common) == pytest.approx(line, rel=0.05)


def test_bins_give_what_all_pairs_give() -> None:
    scores, links = drawn(20_000, COMMON)
    found = fit_line(count_scores(scores, links))
    whole = fit_line(np.stack([scores, np.ones_like(scores), links]))
    assert found == pytest.approx(whole, rel=0.02)


def test_three_links_that_chance_put_low_do_not_make_it_level() -> None:
    scores = np.linspace(-0.3, 0.7, 9000)
    links = np.isin(np.arange(9000), [2000, 4000, 6000])
    alone, drawn_in = (fit_line(count_scores(scores, links), one) for one in (None, COMMON))
    assert alone and drawn_in
    assert alone[0] < 1 < 3 < drawn_in[0] < COMMON[0]
    expected = [sigmoid(drawn_in[0] * score + drawn_in[1]) for score in scores.tolist()]
    assert sum(expected) == pytest.approx(3, rel=0.01)  # as many as there are


@pytest.mark.parametrize("is_linked", [False, True])
def test_where_all_pairs_are_alike_there_is_no_line(is_linked: bool) -> None:
    scores = np.linspace(0, 1, 100)
    assert fit_line(count_scores(scores, np.full(100, is_linked)), COMMON) is None


def test_a_falling_line_is_made_level() -> None:
    scores, links = drawn(50_000, (-9.0, -2.0))
    found = fit_line(count_scores(scores, links), COMMON)
    assert found and found[0] == 0.0 and sigmoid(found[1]) == pytest.approx(links.mean())


def test_scores_that_are_no_numbers_are_refused() -> None:
    with pytest.raises(StoreError, match="scores that are no numbers"):
        count_scores(np.array([0.1, np.nan, 0.3]), np.array([0, 0, 1]))
