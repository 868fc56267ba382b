"""The state of a run on disk: rows of metrics and snapshots.

In: a `Run` and a folder.
Out: `metrics.jsonl` and `snapshots/`; the run as it was after the newest snapshot.
This file does not know how the state came about.
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from torch import Tensor

from relatum.checkpoint import (
    newest_snapshot,
    optimiser_tensors,
    restore_optimiser,
    save_snapshot,
)
from relatum.disk import disk_errors_named
from relatum.distributed import agree, is_first
from relatum.encoders.tuning import fill_tuned, tuned_tensors
from relatum.errors import CheckpointError
from relatum.train.run import Run


def write_metrics(folder: Path, row: Mapping[str, Any]) -> None:
    """Append a row to `metrics.jsonl`."""
    with disk_errors_named(folder), (folder / "metrics.jsonl").open("a") as file:
        file.write(json.dumps(row) + "\n")


def _state(run: Run) -> dict[str, dict[str, Tensor]]:
    return {
        "weights": run.model.conditioner.state_dict(),
        "best": run.best,
        "temperature": run.temperature.state_dict(),
        "optimiser": optimiser_tensors(run.optimiser),
        "encoder": tuned_tensors(run.model.encoder, run.config.tuning),
        "best_encoder": run.best_encoder,
    }


def save_state(run: Run, folder: Path) -> None:
    """Keep the state of the run; the first process writes, and only the newest two stay."""
    if not is_first() and not run.is_sharded:
        return
    tensors = {
        f"{part}/{name}": tensor
        for part, values in _state(run).items()
        for name, tensor in values.items()
    }
    facts = {
        "config": run.config.model_dump(mode="json"),
        "catalogue": run.model.catalogue,
        "best_score": run.best_score,
        "best_step": run.best_step,
    }
    if is_first():
        save_snapshot(folder / "snapshots", run.step, tensors, facts)


def restore(run: Run, folder: Path) -> None:
    """Take the run to where the newest snapshot left it; without one, it stays as it is.

    Raises `CheckpointError` for a snapshot of other settings or another catalogue.
    """
    found = agree(newest_snapshot(folder / "snapshots") if is_first() else None)
    if found is None:
        return
    tensors, facts = found
    now = run.config.model_dump(mode="json")
    if facts["config"] != now or facts["catalogue"] != run.model.catalogue:
        raise CheckpointError(
            "the snapshot was made with other settings or other data",
            where=folder,
            fix="use the same settings and catalogue, or train without --resume",
        )
    parts: dict[str, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        part, _, name = key.partition("/")
        parts.setdefault(part, {})[name] = tensor
    run.model.conditioner.load_state_dict(parts["weights"])
    run.temperature.load_state_dict(parts["temperature"])
    restore_optimiser(run.optimiser, parts["optimiser"])
    fill_tuned(run.model.encoder, run.config.tuning, parts.get("encoder", {}))
    run.best_encoder = parts.get("best_encoder", {})
    run.best = parts.get("best", {})  # none yet, before the first validation
    run.step = int(facts["step"])
    run.best_score, run.best_step = float(facts["best_score"]), int(facts["best_step"])
    if is_first():
        _cut_metrics(folder / "metrics.jsonl", run.step)


def _cut_metrics(path: Path, step: int) -> None:
    """Drop the rows after `step`, which will be written again, and a last row cut short."""
    if not path.exists():
        return
    kept = []
    for line in path.read_text().splitlines():
        try:
            if json.loads(line)["step"] <= step:
                kept.append(line + "\n")
        except ValueError:
            break  # a row that a kill cut short
    path.write_text("".join(kept))
