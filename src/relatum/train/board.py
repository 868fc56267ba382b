"""The rows of metrics as TensorBoard's event files.

In: a folder, rows.
Out: event files with the numbers of each row. Needs the extra `scale`, and only this file does.
"""

import math
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

        def write(row: Mapping[str, Any]) -> None:
            for name, value in numbers(row).items():
                writer.add_scalar(name, value, row["step"])
            for text in row["warnings"]:
                writer.add_text("warnings", text, row["step"])
            writer.flush()

        yield write


def numbers(row: Mapping[str, Any], within: str = "") -> dict[str, float]:
    """Return the finite numbers of a row by their names.

    >>> numbers({"scale": 14.0, "losses": {"both": 2.0}, "uniformity": None})
    {'scale': 14.0, 'losses/both': 2.0}
    """
    found: dict[str, float] = {}
    for name, value in row.items():
        if isinstance(value, Mapping):
            found |= numbers(value, f"{within}{name}/")
        elif isinstance(value, int | float) and math.isfinite(value):
            found[within + name] = float(value)
    return found
