"""A model as a folder that loads anywhere, with its card, locally or on a hub.

In: a model; a folder or a hub id.
Out: the folder, which never takes the place of files that no export wrote; the model again.
"""

import copy
import json
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory

from huggingface_hub import HfApi, snapshot_download
from huggingface_hub.errors import HTTPError  # pyright: ignore - from the HTTP library it uses

from relatum.disk import check_place, new_folder, write_file
from relatum.errors import RelatumError
from relatum.export.card import card
from relatum.model import Model

MARK = "relatum-export.json"  # lists what an export wrote
WANTED = ["*.safetensors", "*.json", "*.md", "*.txt"]  # nothing that could run


def save_pretrained(
    model: Model, folder: str | Path, *, report: str | Path | None = None, licence: str = "unknown"
) -> None:
    """Write the folder; `report` is that of `relatum evaluate`, for the card's table."""
    text = card(model, report, licence)
    with export_folder(Path(folder), model) as part:
        write_model(model, part)
        write_file(part / "README.md", text.encode())


def push_to_hub(
    model: Model,
    repo_id: str,
    *,
    report: str | Path | None = None,
    licence: str = "unknown",
    private: bool = False,
) -> str:
    """Put what `save_pretrained` writes on the hub; return its address."""
    with TemporaryDirectory() as place, _hub_errors_named(repo_id):
        save_pretrained(model, Path(place) / "model", report=report, licence=licence)
        HfApi().create_repo(repo_id, private=private, exist_ok=True)
        return str(HfApi().upload_folder(repo_id=repo_id, folder_path=Path(place) / "model"))


def from_pretrained(source: str | Path, *, revision: str | None = None) -> Model:
    """Load a model from a folder or a hub id; of a hub, only weights and texts are fetched."""
    if not Path(source).is_dir():
        with _hub_errors_named(str(source)):
            source = snapshot_download(str(source), revision=revision, allow_patterns=WANTED)
    return Model.load(source)


@contextmanager
def export_folder(path: Path, model: Model) -> Iterator[Path]:
    """Give a folder to fill that takes the place of an earlier export, and of nothing else."""
    check_place(path)
    try:
        known = {MARK, *json.loads((path / MARK).read_text(encoding="utf-8"))["files"]}
    except (OSError, ValueError, KeyError, TypeError):
        known = set()
    if foreign := _files(path) - known:
        what = f"the folder holds {min(foreign)!r}, which no export wrote"
        raise RelatumError(what, where=path, fix="name a new or empty folder")
    with new_folder(path) as part:
        yield part
        facts = {"model": model.fingerprint, "files": sorted(_files(part))}
        write_file(part / MARK, json.dumps(facts, indent=1).encode())


def write_model(model: Model, folder: Path) -> None:
    """Save a model and, if its encoder is a local folder, that too."""
    source = Path(model.config.encoder)
    if source.is_dir():
        model = copy.copy(model)
        model.config = model.config.model_copy(update={"encoder": "encoder"})
        (folder / "encoder").mkdir()
        for file in (file for pattern in WANTED for file in source.glob(pattern)):
            shutil.copyfile(file, folder / "encoder" / file.name)
    model.save(folder)


def _files(folder: Path) -> set[str]:
    return {str(file.relative_to(folder)) for file in folder.rglob("*") if not file.is_dir()}


@contextmanager
def _hub_errors_named(repo_id: str) -> Iterator[None]:
    try:
        yield
    except (HTTPError, OSError, ValueError) as error:
        what = f"no folder, and the hub says: {str(error).strip().splitlines()[0][:200]}"
        fix = "check the name, the network and the token"
        raise RelatumError(what, where=repo_id, fix=fix) from error
