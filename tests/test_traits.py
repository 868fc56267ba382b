"""Who is meant by a text of a group never seen, on items with four traits that texts name."""

from dataclasses import replace
from pathlib import Path

import pytest
import torch
from scipy import sparse
from torch import Tensor
from torch.nn import functional

import relatum.traits as room
from conftest import Settings
from relatum import Catalogue, Model, train
from relatum.batch import Part, Tokens
from relatum.catalogue import directions
from relatum.conditioner import Conditioner
from relatum.config import ModelConfig
from relatum.progress import silent
from relatum.ridge import Ridge
from relatum.train import close as close_room
from relatum.train.run import prepare
from relatum.traits import Traits

WIDTH, SIZE, TRAITS = 20, 12, 4  # of a text, of an item; the last axis of a text says its kind


def drawn(*shape: int, seed: int) -> Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed))


def named(*traits: int, is_group: bool = True, seed: int = 0) -> Tensor:
    """Make the text of a group that has some of the traits."""
    axes = torch.zeros(WIDTH)
    axes[list(traits)] = 1.0
    axes[-1] = 1.5 if is_group else -1.5
    return axes + 0.1 * drawn(WIDTH, seed=seed)


HAS = drawn(300, TRAITS, seed=0)  # how far each item has each trait
ITEMS = functional.normalize(HAS @ drawn(TRAITS, SIZE, seed=1), dim=-1)
PAIRS = [(a, b) for a in range(TRAITS) for b in range(TRAITS)]
GROUPS = torch.stack([named(*pair, seed=row) for row, pair in enumerate(PAIRS[:-1])])
WHOLE = torch.stack([named(row, is_group=False, seed=99 + row) for row in range(3)])
TEXTS, NARROW = torch.cat([GROUPS, WHOLE]), torch.arange(len(PAIRS) + 2) < len(PAIRS) - 1
MEMBERS = torch.cat(
    [
        torch.stack([HAS[:, a] + HAS[:, b] > 1.2 for a, b in PAIRS[:-1]]),
        torch.ones(3, len(ITEMS)) > 0,
    ]
)
NEW = (TRAITS - 1, TRAITS - 1)  # the pair that no text names


def fitted(**changes: Tensor) -> Traits:
    module = Traits(WIDTH, SIZE)
    given = {"items": ITEMS, "mean": torch.zeros(1, WIDTH), "texts": TEXTS}
    given |= {"narrow": NARROW, "members": MEMBERS}
    module.fit(**(given | changes))
    return module


MODULE = fitted()


def test_a_new_text_finds_who_has_the_trait_that_it_names() -> None:
    found = ITEMS @ MODULE.pull(named(*NEW)[None])[0]
    assert torch.corrcoef(torch.stack([found, HAS[:, NEW[0]]]))[0, 1] > 0.8
    assert found.std(correction=0).item() == pytest.approx(1, abs=1e-3)
    for other in range(TRAITS - 1):
        assert torch.corrcoef(torch.stack([found, HAS[:, other]]))[0, 1] < 0.5


def test_it_is_ridge_regression_from_both_sides() -> None:
    """In the dual: of members, centred and scaled, by texts that name groups and by items."""
    texts = functional.normalize(GROUPS, dim=-1).double()
    belongs, items = MEMBERS[NARROW].double(), ITEMS.double()
    belongs = (belongs - belongs.mean(-1, keepdim=True)) / belongs.std(-1, keepdim=True)
    by_texts = torch.linalg.inv(texts @ texts.T + room.TEXTS * torch.eye(len(texts))) @ belongs
    by_items = torch.linalg.inv(items @ items.T + room.ITEMS * torch.eye(len(items)))
    query = functional.normalize(named(*NEW), dim=-1).double()
    wanted = query @ texts.T @ by_texts @ by_items @ items @ items.T
    found = ITEMS @ MODULE.pull(named(*NEW)[None])[0]
    assert torch.allclose(found.double(), wanted / wanted.std(correction=0), atol=1e-3)


