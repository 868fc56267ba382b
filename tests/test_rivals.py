"""Every rival runs on the shared parts, sees what it should, and computes what its paper says."""

import math
from pathlib import Path

import numpy as np
import pytest
import torch
from scipy import sparse
from torch.nn import functional

from conftest import Settings
from relatum.batch import Part, Tokens, Vectors
from relatum.catalogue import Catalogue, Direction
from relatum.config import ModelConfig
from relatum.loss import Losses, Temperature
from relatum.model import Model
from relatum.protocols.contestant import Contestant, Participants, blind
from relatum.rivals import RIVALS, Rival, heads, losses, train_rival
from relatum.rivals.frozen import frozen, tfidf, with_words
from relatum.train.run import Contrasts

WIDTH, HIDDEN, IMAGE = 12, 8, 20
CONFIG = ModelConfig(dim=16, ridge_dim=6)


def some(count: int, seed: int = 0) -> Tokens:
    """Items of which the first has no image and the second no text."""
    chance = torch.Generator().manual_seed(seed)

    def part(tokens: int, width: int, missing: int) -> Part:
        mask = torch.ones(count, tokens, dtype=torch.bool)
        mask[missing] = False
        values = torch.randn(count, tokens, HIDDEN, generator=chance) * mask.unsqueeze(-1)
        pooled = torch.randn(count, width, generator=chance) * mask[:, :1]
        return Part(values, mask, pooled)

    return Tokens(part(4, IMAGE, 0), part(5, WIDTH, 1))


def text(seed: int) -> Part:
    one = some(3, seed).text
    return Part(one.tokens[2:], one.mask[2:], one.pooled[2:])


def made(rival: Rival) -> torch.nn.Module:
    torch.manual_seed(0)
    config = CONFIG.model_copy(update={"conditioned": not rival.is_blind})
    module = rival.recipe.conditioner(some(2), config).eval()
    for parameter in module.parameters():  # what starts at zero has learned something
        torch.nn.init.normal_(parameter, std=0.3)
    start = getattr(module, "start", None)
    if start is not None:
        start(some(9), Part.join([text(1), text(2)]))
    return module


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_a_rival_gives_unit_vectors_and_zeros_for_what_is_missing(rival: Rival) -> None:
    vectors = made(rival)(some(6), text(1))
    lengths = torch.stack([vectors.image, vectors.text, vectors.both]).norm(dim=-1)
    wanted = torch.ones(3, 6)
    wanted[0, 0] = wanted[1, 1] = 0
    assert torch.allclose(lengths, wanted, atol=1e-5)


@pytest.mark.parametrize("rival", RIVALS, ids=lambda rival: rival.name)
def test_only_a_blind_rival_ignores_the_relation(rival: Rival) -> None:
    module = made(rival)
    one, other = (module(some(6), text(seed)).both for seed in (1, 2))
    assert torch.equal(one, other) == rival.is_blind


def test_codes_by_id_know_no_words_but_the_nearest_known_text() -> None:
    module = made(next(rival for rival in RIVALS if rival.name == "codes by id"))
    known = text(1)
    close = Part(known.tokens, known.mask, known.pooled * 1.001 + 1e-4)
    one, other = module(some(6), known), module(some(6), close)
    assert torch.allclose(one.both, other.both)


def test_transe_ranks_by_the_distance_of_the_moved_source() -> None:
    module = made(next(rival for rival in RIVALS if rival.name == "TransE"))
    assert isinstance(module, heads.Translation)
    relation, items = text(1), some(9)
    told, plain = module(items, relation).text[2:], module(items, None).text[2:]
    unit = functional.normalize(relation.pooled, dim=-1) * math.sqrt(WIDTH)
    moved = plain + module.move(unit)
    distance = torch.cdist(moved, plain)
    assert torch.equal((told @ plain.T).argsort(1, descending=True), distance.argsort(1))


def test_distmult_is_the_sum_of_triple_products() -> None:
    module = made(next(rival for rival in RIVALS if rival.name == "DistMult"))
    assert isinstance(module, heads.Product)
    relation, items = text(1), some(9)
    told, plain = module(items, relation).text[2:], module(items, None).text[2:]
    unit = functional.normalize(relation.pooled, dim=-1) * math.sqrt(WIDTH)
    triple = torch.einsum("ad,d,bd->ab", plain, 1 + module.scale(unit)[0], plain)
    ratio = triple / (told @ plain.T)
    assert torch.allclose(ratio, ratio[:, :1].expand_as(ratio), rtol=1e-3)  # per source


@pytest.mark.parametrize("name", ["gate", "DistMult"])
def test_a_closed_form_stands_beside_what_a_rival_learns(name: str) -> None:
    module = made(next(rival for rival in RIVALS if rival.name == f"{name} + ridge"))
    assert isinstance(module, heads.GateBeside | heads.ProductBeside)
    items, relation, size = some(9), text(1), module.ridge.size
    learned = module(items, relation).both, module(items, None).both
    assert size and not learned[0][:, -size:].any()
    links = sparse.csr_array(np.random.default_rng(0).random((9, 9)) < 0.4)
    module.ridge.fit(items, [links, links], relation.pooled, torch.tensor([1]))
    told, plain = module(items, relation), module(items, None)
    wanted = module.ridge.wanted(items)
    found, trust = module.ridge.asking(wanted, relation)
    weight = CONFIG.ridge_weight * trust[0].square()
    closed = weight.sqrt() * CONFIG.ridge_weight**0.5 * (found[0] @ wanted.T)
    cosines = learned[0] @ learned[1].T + closed
    scaled = cosines / ((1 + weight) * (1 + CONFIG.ridge_weight)).sqrt()
    assert torch.allclose(told.both @ plain.both.T, scaled, atol=1e-5)
    assert not told.image[:, -size:].any() and not told.text[:, -size:].any()


