"""Compare many methods over several seeds: rivals, ablations, a sweep of beta, a learning curve."""

from relatum.study.run import study
from relatum.study.variants import KINDS, Kind

__all__ = ["KINDS", "Kind", "study"]
