"""What a run tells of itself: its speed, the health of its vectors, and what to do where it is ill.

In: what steps did; validation vectors under the null relation.
Out: rows for `metrics.jsonl`, with warnings in plain words.
This file does not know how a step is taken nor where rows go.
"""

import math
import resource
import sys
import time
from dataclasses import dataclass
from typing import Any

import torch
from jaxtyping import Float
from torch import Tensor

from relatum.train.run import Run

# Unit vectors spread evenly over a sphere come near -4, equal ones have 0; furniture and survival
# end at -2.4 and -2.1. Above -0.5 the typical pair has a squared distance below 0.25, a cosine
# above 0.87: what is left between items is small beside what all of them share.
LEAST_SPREAD = -0.5
# Of n vectors in d dimensions at most min(n, d) directions can be used; furniture and survival use
# 58 of 79 and of 76. One in twenty is far below any of these: the other dimensions are paid for
# and empty. Two at least, as below that there is one direction and noise.
LEAST_RANK_SHARE = 0.05


@dataclass(frozen=True)
class Taken:
    """What a step did: loss terms, norm of the gradient before clipping, items, and so on."""

    losses: dict[str, float]
    gradient_norm: float
    items: int
    positives: float
    waited: float

    def note(self, speed: float) -> str:
        """Return the line beside the progress bar."""
        terms = "  ".join(f"{name} {value:.2f}" for name, value in self.losses.items())
        return f"{terms}  gradient {self.gradient_norm:.2f}  {speed:.0f} items/s"


@dataclass(frozen=True)
class Validation:
    """The score, and how the vectors are spread; no spread where there are fewer than two."""

    score: float
    uniformity: float | None = None
    effective_rank: float | None = None
    rank_limit: int = 0


def spread(score: float, vectors: Float[Tensor, "items dim"]) -> Validation:
    """Measure the spread of vectors; those of missing modalities, all zero, do not count."""
    there = vectors[vectors.any(1)]
    if len(there) < 2:
        return Validation(score)
    return Validation(score, uniformity(there), effective_rank(there), min(there.shape))


def uniformity(vectors: Float[Tensor, "items dim"]) -> float:
    """Return log mean exp(-2 |x - y|^2) over pairs (Wang & Isola 2020, arXiv 2005.10242).

    >>> uniformity(torch.tensor([[1.0, 0.0], [1.0, 0.0]]))
    0.0
    >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), 3)
    -8.0
    """
    squares = torch.pdist(vectors.double()).square()
    return float((torch.logsumexp(-2 * squares, 0) - math.log(len(squares))).clamp(max=0.0))


def effective_rank(vectors: Float[Tensor, "items dim"]) -> float:
    """Return exp of the entropy of the singular values (Roy & Vetterli 2007; RankMe, 2210.02885).

    The vectors are not centred: equal ones have rank 1, whatever the rounding noise between them.

    >>> round(effective_rank(torch.eye(3)), 3)
    3.0
    """
    values = torch.linalg.svdvals(vectors.double())
    shares = values / values.sum()
    return float(torch.special.entr(shares).sum().exp())


class Watch:
    """Counts what happened since the last row."""

    def __init__(self) -> None:
        """Start now."""
        self.begun, self.items, self.waited = time.perf_counter(), 0, 0.0

    def see(self, taken: Taken) -> None:
        """Count a step."""
        self.items += taken.items
        self.waited += taken.waited

    def items_per_second(self) -> float:
        """Return how many items all processes conditioned in a second."""
        return self.items / max(time.perf_counter() - self.begun, 1e-9)

    def row(self, run: Run, taken: Taken, found: Validation) -> dict[str, Any]:
        """Return a row of metrics, and count from zero again."""
        speed = {
            "items_per_second": self.items_per_second(),
            "seconds_waiting": self.waited,
            "peak_bytes": peak_memory(),
        }
        self.__init__()
        return {
            "step": run.step,
            "losses": taken.losses,
            "scale": float(run.temperature.scale().detach()),
            "learning_rate": run.optimiser.param_groups[0]["lr"],
            "gradient_norm": taken.gradient_norm,
            "positives_per_anchor": taken.positives,
            "validation": found.score,
            "best_step": run.best_step,
            "uniformity": found.uniformity,
            "effective_rank": found.effective_rank,
            "speed": speed,
            "warnings": warnings_of(taken, found),
        }


def peak_memory() -> int:
    """Return the most bytes that this process has held at once."""
    unit = 1 if sys.platform == "darwin" else 1024
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit


def warnings_of(taken: Taken, found: Validation) -> list[str]:
    """Return what is wrong, each with what to do."""
    warnings = []
    if not math.isfinite(taken.gradient_norm):
        warnings.append("the gradient is not finite: lower training.learning_rate")
    if not taken.positives:
        warnings.append("no pool held a linked pair: raise training.pool_size or add links")
    if found.uniformity is not None and found.uniformity > LEAST_SPREAD:
        warnings.append(
            f"the vectors have collapsed to almost one (uniformity {found.uniformity:.2f}, "
            f"expected below {LEAST_SPREAD}): lower training.learning_rate and "
            "training.encoder_rate, or raise training.pool_size"
        )
    least = max(LEAST_RANK_SHARE * found.rank_limit, 2.0)
    if found.effective_rank is not None and found.effective_rank < least:
        warnings.append(
            f"the vectors use {found.effective_rank:.1f} of {found.rank_limit} directions, "
            f"expected at least {least:.0f}: lower model.dim or training.learning_rate, "
            "or raise training.pool_size"
        )
    return warnings
