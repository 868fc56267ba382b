"""Train a model: prepare a run, take steps, keep snapshots."""

from relatum.train.run import Recipe
from relatum.train.train import train, without_conditioning

__all__ = ["Recipe", "train", "without_conditioning"]