def test_both_kinds_of_texts_weigh_alike() -> None:
    texts = functional.normalize(TEXTS, dim=-1)
    kinds = texts @ MODULE.kind[:-1] + MODULE.kind[-1]
    assert kinds[NARROW].mean().item() == pytest.approx(-kinds[~NARROW].mean().item(), abs=1e-3)


def test_a_text_like_those_of_whole_relations_names_none() -> None:
    assert not MODULE.pull(named(*NEW, is_group=False)[None]).any()
    between = named(*NEW)
    between[-1] = 0.3
    weak = (ITEMS @ MODULE.pull(between[None])[0]).std().item()
    assert 0 < weak < 1


def test_what_tells_nothing_changes_nothing() -> None:
    """Neither do few groups, groups of all items, items of nothing, nor texts of one kind alone."""
    none = Traits(WIDTH, SIZE)
    same = [none, fitted(members=MEMBERS & False), fitted(members=MEMBERS | True)]
    same += [fitted(items=0 * ITEMS), fitted(narrow=NARROW | True), fitted(narrow=NARROW & False)]
    few = room.FEW - 1
    short = {"texts": TEXTS[-few - 3 :], "narrow": NARROW[-few - 3 :]}
    same.append(fitted(**short, members=MEMBERS[-few - 3 :]))
    for module in same:
        assert not module.is_fitted and not module.pull(TEXTS).any()
        assert module.pull(TEXTS).shape == (len(TEXTS), SIZE)
    assert fitted(**{name: rows[-few - 4 :] for name, rows in (
        ("texts", TEXTS), ("narrow", NARROW), ("members", MEMBERS))}).is_fitted  # fmt: skip


def test_it_is_read_back() -> None:
    again = Traits(WIDTH, SIZE)
    again.load_state_dict(MODULE.state_dict())
    assert torch.equal(again.pull(TEXTS), MODULE.pull(TEXTS))


def part(pooled: Tensor, there: Tensor | None = None) -> Part:
    mask = torch.ones(len(pooled), 1, dtype=torch.bool) if there is None else there[:, None]
    return Part(torch.zeros(len(pooled), 1, 8), mask, pooled)


def test_the_conditioner_adds_a_hint_to_cosines_and_keeps_their_vectors_at_length_one() -> None:
    count, there = 60, torch.arange(60) > 0  # the first item has nothing at all
    tokens = Tokens(part(drawn(count, 20, seed=3), there), part(drawn(count, WIDTH, seed=4), there))
    torch.manual_seed(0)
    module = Conditioner(tokens[:2], ModelConfig(dim=48, ridge_dim=SIZE, words_dim=4)).eval()
    module.start(tokens, part(torch.cat([WHOLE, named(0, *NEW)[None]])))
    module.words.fit(tokens.text, WHOLE, torch.ones(3, count), torch.arange(3) == 0)
    links = torch.rand(count, count, generator=torch.Generator().manual_seed(0)) < 0.2
    module.ridge = _ridge(tokens, links)
    wanted = module(tokens, None).both
    told = part(torch.stack([WHOLE[0], named(*NEW), named(1, is_group=False, seed=7)]))
    before = module.under(module.map(tokens), tokens, told).both
    seen, learned = module.ridge.wanted(tokens), module.config.learned_dim
    module.traits.fit(
        seen, torch.zeros(1, WIDTH), TEXTS, NARROW, (seen @ drawn(SIZE, len(TEXTS), seed=5)).T > 0
    )
    after = module.under(module.map(tokens), tokens, told).both
    assert torch.allclose(after[0], before[0], atol=1e-6)  # a known text asks as before
    assert torch.allclose(after[2], before[2], atol=1e-6)  # and so does one that names no trait
    assert torch.allclose(after.norm(dim=-1), there.float().expand(3, -1), atol=1e-5)
    assert not after[1, 0].any() and not torch.allclose(after[1, 1:], before[1, 1:], atol=1e-3)
    ratio = before[1, 1:, :learned].norm(dim=-1) / after[1, 1:, :learned].norm(dim=-1)
    hint = (after[1, 1:] * ratio[:, None] - before[1, 1:]) @ wanted[1:].T  # the same whoever asks
    assert torch.allclose(hint, hint[:1].expand_as(hint), atol=1e-5)
    share = module._strangeness(told.pooled)[1].item()
    assert 0 < share < 0.9
    pull = (seen[1:] @ module.traits.pull(told.pooled)[1]).std(correction=0).item()
    amount = module.config.traits * share * pull
    assert hint[0].std(correction=0).item() == pytest.approx(amount, rel=1e-3)
    fused = torch.empty(3, count, 48)
    with torch.no_grad():
        module.fuse(module.map(tokens), tokens, told, module.read(told), fused)
    assert torch.allclose(fused, after, atol=1e-5)


