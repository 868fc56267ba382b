"""The rows of metrics as TensorBoard's event files.

In: a folder, rows.
Out: event files with the numbers of each row. Needs the extra `scale`, and only this file does.
"""

from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from relatum.errors import RelatumError

Board = Callable[[Mapping[str, Any]], None]


@contextmanager
def open_board(folder: Path | None, step: int) -> Iterator[Board]:
    """Give what writes rows after `step` to a folder; without a folder it drops them."""
    if folder is None:
        yield lambda row: None
        return
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        fix = "pip install 'relatum[scale]'"
        raise RelatumError(
            "TensorBoard is not installed", where="--tensorboard", fix=fix
        ) from error
    with SummaryWriter(str(folder), purge_step=step + 1) as writer:
        yield lambda row: _write(writer.add_scalar, row, row["step"], "")


def _write(add: Callable[..., None], row: Mapping[str, Any], step: int, within: str) -> None:
    for name, value in row.items():
        if isinstance(value, Mapping):
            _write(add, value, step, f"{within}{name}/")
        elif isinstance(value, int | float):
            add(within + name, value, step)
