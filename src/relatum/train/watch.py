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

# Even on a sphere is -4, equal 0; furniture ends at -2.4. At -0.5 the typical cosine is 0.87.
LEAST_SPREAD = -0.5
UNASKED = (
    "no validation item can be asked about, as too few are linked: nothing says when to stop, "
    "and all steps are taken; raise split.validation_items"
)
# Of the min(n, d) directions that n vectors can use, furniture's 79 use 58.
LEAST_RANK_SHARE = 0.05


@dataclass(frozen=True)
class Taken:
    """What a step did: loss terms, norm of the gradient before clipping, items, and so on."""

    losses: dict[str, float]
    gradient_norm: float
    items: int
    positives: float
    waited: float


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

    >>> round(uniformity(torch.tensor([[1.0, 0.0], [-1.0, 0.0]])), 3)
    -8.0
    """
    squares = torch.pdist(vectors.double()).square()
    return float((torch.logsumexp(-2 * squares, 0) - math.log(len(squares))).clamp(max=0.0))


def effective_rank(vectors: Float[Tensor, "items dim"]) -> float:
    """Return exp of the entropy of singular values (RankMe, arXiv 2210.02885), not centred.

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
        self._begin()

    def _begin(self) -> None:
        self.begun, self.items, self.waited = time.perf_counter(), 0, 0.0

    def see(self, taken: Taken) -> str:
        """Count a step; return the note beside the progress bar."""
        self.items, self.waited = self.items + taken.items, self.waited + taken.waited
        terms = "  ".join(f"{name} {value:.2f}" for name, value in taken.losses.items())
        return f"{terms}  gradient {taken.gradient_norm:.2f}  {self.speed():.0f} items/s"

    def speed(self) -> float:
        """Return how many items all processes conditioned in a second."""
        return self.items / max(time.perf_counter() - self.begun, 1e-9)

    def row(self, run: Run, taken: Taken, found: Validation) -> dict[str, Any]:
        """Return a row of metrics, and count from zero again."""
        unit = 1 if sys.platform == "darwin" else 1024
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit
        speed = {"items_per_second": self.speed(), "seconds_waiting": self.waited}
        self._begin()
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
            "speed": speed | {"peak_bytes": peak},
            "warnings": [*([] if run.questions else [UNASKED]), *warnings_of(taken, found)],
        }


def warnings_of(taken: Taken, found: Validation) -> list[str]:
    """Return what is wrong, each with what to do."""
    slower = "lower training.learning_rate or raise training.pool_size"
    warnings: list[str] = []
    if not math.isfinite(taken.gradient_norm):
        warnings.append("the gradient is not finite: lower training.learning_rate")
    if found.uniformity is not None and found.uniformity > LEAST_SPREAD:
        what = f"uniformity {found.uniformity:.2f}, expected below {LEAST_SPREAD}"
        warnings.append(f"the vectors have collapsed to almost one ({what}): {slower}")
    least = max(LEAST_RANK_SHARE * found.rank_limit, 2.0)  # below 2: one direction and noise
    if found.effective_rank is not None and found.effective_rank < least:
        what = f"the vectors use {found.effective_rank:.1f} of {found.rank_limit} directions"
        warnings.append(f"{what}, expected at least {least:.0f}: {slower}, or lower model.dim")
    return warnings
