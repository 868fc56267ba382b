"""A catalogue from the files that people have."""

from relatum.prepare.kinds import KINDS
from relatum.prepare.prepare import Prepared, Settings, column_names, prepare

__all__ = ["KINDS", "Prepared", "Settings", "column_names", "prepare"]
