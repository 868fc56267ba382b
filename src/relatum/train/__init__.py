"""Train a model: prepare a run, take steps, keep snapshots."""

from relatum.train.train import train, without_conditioning

__all__ = ["train", "without_conditioning"]
