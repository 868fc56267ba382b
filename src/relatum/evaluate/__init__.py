"""Compare a model with the frozen encoders and with its unconditioned twin, and report it."""

from relatum.evaluate.evaluate import evaluate
from relatum.evaluate.report import Report

__all__ = ["Report", "evaluate"]
