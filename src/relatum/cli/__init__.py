"""The command line: one step a command, progress on stderr, results on stdout.

In: the words a person types.
Out: folders and files; tables, or JSON with `--json`; exit code 2 and one line for what the user
can fix. This room holds no logic of its own.
"""

import logging
import sys

from relatum.cli import catalogues, exports, models, stores  # noqa: F401 - each adds its commands
from relatum.cli.options import app
from relatum.errors import RelatumError


def main() -> None:
    """Run the command line; what the user can fix is one line on stderr and exit code 2."""
    logging.basicConfig(level=logging.WARNING, format="%(levelname)s %(name)s: %(message)s")
    try:
        app()
    except RelatumError as error:
        sys.stderr.write(f"relatum: {error}\n")
        sys.exit(2)
