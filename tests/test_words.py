"""What a new text's own words are worth, on items whose texts are known directions."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn import functional

from conftest import Settings
from relatum import Catalogue, Model, train
from relatum import words as words_room
from relatum.batch import Part, Tokens
from relatum.catalogue import as_asked, directions, linked
from relatum.conditioner import Conditioner
from relatum.config import ModelConfig
from relatum.train import close as close_room
from relatum.words import MIDDLING, MOST, VIEW, Words

WIDTH, TOPICS = 24, 6  # the first axes are topics, the last ones say that a text is a relation's


def topics(count: int, seed: int) -> tuple[Tensor, np.ndarray]:
    """Make texts that are about a topic, of length 1."""
    chance = np.random.default_rng(seed)
    about = chance.integers(0, TOPICS, count)
    said = np.eye(WIDTH)[about] + 0.15 * chance.normal(size=(count, WIDTH))
    return functional.normalize(torch.from_numpy(said).float(), dim=-1), about


def text(*axes: int) -> Tensor:
    return functional.normalize(torch.eye(WIDTH)[list(axes)].sum(0), dim=-1)


NAMES, AGREES = WIDTH - 1, WIDTH - 2  # "both are made of", "are made of the same"
SAID, ABOUT = topics(200, 0)
KNOWN = torch.stack([text(0, NAMES), text(1, NAMES), text(AGREES), text(2, AGREES)])
NARROW = torch.tensor([True, True, False, False])


def part(pooled: Tensor, there: Tensor | None = None) -> Part:
    mask = torch.ones(len(pooled), 1, dtype=torch.bool) if there is None else there[:, None]
    return Part(torch.zeros(len(pooled), 1, 8), mask, pooled)


def wanted_by(about: np.ndarray) -> Tensor:
    """Two texts want those about a topic, two those about the same, whatever it is."""
    same = (about[:, None] == about).sum(0)
    return torch.from_numpy(np.stack([about == 0, about == 1, same, same])).float()


def fitted(module: Words) -> Words:
    module.fit(part(SAID), KNOWN, wanted_by(ABOUT), NARROW)
    return module


WORDS = fitted(Words(WIDTH, 12))


def test_words_are_worth_what_those_of_known_texts_like_them_are() -> None:
    marks = WORDS.mark(KNOWN)[:, 0]
    assert marks[:2].min() > 1.2 > 1.1 > marks[2:].max()
    names, agrees = WORDS.mark(torch.stack([text(4, NAMES), text(4, AGREES)]))[:, 0]
    assert names > agrees + 0.1
    assert WORDS.mark(-KNOWN).min() >= 0 and WORDS.mark(KNOWN).max() <= MOST


def test_a_text_that_is_near_to_some_item_is_worth_more() -> None:
    """Texts of one kind, some of which name a topic that items have, and others none."""
    chance = np.random.default_rng(5)
    said = 0.1 * chance.normal(size=(20, WIDTH))
    said[:, NAMES] += 1
    said[:10, :TOPICS] += 2 * np.eye(TOPICS)[np.arange(10) % TOPICS]  # the others name no topic
    counts = np.ones((20, len(SAID)))
    counts[:10] = np.arange(10)[:, None] % TOPICS == ABOUT
    texts = torch.from_numpy(said).float()
    left, module = torch.arange(20) != 5, Words(WIDTH, 12)
    module.fit(part(SAID), texts[left], torch.from_numpy(counts)[left].float(), left[left])
    near, far = module.mark(texts[5:6]).item(), module.mark(texts[15:16]).item()
    assert near > 1 > 0.5 > far
    away = Words(WIDTH, 12)
    away.load_state_dict(module.state_dict())
    away.sample.neg_()
    assert away.mark(texts[5:6]).item() < near - 0.5


def test_where_no_text_is_a_groups_a_new_one_has_about_a_middling_mark() -> None:
    module, same = Words(WIDTH, 12), torch.ones(1, len(SAID))
    module.fit(part(SAID), KNOWN[2:3], same, torch.tensor([False]))
    known, unlike = module.mark(torch.stack([KNOWN[2], text(NAMES)]))[:, 0].tolist()
    assert known < 0.8 * MIDDLING and unlike == pytest.approx(MIDDLING, abs=0.1)
    module.fit(part(SAID), KNOWN[2:3], same, torch.tensor([True]))
    assert module.mark(text(NAMES)[None]) < 0.01


def test_items_without_a_text_and_texts_that_lead_nowhere_change_no_mark() -> None:
    more, there = torch.cat([SAID, SAID[:100]]), torch.arange(300) < 200
    counts = torch.cat([wanted_by(ABOUT), wanted_by(ABOUT)[:, :100]], dim=1)
    nowhere = torch.cat([KNOWN, text(5, NAMES)[None]])
    module = Words(WIDTH, 12)
    counts = torch.cat([counts, (~there).float()[None]])
    module.fit(part(more, there), nowhere, counts, torch.cat([NARROW, torch.tensor([True])]))
    assert torch.allclose(module.telling, WORDS.telling, atol=1e-5)
    assert torch.allclose(module.wanted(part(SAID)), WORDS.wanted(part(SAID)), atol=1e-5)


def test_the_cosine_is_that_of_all_others_and_the_amount_of_both_texts() -> None:
    new, about = topics(50, 1)
    others = functional.normalize(torch.randn(50, 8, generator=torch.Generator().manual_seed(0)))
    query, amount = text(4, NAMES)[None], torch.tensor([[0.7]])
    left, said = WORDS.asking(query, amount)
    asked = torch.cat([others[0] * left[0], said[0]])
    wanted = torch.cat([others * WORDS.left, WORDS.wanted(part(new))], dim=-1)
    for vectors in (asked, wanted):
        assert torch.allclose(vectors.norm(dim=-1), torch.ones(()), atol=1e-5)
    seen, asks = (
        functional.normalize(one - WORDS.mean, dim=-1) @ WORDS.turn for one in (new, query)
    )
    near = seen @ asks[0]
    found = (wanted @ asked) / (left[0, 0] * (1 - VIEW) ** 0.5)
    assert torch.allclose(found, others @ others[0] + 0.7 * near, atol=1e-5)
    assert near[about == 4].min() > near[about != 4].max()


def test_a_missing_text_says_nothing_and_costs_no_length() -> None:
    wanted = WORDS.wanted(part(SAID[:1], torch.tensor([False])))
    assert not wanted[:, :-1].any() and wanted.norm().item() == pytest.approx(VIEW**0.5)


def test_before_it_is_fitted_or_without_dimensions_nothing_changes() -> None:
    empty = Words(WIDTH, 12)
    assert not empty.wanted(part(SAID)).any() and empty.left == 1
    assert (empty.mark(KNOWN) == 1).all()
    left, said = empty.asking(KNOWN, torch.ones(4, 1))
    assert (left == 1).all() and not said.any()
    none = fitted(Words(WIDTH, 0))
    assert none.wanted(part(SAID)).shape == (200, 0) and none.left == 1 and none.is_fitted


@pytest.mark.parametrize("count", [1, 5])
def test_fewer_directions_than_asked_for_are_no_error(count: int) -> None:
    module = Words(WIDTH, 12)
    module.fit(part(SAID[:count]), KNOWN[:1], torch.ones(1, count), NARROW[:1])
    assert module.wanted(part(SAID)).isfinite().all() and module.mark(KNOWN).isfinite().all()


def test_it_is_read_back_whatever_its_lengths() -> None:
    again = Words(WIDTH, 12)
    again.load_state_dict(WORDS.state_dict())
    assert torch.equal(again.wanted(part(SAID)), WORDS.wanted(part(SAID)))
    assert torch.equal(again.mark(KNOWN), WORDS.mark(KNOWN))


def test_the_conditioner_goes_by_the_words_of_new_texts_alone() -> None:
    new, about = topics(40, 1)
    there = torch.arange(40) > 1  # the first two have no text, the first nothing at all
    image = part(torch.randn(40, 20), torch.arange(40) > 0)
    tokens = Tokens(image, part(new, there))
    torch.manual_seed(0)
    module = Conditioner(tokens[:2], ModelConfig(dim=144, ridge_dim=0, words_dim=12)).eval()
    module.start(tokens, part(KNOWN[:1]))
    told = part(torch.stack([KNOWN[0], text(4, NAMES), text(5, AGREES)]))
    before = module.under(module.map(tokens), tokens, told).both
    module.words.load_state_dict(WORDS.state_dict())
    after = module.under(module.map(tokens), tokens, told).both
    assert not before[..., 132:].any()
    lengths = (torch.arange(40) > 0).float().expand(3, 40)
    assert torch.allclose(after.norm(dim=-1), lengths, atol=1e-5)
    assert torch.allclose(after[0], before[0], atol=1e-3)  # a known text asks as it did
    room = after[..., 132:].norm(dim=-1)[:, 1:].amax(1)
    assert room[1] > 0.75 > 0.65 > room[2] and room[0] < 0.05
    _tell(module.words, MOST)
    most = module(tokens, told[1:2]).both
    _tell(module.words, 3 * MOST)  # more is a guess, and counts for no more
    assert torch.allclose(module(tokens, told[1:2]).both, most, atol=1e-4)
    module.words.load_state_dict(WORDS.state_dict())
    wanted = module(tokens, None).both
    assert torch.allclose(wanted.norm(dim=-1), lengths[0], atol=1e-5)
    right = torch.from_numpy(about == 4) & there
    scores = (after[1] @ wanted.T)[1:].mean(0)
    assert scores[right].min() > scores[~right].max()
    fused = torch.empty(3, 40, 144)
    with torch.no_grad():
        module.fuse(module.map(tokens), tokens, told, module.read(told), fused)
    assert torch.allclose(fused, after, atol=1e-5)


def _tell(words: Words, mark: float) -> None:
    """Give all texts this mark."""
    words.telling.zero_()[-1] = mark


def test_new_words_pull_as_far_as_their_mark() -> None:
    tokens = Tokens(part(torch.randn(20, 20)), part(topics(20, 1)[0]))
    torch.manual_seed(0)
    module = Conditioner(tokens[:2], ModelConfig(dim=48, ridge_dim=0, words_dim=0)).eval()
    module.start(tokens, part(KNOWN[:1]))
    names, agrees = (part(one[None]) for one in (text(4, NAMES), text(4, AGREES)))
    whole = [module(tokens, told).both for told in (names, agrees)]
    module.config = module.config.model_copy(update={"words": 0.0})
    none = module(tokens, agrees).both
    module.config = module.config.model_copy(update={"words": 0.4})
    module.words.load_state_dict(fitted(Words(WIDTH, 0)).state_dict())
    _tell(module.words, 2.0)
    assert torch.allclose(module(tokens, names).both, whole[0], atol=1e-4)
    _tell(module.words, 0.0)
    assert torch.allclose(module(tokens, agrees).both, none, atol=1e-4)
    assert not torch.allclose(whole[1], none, atol=1e-2)


@pytest.mark.parametrize("seen", [20_000, 10])
def test_training_marks_texts_by_the_links_of_the_catalogue(
    seen: int,
    catalogue: Catalogue,
    settings: Settings,
    cache: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(close_room, "SEEN", seen)  # with 10, every third item is looked at
    tell, told = words_room._telling, []
    monkeypatch.setattr(words_room, "_telling", lambda *given: told.append(given) or tell(*given))
    model = train(catalogue, settings(), tmp_path / "run", cache=cache)
    assert isinstance(model.conditioner, Conditioner) and model.split is not None
    words = model.conditioner.words
    assert words.is_fitted and words.size == 4
    assert Model.load(tmp_path / "run").fingerprint == model.fingerprint
    by_id = {item.id: item for item in catalogue.items}
    ids = model.split.train
    items = model.encode([by_id[name] for name in ids], cache=cache).float().text
    sample = torch.arange(0, len(ids), -(-len(ids) // seen))
    sample = sample[items.present[sample]]
    near = functional.normalize(items.pooled[sample], dim=-1)
    near = functional.normalize(near - near.mean(0), dim=-1)
    rows = {name: row for row, name in enumerate(ids)}
    for direction in directions(catalogue.relations):
        links = as_asked(linked(catalogue, direction.relation, rows), direction)
        counts = torch.from_numpy((links.toarray() > 0).sum(0))[sample]
        asked = model.relation_parts([direction.text]).pooled
        said = functional.normalize(functional.normalize(asked, dim=-1) - words.mean, dim=-1)
        cosines = (near @ said.T)[:, 0]
        mark = (
            ((cosines - cosines.mean()) * counts).sum() / counts.sum() / cosines.std(correction=0)
        )
        known = (said @ told[0][0][:, :-1].T).argmax()
        assert told[0][1][known].item() == pytest.approx(mark.clamp(0, MOST).item(), abs=1e-3)
        assert told[0][0][known, -1].item() == pytest.approx(cosines.max().item(), abs=1e-5)


def test_training_sees_whether_groups_have_texts(
    catalogue: Catalogue, settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    groups = tuple(replace(group, text=None) for group in catalogue.groups)
    mute = replace(catalogue, groups=groups)
    told: list[bool] = []
    monkeypatch.setattr(Words, "fit", lambda *given: told.append(bool(given[-1].any())))
    for given in (catalogue, mute):
        train(given, settings(model__dim=48), cache=cache)
    assert told == [True, False]


def test_where_no_text_is_read_there_are_none(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    for changes in ({"model__conditioned": False}, {"loss__inter_item": False}):
        blind = train(catalogue, settings(**changes), cache=cache)
        assert isinstance(blind.conditioner, Conditioner)
        assert not blind.conditioner.words.is_fitted


def test_a_catalogue_of_pictures_alone_is_trained_on(
    catalogue: Catalogue, settings: Settings, cache: Path
) -> None:
    items = tuple(replace(item, text=None) for item in catalogue.items if item.image is not None)
    model = train(replace(catalogue, items=items), settings(), cache=cache)
    for relation in (None, catalogue.relations[0].text, "would look odd in a garden"):
        vectors = model.embed(items[:4], relation)
        assert np.allclose(np.linalg.norm(vectors, axis=1), 1, atol=1e-5)
