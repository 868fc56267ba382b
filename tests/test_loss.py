"""Every contrast against a plain loop."""

import math

import torch
from hypothesis import given
from hypothesis import strategies as st

from relatum.batch import Vectors
from relatum.config import LossConfig
from relatum.loss import Losses, Temperature, contrast, contrasts


def plain_contrast(logits: torch.Tensor, wanted: torch.Tensor, offered: torch.Tensor) -> float:
    total, used = 0.0, 0
    for row, right, here in zip(logits.tolist(), wanted.tolist(), offered.tolist(), strict=True):
        right = [r and h for r, h in zip(right, here, strict=True)]
        if not any(right):
            continue
        below = sum(math.exp(value) for value, h in zip(row, here, strict=True) if h)
        terms = [-math.log(math.exp(v) / below) for v, r in zip(row, right, strict=True) if r]
        total += sum(terms) / len(terms)
        used += 1
    return total / max(used, 1)


@given(st.integers(0, 10_000), st.integers(1, 6), st.integers(1, 7))
def test_contrast_equals_the_plain_loop(seed: int, queries: int, candidates: int) -> None:
    torch.manual_seed(seed)
    logits = torch.randn(queries, candidates)
    wanted = torch.rand(queries, candidates) < 0.3
    offered = torch.rand(queries, candidates) < 0.7
    found = contrast(logits, wanted, offered)
    assert torch.allclose(found, torch.tensor(plain_contrast(logits, wanted, offered)), atol=1e-5)


def vectors(count: int, seed: int) -> Vectors:
    torch.manual_seed(seed)
    made = [torch.nn.functional.normalize(torch.randn(count, 6), dim=1) for _ in range(3)]
    return Vectors(*made)


def test_terms_compare_the_modalities_they_are_named_for() -> None:
    one, two = vectors(5, 0), vectors(5, 1)
    wanted = torch.rand(5, 5) < 0.4
    none = torch.zeros(5, 5, dtype=torch.bool)
    other = ~torch.eye(5, dtype=torch.bool)
    losses = contrasts(one, two, wanted, none, Temperature(0.1, 50.0))
    expected = {
        "text_to_image": (one.text, two.image),
        "image_to_text": (one.image, two.text),
        "text_to_text": (one.text, two.text),
        "image_to_image": (one.image, two.image),
        "both": (one.both, two.both),
    }
    for name, (query, candidate) in expected.items():
        plain = plain_contrast(10 * query @ candidate.T, wanted & other, other)
        assert abs(losses.numbers()[name] - plain) < 1e-4, name


def test_own_pairs_count_across_modalities_only() -> None:
    made = vectors(4, 0)
    none = torch.zeros(4, 4, dtype=torch.bool)
    own = torch.eye(4, dtype=torch.bool)
    losses = contrasts(made, made, none, own, Temperature(0.2, 50.0))
    numbers = losses.numbers()
    plain = plain_contrast(5 * made.text @ made.image.T, own, ~none)
    assert abs(numbers["text_to_image"] - plain) < 1e-4
    assert numbers["text_to_text"] == numbers["both"] == 0.0


def test_a_missing_modality_is_no_candidate_and_no_query() -> None:
    whole = vectors(5, 0)
    gone = torch.tensor([True, True, True, True, False])[:, None]
    holed = Vectors(whole.image * gone, whole.text, whole.both)
    wanted = torch.ones(5, 5, dtype=torch.bool)
    none = torch.zeros(5, 5, dtype=torch.bool)
    losses = contrasts(holed, holed, wanted, none, Temperature(0.2, 50.0))
    cut = whole[torch.arange(4)]
    small = torch.ones(4, 4, dtype=torch.bool)
    alone = contrasts(cut, cut, small, ~small, Temperature(0.2, 50.0))
    assert torch.allclose(losses.image_to_image, alone.image_to_image)


def test_switches_take_terms_out() -> None:
    ones = Losses(*(torch.tensor(1.0) for _ in range(5)))
    config = LossConfig(across=1.0, within=2.0, both=4.0)
    assert ones.total(config) == 10.0
    assert ones.total(config.model_copy(update={"intra_modal": False})) == 6.0


def test_the_temperature_is_capped() -> None:
    temperature = Temperature(0.05, 30.0)
    assert abs(float(temperature.scale().detach()) - 20.0) < 1e-4
    with torch.no_grad():
        temperature.log_scale.fill_(10.0)
    assert float(temperature.scale().detach()) == 30.0
