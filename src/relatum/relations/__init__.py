"""Mine relations from what a folder has, and say how noisy they are."""

from relatum.relations.describe import Writer
from relatum.relations.mine import default_plan, mine
from relatum.relations.noise import NoiseReport
from relatum.relations.plan import Plan
from relatum.relations.source import Source

__all__ = ["NoiseReport", "Plan", "Source", "Writer", "default_plan", "mine"]
