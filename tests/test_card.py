"""On a graphics card, where there is one: the same as on the processors, to rounding."""

import sys
from pathlib import Path

import pytest
import torch
from torch import distributed

from conftest import Settings, train_hinted
from processes import together
from relatum import Catalogue, Model, train
from relatum.checkpoint import read_tensors
from relatum.encoders import load_encoder
from relatum.encoders.encoder import SIDES, device_of
from relatum.items import read_image
from relatum.progress import silent
from relatum.train.run import Run, prepare
from relatum.train.step import take_step
from test_distributed import UNFELT, steps

pytestmark = pytest.mark.skipif(not torch.cuda.is_available(), reason="no graphics card")
CPU = torch.device("cpu")


def stepped(run: Run, count: int = 3) -> list[dict[str, float]]:
    """Take some steps; return the losses of each."""
    found = []
    for _ in range(count):
        found.append(take_step(run).losses)
        run.step += 1
    return found


def close(one: list[dict[str, float]], other: list[dict[str, float]], margin: float) -> None:
    for a, b in zip(one, other, strict=True):
        assert a == pytest.approx(b, abs=margin)


@pytest.mark.parametrize("name", ["starter", "tiny_clip", "tiny_siglip"])
def test_an_encoder_gives_what_it_gives_on_the_processors(
    name: str, catalogue: Catalogue, request: pytest.FixtureRequest
) -> None:
    where = name if name == "starter" else str(request.getfixturevalue(name))
    encoders = [load_encoder(where, device) for device in (CPU, None)]
    items = [item for item in catalogue.items if item.image is not None and item.text][:9]
    with torch.no_grad():
        raws = [
            (
                one.encode_images([read_image(item) for item in items]),
                one.encode_texts([item.text or "" for item in items]),
            )
            for one in encoders
        ]
    for here, there in zip(*raws, strict=True):
        assert there.tokens.is_cuda and there.mask.is_cuda and there.pooled.is_cuda
        assert torch.equal(here.mask, there.mask.cpu())
        near = torch.cosine_similarity(here.pooled, there.pooled.cpu())
        assert near.min() > 1 - 1e-4  # a card's convolutions round more
    assert encoders[0].fingerprint() == encoders[1].fingerprint()


@pytest.mark.parametrize("way", ["frozen", "full", "lora"])
def test_training_goes_the_same_way(
    catalogue: Catalogue, settings: Settings, tmp_path: Path, way: str
) -> None:
    told = {"tuning": way, "training__encoder_rate": 1e-4, "model__beta": 0.5}
    told |= {"model__dropout": 0.0, "model__token_dropout": 0.0}  # a card draws other numbers
    runs = [
        prepare(catalogue, settings(**told, training__device=device), tmp_path, silent)
        for device in ("cpu", "auto")
    ]
    for side in SIDES if way != "frozen" else ():
        tower = runs[1].model.encoder.tower(side)
        assert tower is not None and device_of(tower).type == "cuda"
    close(stepped(runs[0]), stepped(runs[1]), 2e-2)


def test_a_pool_in_chunks_is_the_whole_pool(
    catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    losses = []
    for chunk in (0, 3):
        config = settings(tuning="full", training__chunk=chunk, training__encoder_rate=1e-4)
        losses.append(stepped(prepare(catalogue, config, tmp_path, silent)))
    close(losses[0], losses[1], 1e-4)


def test_bf16_is_near(catalogue: Catalogue, settings: Settings, tmp_path: Path) -> None:
    losses = []
    for bf16 in (False, True):
        config = settings(tuning="full", training__bf16=bf16)
        losses.append(stepped(prepare(catalogue, config, tmp_path, silent)))
    close(losses[0], losses[1], 0.3)
    assert losses[0] != losses[1]


@pytest.mark.parametrize("way", ["frozen", "full"])
def test_a_stopped_training_goes_on_and_the_model_is_whole(
    catalogue: Catalogue, settings: Settings, tmp_path: Path, way: str
) -> None:
    config = settings(tuning=way, training__steps=4, training__snapshot_every=2)

    class Stopped(Exception):
        pass

    def stop(stage: str, done: int, total: int, note: str) -> None:
        if stage == "train" and done == 3:
            raise Stopped

    cache = tmp_path / "cache"
    whole = train(catalogue, config, tmp_path / "whole", cache=cache)
    with pytest.raises(Stopped):
        train(catalogue, config, tmp_path / "cut", report=stop, cache=cache)
    train(catalogue, config, tmp_path / "cut", resume=True, cache=cache)
    loaded = Model.load(tmp_path / "cut")
    few, text = list(catalogue.items[:8]), catalogue.relations[0].text
    for told in (None, text):
        here, there = (torch.from_numpy(model.embed(few, told)) for model in (whole, loaded))
        assert torch.allclose(here, there, atol=2e-3)


def test_a_conditioner_may_be_moved(
    catalogue: Catalogue, settings: Settings, tmp_path: Path
) -> None:
    model = train_hinted(catalogue, settings(), tmp_path / "run", tmp_path)
    tokens = model.encode(list(catalogue.items), cache=tmp_path)
    texts = [*(relation.text for relation in catalogue.relations), "both are big"]
    here = model.condition_many(tokens, texts), model.condition(tokens, texts[0]).both
    model.conditioner.cuda()
    there = model.condition_many(tokens, texts), model.condition(tokens, texts[0]).both
    for one, other in zip(here, there, strict=True):
        assert other.device == CPU and torch.allclose(one, other, atol=1e-4)


def steps_on_one_card(folder: Path, values: dict, cache: Path, output: Path) -> None:
    """Take steps among processes that share a card: gloo allows it, where NCCL does not."""
    for name, room in list(sys.modules.items()):
        if name.startswith("relatum") and hasattr(room, "find_device"):
            vars(room)["find_device"] = lambda _: torch.device("cuda", 0)
    meet = distributed.init_process_group
    distributed.init_process_group = lambda _, **told: meet("gloo", **told)
    steps(folder, values, cache, output)


@pytest.mark.parametrize(
    "changes",
    [{"model__beta": 0.5}, {"tuning": "full"}, {"tuning": "full", "training__chunk": 4}],
    ids=["frozen", "tuned", "tuned in chunks"],
)
def test_two_processes_train_what_one_does(
    changes: dict, folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    told = {"model__dropout": 0.0, "model__token_dropout": 0.0} | changes
    values = settings(training__steps=20, **told).model_dump()
    steps(folder, values, cache, tmp_path)
    together(2, steps_on_one_card, folder, values, cache, tmp_path)
    names = ("0-of-1", "0-of-2", "1-of-2")
    (alone, said), *pair = [read_tensors(tmp_path / name) for name in names]
    for tensors, facts in pair:
        close(said["losses"], facts["losses"], 1e-3)
        for name, tensor in alone.items():
            if not name.endswith(UNFELT):
                assert torch.allclose(tensors[name], tensor, rtol=0, atol=1e-3), name
