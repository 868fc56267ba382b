"""What the relation does to a vector, on random items."""

import pytest
import torch
from torch.nn import functional

from relatum.batch import Part, Tokens
from relatum.conditioner import ALONE, Conditioner
from relatum.config import ModelConfig

WIDTH, IMAGE = 12, 20


def part(count: int, width: int, seed: int) -> Part:
    chance = torch.Generator().manual_seed(seed)
    tokens = torch.randn(count, 3, 8, generator=chance)
    pooled = torch.randn(count, width, generator=chance)
    return Part(tokens, torch.ones(count, 3, dtype=torch.bool), pooled)


ITEMS = Tokens(part(30, IMAGE, 0), part(30, WIDTH, 1))
KNOWN, NEW = part(1, WIDTH, 2), part(1, WIDTH, 3)


def made(**changes: float) -> Conditioner:
    torch.manual_seed(0)
    module = Conditioner(ITEMS[:2], ModelConfig(**{"dim": 16, "ridge_dim": 0, **changes})).eval()
    module.start(ITEMS, KNOWN)
    for tower in (module.image, module.text):
        torch.nn.init.normal_(tower.weights.weight, std=0.3)
    return module


def test_a_known_text_weighs_dimensions_and_adds_no_words() -> None:
    plain, told = made()(ITEMS, None).text, made()(ITEMS, KNOWN).text
    asked = functional.normalize(KNOWN.pooled, dim=-1) * WIDTH**0.5
    weighed = functional.normalize(plain * (1 + made().text.weights(asked)), dim=-1)
    assert torch.allclose(told, weighed, atol=1e-6)


def test_a_new_text_pulls_towards_items_that_its_words_fit() -> None:
    words = made().text.whole(made()._centred(NEW.pooled))
    near = made()(ITEMS, None).text @ functional.normalize(words, dim=-1)[0]
    without, pulled = (made(words=amount, doubt=1.0)(ITEMS, NEW) for amount in (0.0, 2.0))
    targets = made()(ITEMS, None).text
    gain = (pulled.text @ targets.T - without.text @ targets.T).mean(0)
    assert torch.corrcoef(torch.stack([gain, near]))[0, 1] > 0.7


def test_a_doubted_text_without_words_is_the_null_relation() -> None:
    module = made(words=0.0, doubt=1.0)
    assert module._strangeness(NEW.pooled) == 1.0 and module._strangeness(KNOWN.pooled) < 1e-5
    assert torch.allclose(module(ITEMS, NEW).text, module(ITEMS, None).text, atol=1e-6)


def test_without_conditioning_no_text_is_read() -> None:
    module = made(conditioned=False)
    assert torch.equal(module(ITEMS, NEW).both, module(ITEMS, None).both)


@pytest.mark.parametrize("beta", [1.0, 0.5])
def test_padding_does_not_change_a_vector(beta: float) -> None:
    text = ITEMS.text
    wider = Part(
        torch.cat([text.tokens, torch.ones(30, 2, 8)], dim=1),
        torch.cat([text.mask, torch.zeros(30, 2, dtype=torch.bool)], dim=1),
        text.pooled,
    )
    module = made(beta=beta)
    one, other = module(ITEMS, KNOWN), module(Tokens(ITEMS.image, wider), KNOWN)
    assert torch.allclose(one.both, other.both, atol=1e-6)


def test_a_map_of_its_own_starts_as_none_and_moves_told_vectors_alone() -> None:
    plain, own = made(words=2.0), made(words=2.0, own_relation_map=True)
    own.load_state_dict(plain.state_dict(), strict=False)
    for relation in (None, KNOWN, NEW):
        assert torch.allclose(own(ITEMS, relation).both, plain(ITEMS, relation).both, atol=1e-6)
    torch.nn.init.normal_(own.relation.weight)  # type: ignore[arg-type]
    assert torch.equal(own(ITEMS, None).both, plain(ITEMS, None).both)
    for tower in (own.image, own.text, plain.image, plain.text):
        torch.nn.init.zeros_(tower.weights.weight)  # what still moves is the text's own words
    moved = own(ITEMS, NEW).text - plain(ITEMS, NEW).text
    assert moved.abs().max() > 0.01


@pytest.mark.parametrize("changed", [{}, {"beta": 0.5}, {"conditioned": False}])
def test_cosines_without_vectors_are_those_of_the_vectors(changed: dict) -> None:
    module = made(words=2.0, own_relation_map=True, **changed)
    gaps = Part(ITEMS.image.tokens, ITEMS.image.mask.clone(), ITEMS.image.pooled)
    gaps.mask[:9] = False  # items without an image
    items, texts = Tokens(gaps, ITEMS.text), Part.join([KNOWN, NEW])
    rows, others = torch.tensor([0, 3, 3, 12, 29]), torch.randn(5, 16)
    long = (module.under(module.map(items), items, texts).both[:, rows] * others).sum(-1)
    short = module.cosines(module.map(items), items, texts, rows, others)
    assert torch.allclose(short, long.expand(short.shape), atol=1e-5)
    weights = [weight for weight in module.parameters() if weight.requires_grad]
    pulls = [
        torch.autograd.grad(found.square().sum(), weights, allow_unused=True)
        for found in (long, short)
    ]
    for one, other in zip(*pulls, strict=True):
        assert (one is None) == (other is None)
        assert one is None or torch.allclose(one, other, atol=1e-4)


def test_what_has_an_image_or_a_text_alone_is_shorter_as_what_is_wanted() -> None:
    module = made()
    before = module(ITEMS, None).both
    module.fit_alone(ITEMS)
    for side in ("image", "text"):
        shown = ITEMS.only(side)
        near = (before * functional.normalize(module(shown, None).both, dim=-1)).sum(-1).mean()
        assert near < 0.9
        lengths = module(shown, None).both.norm(dim=-1)
        assert torch.allclose(lengths, (near**ALONE).expand(len(lengths)), atol=1e-5)
        assert torch.allclose(module(shown, KNOWN).both.norm(dim=-1), torch.ones(30), atol=1e-5)
    assert torch.equal(module(ITEMS, None).both, before)


def test_where_no_item_has_both_lengths_stay() -> None:
    module, shown = made(), ITEMS.only("text")
    module.alone.fill_(0.5)  # of an earlier fit
    module.fit_alone(shown)
    assert torch.allclose(module(shown, None).both.norm(dim=-1), torch.ones(30), atol=1e-5)
