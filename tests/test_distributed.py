"""Many processes train the model that one would."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from conftest import Settings
from processes import free_port, together
from relatum import Catalogue, Config, Model, train
from relatum.checkpoint import read_tensors, write_tensors
from relatum.config import Tuning
from relatum.distributed import (
    add_gradients,
    agree,
    draw_rows,
    gather,
    joined,
    one_goes_ahead,
    rank,
    share,
    share_pool,
    size,
)
from relatum.encoders.tuning import tuned_tensors
from relatum.progress import silent
from relatum.sharding import is_split
from relatum.train.run import Run, prepare, split_weights
from relatum.train.step import take_step

STEPS = 20
# The loss does not feel these, so their gradients are rounding alone, which AdamW makes steps of:
# a softmax stays as it is when all its logits move by one bias.
UNFELT = ("temperature/bias", "k_proj.bias")


FULL = Tuning(image="full", text="full")


def state(run: Run) -> dict[str, Tensor]:
    parts = {"weights": run.model.conditioner, "temperature": run.temperature}
    towers = {f"encoder/{k}": t for k, t in tuned_tensors(run.model.encoder, FULL).items()}
    state = {part: module.state_dict() for part, module in parts.items()}
    return towers | {f"{part}/{k}": t for part, some in state.items() for k, t in some.items()}


def steps(folder: Path, values: dict, cache: Path, output: Path) -> None:
    """Take steps; keep the losses of each and the last weights, of each process."""
    with joined():
        with one_goes_ahead():
            run = prepare(Catalogue.load(folder), Config(**values), cache, silent)
        split_weights(run)
        weights = [p for group in run.optimiser.param_groups for p in group["params"]]
        assert any(map(is_split, weights)) == (size() > 1 and run.config.training.sharded)
        losses: list[dict[str, float]] = []
        for _ in range(STEPS):
            losses.append(take_step(run).losses)
            run.step += 1
        write_tensors(output / f"{rank()}-of-{size()}", state(run), {"losses": losses})


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"model__beta": 0.5, "training__pool_size": 13},
        {"tuning": "full", "model__beta": 0.5, "training__pool_size": 11},
        {"tuning": "full", "training__chunk": 4},
        {"tuning": "full", "training__sharded": True, "training__clip": 0.1},
    ],
    ids=["frozen", "frozen with attention", "tuned", "tuned in chunks", "tuned and sharded"],
)
def test_one_process_equals_two(
    changes: dict, folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    values = settings(training__steps=STEPS, **changes).model_dump()
    steps(folder, values, cache, tmp_path)
    together(2, steps, folder, values, cache, tmp_path)
    names = ("0-of-1", "0-of-2", "1-of-2")
    (alone, told), *pair = [read_tensors(tmp_path / name) for name in names]
    assert len(told["losses"]) == STEPS
    for tensors, facts in pair:
        for one, other in zip(told["losses"], facts["losses"], strict=True):
            assert other == pytest.approx(one, abs=1e-5)
        for name, tensor in alone.items():
            if not name.endswith(UNFELT):
                assert torch.allclose(tensors[name], tensor, rtol=0, atol=1e-5), name
    for name, tensor in pair[0][0].items():
        assert torch.equal(tensor, pair[1][0][name]), name


def ask(output: Path) -> None:
    """Use each part of the room in one of three processes, on a pool of five rows."""
    with joined():
        pool = torch.arange(10.0).reshape(5, 2)
        rows = share(5)
        assert len(rows) == 2
        one, after = nn.Parameter(torch.ones(2)), nn.Parameter(torch.ones(1))
        idle, half = nn.Parameter(torch.ones(1)), nn.Parameter(torch.ones(1))
        whole = gather(pool[rows] * one, 5)
        assert torch.equal(whole, pool)
        (whole.square().sum() * after).backward()
        if rank() == 2:
            half.grad = torch.ones(1)
        add_gradients([one, idle, half], [after])
        assert one.grad is not None and torch.allclose(one.grad, 2 * pool.square().sum(0))
        assert after.grad is not None and torch.allclose(after.grad, pool.square().sum())
        assert idle.grad is None and half.grad is not None and half.grad.item() == 1
        torch.manual_seed(0)
        share_pool(5)
        drawn = gather(draw_rows(pool[rows]), 5)
        torch.manual_seed(0)
        assert torch.equal(drawn, torch.rand(5, 2))
        assert agree(rank()) == 0
        (output / str(rank())).touch()


def test_the_parts_of_the_room_agree_in_three_processes(tmp_path: Path) -> None:
    together(3, ask, tmp_path)
    assert len(list(tmp_path.iterdir())) == 3


def test_torchrun_trains_the_model_of_one_process(
    folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    config = settings()
    sets = [f"encoder={config.encoder}", "tokens.hidden=16", "model.dim=48", "training.steps=10"]
    sets += ["training.pools=3", "training.pool_size=12", "training.validate_every=5"]
    command = [sys.executable, "-m", "torch.distributed.run", "--nproc-per-node=2"]
    command += ["--master-addr=127.0.0.1", f"--master-port={free_port()}"]
    command += ["-m", "relatum.cli", "train", str(folder), "-o", str(tmp_path / "run"), "--json"]
    command += [*(f"--set={pair}" for pair in sets), f"--cache={cache}"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if line.startswith("{")]
    assert len(said) == 1 and done.stderr.count("train: 10/10") == 1
    made, alone = Model.load(tmp_path / "run"), train(Catalogue.load(folder), config, cache=cache)
    assert json.loads(said[0])["fingerprint"] == made.fingerprint
    for name, tensor in alone.conditioner.state_dict().items():
        assert torch.allclose(made.conditioner.state_dict()[name], tensor, rtol=0, atol=1e-5), name
    rows = (tmp_path / "run/metrics.jsonl").read_text().splitlines()
    assert [json.loads(row)["step"] for row in rows] == [5, 10]
