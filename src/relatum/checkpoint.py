"""Model folders and training snapshots: tensors as safetensors, the rest as JSON, no pickle.

In: tensors and plain values.
Out: the same, whole or not at all. Layout: docs/file-formats.md, "Model folder".
This room does not know what the tensors mean.
"""

import json
import shutil
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from safetensors import SafetensorError, safe_open
from safetensors.torch import save
from torch import Tensor

from relatum.disk import disk_errors_named, remove_parts, write_file
from relatum.errors import CheckpointError
from relatum.sharding import split_like, whole

FORMAT = 7
MANIFEST = "relatum.json"
SNAPSHOTS_KEPT = 2


def write_tensors(path: Path, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]) -> None:
    """Write tensors and facts as one safetensors file, in one step."""
    whole = {name: tensor.detach().cpu().contiguous() for name, tensor in tensors.items()}
    write_file(path, save(whole, metadata={"facts": json.dumps(facts)}))


def read_tensors(path: Path) -> tuple[dict[str, Tensor], dict[str, Any]]:
    """Read what `write_tensors` wrote; `CheckpointError` for a missing or damaged file."""
    try:
        with safe_open(path, "pt") as file:
            facts = json.loads((file.metadata() or {}).get("facts", "{}"))
            return {name: file.get_tensor(name) for name in file.keys()}, facts  # noqa: SIM118
    except (SafetensorError, OSError, ValueError) as error:
        what = f"expected a whole safetensors file, got: {' '.join(str(error).split())}"
        raise CheckpointError(what, where=path, fix="train the model again") from error


def remove_manifest(folder: Path) -> None:
    """Say that the folder is no model, until `write_manifest` says that it is."""
    with disk_errors_named(folder):
        (folder / MANIFEST).unlink(missing_ok=True)


def write_manifest(folder: Path, facts: Mapping[str, Any]) -> None:
    """Write the manifest, which makes the folder a model."""
    text = json.dumps({"format": FORMAT, **facts}, indent=1, ensure_ascii=False)
    write_file(folder / MANIFEST, text.encode())


def read_manifest(folder: Path) -> dict[str, Any]:
    """Read a model folder's manifest; `CheckpointError` where it is none or of another format."""
    path = folder / MANIFEST
    if not path.is_file():
        raise CheckpointError(
            "this is not a model folder: it has no relatum.json",
            where=folder,
            fix="name the folder that relatum train -o wrote",
        )
    try:
        facts = json.loads(path.read_text(encoding="utf-8"))
        found = facts["format"]
    except (ValueError, KeyError, TypeError) as error:
        raise CheckpointError("the manifest is damaged", where=path, fix="train again") from error
    if found != FORMAT:
        raise CheckpointError(
            f"model format {found}, this version of relatum reads {FORMAT}",
            where=path,
            fix="use the relatum version that wrote it, or train again",
        )
    return facts


def save_snapshot(
    folder: Path, step: int, tensors: Mapping[str, Tensor], facts: Mapping[str, Any]
) -> None:
    """Keep the state of training after `step`; only the newest two stay."""
    write_tensors(folder / f"step-{step:08}.safetensors", tensors, {"step": step, **facts})
    for old in sorted(folder.glob("step-*.safetensors"))[:-SNAPSHOTS_KEPT]:
        old.unlink()


def newest_snapshot(folder: Path) -> tuple[dict[str, Tensor], dict[str, Any]] | None:
    """Return the newest snapshot that is whole, or None."""
    remove_parts(folder)
    for path in sorted(folder.glob("step-*.safetensors"), reverse=True):
        try:
            return read_tensors(path)
        except CheckpointError:
            path.unlink()  # damaged by the disk, as writing is atomic: the one before it serves
    return None


def remove_snapshots(folder: Path) -> None:
    """Remove the state of a training that is done or begins anew."""
    shutil.rmtree(folder, ignore_errors=True)


def optimiser_tensors(optimiser: torch.optim.Optimizer) -> dict[str, Tensor]:
    """Return an optimiser's state as named tensors."""
    found: dict[str, Tensor] = {}
    for index, state in optimiser.state_dict()["state"].items():
        for name, value in state.items():
            found[f"{index}.{name}"] = whole(torch.as_tensor(value))
    return found


def restore_optimiser(optimiser: torch.optim.Optimizer, tensors: Mapping[str, Tensor]) -> None:
    """Put back what `optimiser_tensors` returned."""
    weights = [weight for group in optimiser.param_groups for weight in group["params"]]
    state: dict[int, dict[str, Tensor]] = {}
    for key, tensor in tensors.items():
        index, _, name = key.partition(".")
        state.setdefault(int(index), {})[name] = split_like(tensor, weights[int(index)])
    optimiser.load_state_dict({**optimiser.state_dict(), "state": state})