def _ridge(tokens: Tokens, links: Tensor) -> Ridge:
    ridge = Ridge(tokens[:2], SIZE)
    both = [sparse.csr_array(links.numpy()), sparse.csr_array(links.T.numpy())]
    ridge.fit(tokens, both, WHOLE[:1], torch.tensor([1]))
    return ridge


def test_relations_are_known_before_groups_and_groups_of_one_text_are_one(
    catalogue: Catalogue, settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    told = tuple(
        replace(group, text="both are bright") if group.id in ("red", "blue") else group
        for group in catalogue.groups
    )
    run = prepare(replace(catalogue, groups=told), settings(), cache, silent)
    known, texts = close_room._known(run)
    place, asks, is_narrow = known["both are bright"]
    assert place == 1 and len(asks) == 2 and is_narrow and len(texts) == len(known)
    counts = close_room._counts(known, 1, len(run.items))
    bright = torch.tensor([item.metadata["colour"] in ("red", "blue") for item in run.items])
    assert torch.equal(counts[list(known).index("both are bright")] > 0, bright)
    assert torch.equal(close_room._counts(known, 2, -(-len(run.items) // 2)), counts[:, ::2])
    monkeypatch.setattr(close_room, "TEXTS", 5)
    own = {direction.text for direction in directions(catalogue.relations)}
    assert own < set(close_room._known(run)[0]) and len(close_room._known(run)[0]) == 5


@pytest.mark.parametrize("few", [2, 99])
def test_training_learns_it_from_the_groups_that_have_texts(
    few: int,
    catalogue: Catalogue,
    settings: Settings,
    monkeypatch: pytest.MonkeyPatch,
    tmp_path_factory: pytest.TempPathFactory,
) -> None:
    monkeypatch.setattr(room, "FEW", few)
    folder = tmp_path_factory.mktemp("traits")
    model = train(catalogue, settings(), folder / "run", cache=folder)
    assert isinstance(model.conditioner, Conditioner)
    ridge, traits = model.conditioner.ridge, model.conditioner.traits
    assert traits.is_fitted == (few == 2 and ridge.is_fitted) and ridge.is_fitted
    assert Model.load(folder / "run").fingerprint == model.fingerprint
    if traits.is_fitted:
        assert model.split is not None
        by_id = {item.id: item for item in catalogue.items}
        items = [by_id[name] for name in model.split.train]
        text = next(g.text for g in catalogue.groups if g.text and g.id == "red")
        found = ridge.wanted(model.encode(items, cache=folder).float())
        found = found @ traits.pull(model.relation_parts([text]).pooled)[0]
        red = torch.tensor([item.metadata["colour"] == "red" for item in items])
        assert found[red].mean() > found[~red].mean() + 1


def test_pictures_alone_have_traits_too(
    catalogue: Catalogue, settings: Settings, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Texts are centred by those of the relations, where no item has one."""
    monkeypatch.setattr(room, "FEW", 2)
    items = tuple(replace(item, text=None) for item in catalogue.items if item.image is not None)
    model = train(replace(catalogue, items=items), settings(), cache=cache)
    assert isinstance(model.conditioner, Conditioner)
    traits = model.conditioner.traits
    assert traits.is_fitted and not model.conditioner.words.is_fitted and traits.mean.any()
    new = model.relation_parts(["both are big", "have the same size"])
    told, untold = traits.pull(new.pooled).norm(dim=-1)
    assert told > 0 and untold < told
    lengths = torch.from_numpy(model.embed(items[:4], "both are big")).norm(dim=-1)
    assert torch.allclose(lengths, torch.ones(4), atol=1e-5)
