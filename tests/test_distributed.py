"""Many processes train the model that one would."""

import json
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from conftest import Settings
from processes import together
from relatum import Catalogue, Config, Model, train
from relatum.checkpoint import read_tensors, write_tensors
from relatum.distributed import (
    add_gradients,
    agree,
    check_alike,
    draw_rows,
    gather,
    joined,
    one_goes_ahead,
    rank,
    share,
    sharing,
    size,
)
from relatum.errors import RelatumError
from relatum.progress import silent
from relatum.train.run import Run, prepare
from relatum.train.step import take_step

STEPS = 20
# The loss does not feel these, so their gradients are rounding alone, which AdamW makes steps of:
# a softmax stays as it is when all its logits move by one bias.
UNFELT = ("temperature/bias", "k_proj.bias")


def state(run: Run) -> dict[str, Tensor]:
    parts = {"weights": run.model.conditioner, "temperature": run.temperature}
    parts["encoder"] = run.model.encoder.module()
    return {f"{part}/{name}": t for part, m in parts.items() for name, t in m.state_dict().items()}


def steps(folder: Path, values: dict, cache: Path, output: Path) -> None:
    """Take steps; keep the losses of each and the last weights, of each process."""
    with joined():
        with one_goes_ahead():
            run = prepare(Catalogue.load(folder), Config(**values), cache, silent)
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
    ],
    ids=["frozen", "frozen with attention", "tuned", "tuned in chunks"],
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
