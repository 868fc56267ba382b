"""What links say in closed form, on items whose groups are known."""

from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

from conftest import Settings
from relatum import Catalogue, Model, train
from relatum.batch import Part, Tokens
from relatum.conditioner import Conditioner
from relatum.config import ModelConfig
from relatum.ridge import LEFT, Ridge
from relatum.train import close as close_room
from relatum.train.watch import Validation

WIDTH, IMAGE, GROUPS = 24, 20, 4


def items(count: int, seed: int) -> tuple[Tokens, np.ndarray, np.ndarray]:
    """Make items that are in a group by their text and in another by their image."""
    chance = np.random.default_rng(seed)
    fixed = np.random.default_rng(99)
    by_text, by_image = chance.integers(0, GROUPS, (2, count))
    parts: list[Part] = []
    for width, groups in ((IMAGE, by_image), (WIDTH, by_text)):
        signal = fixed.normal(size=(GROUPS, width))[groups]
        pooled = torch.from_numpy(signal + 1.5 * chance.normal(size=(count, width))).float()
        tokens = torch.zeros(count, 1, 8)
        parts.append(Part(tokens, torch.ones(count, 1, dtype=torch.bool), pooled))
    return Tokens(*parts), by_text, by_image


def same(groups: np.ndarray) -> sparse.csr_array:
    links = (groups[:, None] == groups) & ~np.eye(len(groups), dtype=bool)
    return sparse.csr_array(links.astype(np.float32))


TEXTS = functional.normalize(torch.eye(WIDTH)[:3] + 0.05, dim=-1)  # two relations, one paraphrase


def fitted(module: Ridge) -> Ridge:
    tokens, by_text, by_image = items(300, 0)
    links = [same(by_text), same(by_image)]
    any_link = sparse.csr_array(links[0].maximum(links[1]))
    module.fit(tokens, [any_link, *links], TEXTS, torch.tensor([1, 2, 2]))
    return module


RIDGE = fitted(Ridge(items(2, 0)[0], 12))


def relation(*pooled: Tensor) -> Part:
    count = len(pooled)
    there = torch.ones(count, 1, dtype=torch.bool)
    return Part(torch.zeros(count, 1, 8), there, torch.stack(pooled))


def gap(scores: Tensor, groups: np.ndarray) -> float:
    """Return how much higher linked pairs score than others, in deviations."""
    linked = torch.from_numpy(same(groups).toarray() > 0)
    off = ~torch.eye(len(groups), dtype=torch.bool)
    return float((scores[linked].mean() - scores[off & ~linked].mean()) / scores[off].std())


def test_each_relation_finds_its_own_links_among_new_items() -> None:
    tokens, by_text, by_image = items(200, 1)
    wanted = RIDGE.wanted(tokens)
    by_one, by_other = RIDGE.asking(wanted, relation(TEXTS[0], TEXTS[1]))[0] @ wanted.T
    assert gap(by_one, by_text) > 1 > 0.2 > abs(gap(by_one, by_image))
    assert gap(by_other, by_image) > 1 > 0.2 > abs(gap(by_other, by_text))
    null = wanted @ wanted.T
    assert gap(null, by_text) > 0.3 and gap(null, by_image) > 0.3


def test_a_paraphrase_has_its_relations_form_and_a_strange_text_that_of_none() -> None:
    tokens, by_text, by_image = items(200, 1)
    wanted = RIDGE.wanted(tokens)
    (one, same_again), trust = RIDGE.asking(wanted, relation(TEXTS[1], TEXTS[2]))
    assert torch.allclose(trust[0], trust[1], atol=1e-4)
    assert trust.max() == 1 and trust.median() > 0.8  # items with links
    assert torch.allclose(one, same_again, atol=1e-4)
    found, trust = RIDGE.asking(wanted, relation(-TEXTS.sum(0)))
    assert trust.max().item() == pytest.approx(LEFT)
    strange = found[0] @ wanted.T
    assert gap(strange, by_text) > 0.3 and gap(strange, by_image) > 0.3


def test_it_says_which_items_have_links_at_all() -> None:
    """Links among half of one group's items, at random: only features not centred can tell."""
    tokens, by_text, _ = items(300, 0)
    linked = by_text == 0
    chance = np.random.default_rng(2).random((300, 300)) < 0.3
    links = sparse.csr_array((chance & linked[:, None] & linked).astype(np.float32))
    module = Ridge(tokens[:2], 12)
    module.fit(tokens, [same(by_text), links], TEXTS[:1], torch.tensor([1]))
    new, groups, _ = items(200, 1)
    wanted = module.wanted(new)
    scores = (module.asking(wanted, relation(TEXTS[0]))[0][0] @ wanted.T).mean(0)
    others = torch.from_numpy(groups != 0)
    assert scores[~others].mean() > scores[others].mean() + scores.std()


def test_an_item_like_none_that_has_links_is_trusted_less() -> None:
    tokens, by_text, _ = items(300, 0)
    linked = by_text == 0
    links = sparse.csr_array(same(by_text).toarray() * np.outer(linked, linked))
    module = Ridge(tokens[:2], 12)
    module.fit(tokens, [same(by_text), links], TEXTS[:1], torch.tensor([1]))
    new, groups, _ = items(200, 1)
    found, trust = module.asking(module.wanted(new), relation(TEXTS[0]))
    inside, outside = trust[0, groups == 0, 0], trust[0, groups != 0, 0]
    assert inside.median() > 0.9 > 0.6 > outside.median()
    assert torch.allclose(found.norm(dim=-1), torch.ones(1, 200), atol=1e-5)
    module.enough.zero_()  # links of nobody: then nothing is too little
    assert module.asking(module.wanted(new), relation(TEXTS[0]))[1].min() == 1


