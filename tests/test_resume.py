"""A training that is killed again and again ends as if nobody had touched it."""

import random
import signal
import time
from pathlib import Path

import pytest
import torch

from conftest import Settings
from processes import start, together
from relatum import Catalogue, Config, Model, train
from relatum.checkpoint import SNAPSHOTS_KEPT, newest_snapshot
from relatum.encoders.tuning import tuned_tensors
from relatum.train import run as run_room
from relatum.train import step as step_room

KILLS = 20


def go_on(folder: Path, values: dict, cache: Path, output: Path) -> None:
    train(Catalogue.load(folder), Config(**values), output, resume=True, cache=cache)


def newest(run: Path) -> int:
    return max((int(path.stem[5:]) for path in run.glob("snapshots/step-*.safetensors")), default=0)


def equal(one: Model, other: Model) -> bool:
    weights = one.conditioner.state_dict(), other.conditioner.state_dict()
    return all(torch.equal(a, b) for a, b in zip(*(w.values() for w in weights), strict=True))


def test_killed_twenty_times_it_ends_with_the_same_bits(
    folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    changes = {"steps": 240, "pools": 1, "snapshot_every": 2, "validate_every": 60, "patience": 99}
    config = settings(**{f"training__{name}": value for name, value in changes.items()})
    work = (go_on, folder, config.model_dump(), cache)
    whole = train(Catalogue.load(folder), config, cache=cache)
    chance, run = random.Random(0), tmp_path / "run"
    for _ in range(KILLS):
        before = newest(run)
        process = start(*work, run)
        begun = time.monotonic()
        while newest(run) <= before and process.exitcode is None and time.monotonic() < begun + 60:
            time.sleep(0.005)
        time.sleep(chance.uniform(0, 0.05))
        process.kill()
        process.join()
        assert process.exitcode == -signal.SIGKILL and newest(run) > before
        assert len(list(run.glob("snapshots/step-*"))) <= SNAPSHOTS_KEPT + 1
    go_on(folder, config.model_dump(), cache, run)
    assert equal(Model.load(run), whole)


def test_a_snapshot_between_validations_is_gone_on_from(
    catalogue: Catalogue, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and done == 9:
            raise KeyboardInterrupt

    config = settings(training__snapshot_every=2)
    with pytest.raises(KeyboardInterrupt):
        train(catalogue, config, tmp_path, cache=cache, report=stop)
    found = newest_snapshot(tmp_path / "snapshots")
    assert found is not None and found[1]["step"] == 8
    resumed = train(catalogue, config, tmp_path, resume=True, cache=cache)
    assert equal(resumed, train(catalogue, config, cache=cache))


@pytest.mark.parametrize("tuning", ["frozen", "full"])
def test_what_is_read_ahead_is_what_the_step_would_read(
    tuning: str, catalogue: Catalogue, settings: Settings, cache: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    monkeypatch.setattr(run_room, "HELD", 0)  # tokens are read from the cache's shards
    config = settings(training__steps=6, tuning=tuning, model__beta=0.5)
    ahead = train(catalogue, config, cache=cache)
    monkeypatch.setattr(step_room, "_load_ahead", lambda run: step_room._load(run, run.step))
    assert equal(ahead, train(catalogue, config, cache=cache))


def stop_early(folder: Path, values: dict, cache: Path, output: Path) -> None:
    def stop(stage: str, done: int, total: int, note: str = "") -> None:
        if stage == "train" and done == 8:
            raise SystemExit(0)

    train(Catalogue.load(folder), Config(**values), output, cache=cache, report=stop)


@pytest.mark.parametrize("changes", [{}, {"tuning": "full", "training__sharded": True}],
                         ids=["frozen", "sharded"])  # fmt: skip
def test_two_processes_go_on_from_where_one_stopped(
    changes: dict, folder: Path, settings: Settings, cache: Path, tmp_path: Path
) -> None:
    values = settings(training__snapshot_every=2, **changes).model_dump()
    for name in ("one", "two"):
        start(stop_early, folder, values, cache, tmp_path / name).join()
        assert newest(tmp_path / name) == 6
    go_on(folder, values, cache, tmp_path / "one")
    together(2, go_on, folder, values, cache, tmp_path / "two")
    models = [Model.load(tmp_path / name) for name in ("one", "two")]
    one, two = (model.conditioner.state_dict() for model in models)
    rounding = {"ridge.turn": 1e-4}  # near eigenvalues turn a rounded feature into more
    for name in one:
        assert torch.allclose(one[name], two[name], rtol=0, atol=rounding.get(name, 1e-5)), name
    one, two = (tuned_tensors(model.encoder, models[0].config.tuning) for model in models)
    assert all(torch.allclose(one[name], two[name], rtol=0, atol=1e-5) for name in one)
    assert bool(one) == bool(changes)