def vectors_of(count: int, seed: int) -> Vectors:
    chance = torch.Generator().manual_seed(seed)
    three = [
        functional.normalize(torch.randn(count, 6, generator=chance), dim=-1) for _ in range(3)
    ]
    return Vectors(*three)


def asked(loss: Contrasts, wanted: torch.Tensor, bias: float = 0.0) -> tuple[Losses, Vectors]:
    vectors = vectors_of(len(wanted), 0)
    none = torch.zeros_like(wanted)
    return loss(vectors, vectors, wanted, none, Temperature(0.1, 50.0, bias)), vectors


PAIRS = torch.tensor([[0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1], [0, 0, 1, 0]]).bool()


def test_unicl_equals_a_plain_loop() -> None:
    got, vectors = asked(losses.unicl, PAIRS)
    total = 0.0
    for i in range(4):
        row = [math.exp(10 * float(vectors.image[i] @ vectors.text[j])) for j in range(4)]
        wanted = [j for j in range(4) if PAIRS[i, j] or i == j]
        total += -sum(math.log(row[j] / sum(row)) for j in wanted) / len(wanted)
    assert float(got.image_to_text.detach()) == pytest.approx(total / 4, rel=1e-4)
    assert float(got.text_to_text) == 0


def test_siglip_equals_a_plain_loop() -> None:
    got, vectors = asked(losses.siglip, PAIRS, bias=-2.0)
    total = 0.0
    for i in range(4):
        for j in range(4):
            if i != j:
                logit = 10 * float(vectors.both[i] @ vectors.both[j]) - 2
                total += math.log(1 + math.exp(-logit if PAIRS[i, j] else logit))
    assert float(got.both.detach()) == pytest.approx(total / 4, rel=1e-4)


def test_cirp_takes_one_linked_item_and_declip_the_nearest_text() -> None:
    torch.manual_seed(0)
    alone, vectors = asked(losses.cirp, torch.zeros(4, 4).bool())
    linked, _ = asked(losses.cirp, PAIRS)
    assert not torch.equal(alone.text_to_image, linked.text_to_image)
    got, _ = asked(losses.declip, PAIRS)
    blank, _ = asked(losses.declip, torch.zeros(4, 4).bool())
    assert torch.equal(got.text_to_image, blank.text_to_image)  # it knows of no links
    assert float(got.text_to_image.detach()) > 0 and vectors is not None


def test_frozen_both_is_the_mean_of_the_two_cosines() -> None:
    tokens = some(6)
    contestant = frozen()
    vectors, _ = contestant.vectors(Participants([], tokens), None)
    text_cosines = vectors.text @ vectors.text.T
    image_cosines = vectors.image @ vectors.image.T
    both = vectors.both @ vectors.both.T
    assert torch.allclose(both[2:, 2:], (text_cosines + image_cosines)[2:, 2:] / 2, atol=1e-5)


def test_words_add_the_cosine_of_relation_and_candidate() -> None:
    tokens, relation = some(6), text(3)
    model = Model.__new__(Model)
    model._texts = {"are red": relation}
    blind_one = Contestant("blind", lambda asked, direction: (vectors_of(6, 1), vectors_of(6, 2)))
    worded = with_words(blind_one, model)
    sources, targets = worded.vectors(
        Participants([], tokens), Direction("a", "are red", "are red")
    )
    plain = vectors_of(6, 1).both @ vectors_of(6, 2).both.T
    words = (
        functional.normalize(relation.pooled, dim=-1)
        @ functional.normalize(tokens.text.pooled, dim=-1).T
    )
    assert torch.allclose(sources.both @ targets.both.T, plain + words, atol=1e-5)


def test_tfidf_finds_shared_words(catalogue: Catalogue) -> None:
    items = [item for item in catalogue.items if item.text][:6]
    contestant = tfidf([item.text for item in items])
    vectors, _ = contestant.vectors(Participants(items, some(6)), None)
    assert float(vectors.text[0] @ vectors.text[1]) > float(vectors.text[0] @ vectors.text[5])


def test_a_blind_contestant_is_asked_under_no_relation() -> None:
    seen: list[Direction | None] = []

    def vectors(items: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        seen.append(direction)
        return vectors_of(3, 0), vectors_of(3, 0)

    contestant = blind(Contestant("spy", vectors))
    contestant.method(Participants([], some(3)))(Direction("a", "are red", "are red"))
    assert seen == [None]


def test_a_rival_trains_and_keeps_its_best_rate(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    rival = next(rival for rival in RIVALS if rival.name == "attention")
    model = train_rival(rival, catalogue, settings(training__steps=5), cache=cache)
    assert isinstance(model.conditioner, heads.Attention)
    assert model.config.training.learning_rate in (2e-3, 5e-4)
    assert math.isfinite(model.validation)
    tokens, texts = model.encode(catalogue.items, cache=cache), ["is big", "are alike"]
    alone = [model.condition(tokens, words).both for words in texts]
    assert torch.equal(model.condition_many(tokens, texts), torch.stack(alone))


def test_codes_by_id_answer_for_many_relations_at_once() -> None:
    module = made(next(rival for rival in RIVALS if rival.name == "codes by id"))
    assert isinstance(module, heads.ById)
    items, relations = some(6), Part.join([text(1), text(2), text(3)])
    many = torch.empty(3, 6, CONFIG.dim)
    with torch.no_grad():
        module.fuse(module.map(items), items, relations, module.read(relations), many)
    alone = [module(items, text(seed)).both for seed in (1, 2, 3)]
    assert torch.allclose(many, torch.stack(alone), atol=1e-6)
