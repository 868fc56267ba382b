"""A catalogue from the files that people have."""

from relatum.prepare.kinds import KINDS
from relatum.prepare.prepare import NONE, Prepared, Settings, column_names, prepare

__all__ = ["KINDS", "NONE", "Prepared", "Settings", "column_names", "prepare"]