def test_an_item_alone_is_what_it_is_among_others() -> None:
    tokens, _, _ = items(200, 1)
    alone = torch.cat([RIDGE.wanted(tokens[row : row + 1]) for row in range(200)])
    assert torch.allclose(RIDGE.wanted(tokens), alone, rtol=0, atol=2e-7)


def test_lengths_are_one_and_a_missing_part_is_left_out() -> None:
    tokens, by_text, by_image = items(200, 1)
    no_image = Part(tokens.image.tokens, torch.zeros_like(tokens.image.mask), tokens.image.pooled)
    wanted = RIDGE.wanted(Tokens(no_image, tokens.text))
    assert torch.allclose(wanted.norm(dim=-1), torch.ones(200), atol=1e-5)
    scores = RIDGE.asking(wanted, relation(TEXTS[0]))[0][0] @ wanted.T
    assert gap(scores, by_text) > 1
    nothing = Part(no_image.tokens[:, :, :], no_image.mask, tokens.text.pooled)
    assert not RIDGE.wanted(Tokens(no_image, nothing)).any()


def test_it_is_read_back_whatever_its_lengths_and_can_be_forgotten() -> None:
    tokens, _, _ = items(5, 1)
    again = Ridge(tokens, 12)
    assert not again.is_fitted and not again.wanted(tokens).any()
    again.load_state_dict(RIDGE.state_dict())
    assert again.is_fitted and torch.equal(again.wanted(tokens), RIDGE.wanted(tokens))
    again.forget()
    assert not again.is_fitted and not again.wanted(tokens).any()


def test_fewer_directions_than_asked_for_are_no_error() -> None:
    tokens, by_text, _ = items(6, 0)
    small = Ridge(tokens, 40)
    small.fit(tokens, [same(by_text)], torch.zeros(0, WIDTH), torch.zeros(0, dtype=torch.int64))
    assert small.wanted(tokens).isfinite().all() and small.wanted(tokens).any()


def test_items_that_are_all_alike_are_no_error() -> None:
    tokens, by_text, _ = items(6, 0)
    alike = tokens[torch.zeros(6, dtype=torch.int64)]
    module = Ridge(tokens, 12)
    module.fit(alike, [same(by_text)], torch.zeros(0, WIDTH), torch.zeros(0, dtype=torch.int64))
    assert module.wanted(alike).isfinite().all()
    nothing = Part(tokens.text.tokens, torch.zeros_like(tokens.text.mask), tokens.text.pooled)
    no_image = Part(tokens.image.tokens, nothing.mask, tokens.image.pooled)
    module.fit(Tokens(no_image, nothing), [same(by_text)], torch.zeros(0, WIDTH),
               torch.zeros(0, dtype=torch.int64))  # fmt: skip
    assert module.wanted(Tokens(no_image, nothing)).isfinite().all()


def test_the_conditioner_puts_it_beside_what_is_learned() -> None:
    tokens, _, _ = items(30, 1)
    torch.manual_seed(0)
    module = Conditioner(tokens[:2], ModelConfig(dim=48, ridge_dim=12, words_dim=0)).eval()
    told = relation(TEXTS[0], TEXTS[1])
    before = module.under(module.map(tokens), tokens, told).both
    module.ridge.load_state_dict(RIDGE.state_dict())
    after = module.under(module.map(tokens), tokens, told)
    assert not before[..., 36:].any() and not after.image[..., 36:].any()
    cosine = (after.both[0] @ module(tokens, None).both.T).diagonal()
    wanted = RIDGE.wanted(tokens)
    found, trust = RIDGE.asking(wanted, told)
    weight = 0.5 * trust[0, :, 0] ** 2
    closed = (found[0] * wanted).sum(-1) * (weight * 0.5).sqrt()
    learned = (before[0] * module(tokens, None).both).sum(-1) * 1.5**0.5  # scaled to make room
    assert torch.allclose(cosine, (learned + closed) / ((1 + weight) * 1.5).sqrt(), atol=1e-5)
    assert torch.allclose(after.both.norm(dim=-1), torch.ones(2, 30), atol=1e-5)
    strange = module.under(module.map(tokens), tokens, relation(TEXTS[0], -TEXTS.sum(0))).both
    shares = strange[..., 36:].norm(dim=-1).square().amax(-1)
    for share, weight in zip(shares, (0.5, 0.5 * LEFT**2), strict=True):
        assert share.item() == pytest.approx(weight / (1 + weight))  # a text like none counts less
    fused = torch.empty(2, 30, 48)
    with torch.no_grad():
        module.fuse(module.map(tokens), tokens, told, module.read(told), fused)
    assert torch.allclose(fused, after.both, atol=1e-5)


@pytest.mark.parametrize("gain", [0.1, -0.1])
def test_training_keeps_it_only_where_the_validation_does_not_fall(
    gain: float, catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(close_room, "examine", lambda run: Validation(run.best_score + gain))
    model = train(catalogue, settings(), tmp_path / "run", cache=cache)
    assert isinstance(model.conditioner, Conditioner)
    assert model.conditioner.ridge.is_fitted == (gain > 0)
    assert model.validation == max(0, gain)  # so few items have no questions, which counts as 0
    again = Model.load(tmp_path / "run")
    assert again.fingerprint == model.fingerprint


def test_without_links_or_asked_to_leave_it_out_there_is_none(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    for changes in ({"loss__inter_item": False}, {"model__ridge_dim": 0}):
        model = train(catalogue, settings(**changes), cache=cache)
        assert isinstance(model.conditioner, Conditioner)
        assert not model.conditioner.ridge.is_fitted
