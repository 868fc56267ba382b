"""The contrasts that train the model.

In: vectors of a pool under one relation, from both ends, and the positives mask.
Out: `Losses`, a record of named terms.
This room does not know how vectors or positives came about.
"""

from collections.abc import Callable
from dataclasses import dataclass, fields

import torch
from jaxtyping import Bool, Float
from torch import Tensor

from relatum.batch import Vectors
from relatum.config import LossConfig


@dataclass(frozen=True)
class Losses:
    """The terms of the loss, before weighting; a term that does not apply is zero."""

    text_to_image: Float[Tensor, ""]
    image_to_text: Float[Tensor, ""]
    text_to_text: Float[Tensor, ""]
    image_to_image: Float[Tensor, ""]
    both: Float[Tensor, ""]

    def total(self, config: LossConfig) -> Float[Tensor, ""]:
        """Return the weighted sum that is minimised."""
        across = self.text_to_image + self.image_to_text
        within = self.text_to_text + self.image_to_image
        weights = (config.across, config.within if config.intra_modal else 0.0, config.both)
        return weights[0] * across + weights[1] * within + weights[2] * self.both

    @classmethod
    def mean(cls, some: "list[Losses]") -> "Losses":
        """Average the terms over pools."""
        names = [term.name for term in fields(cls)]
        return cls(*(torch.stack([getattr(one, name) for one in some]).mean() for name in names))

    def numbers(self) -> dict[str, float]:
        """Return the terms as plain numbers."""
        return {term.name: float(getattr(self, term.name).detach()) for term in fields(self)}


def contrast(
    logits: Float[Tensor, "queries candidates"],
    positives: Bool[Tensor, "queries candidates"],
    candidates: Bool[Tensor, "queries candidates"],
) -> Float[Tensor, ""]:
    """Multi-positive softmax: mean over queries of the mean over positives of -log softmax.

    Queries without a positive do not count; cells that are not candidates take no part. This is
    SupCon (arXiv 2004.11362, eq. 2), L_out, with the mask given from outside.
    """
    positives = positives & candidates
    lowest = torch.finfo(logits.dtype).min
    log_share = torch.log_softmax(logits.masked_fill(~candidates, lowest), dim=1)
    count = positives.sum(1)
    per_query = -(log_share.masked_fill(~positives, 0.0)).sum(1) / count.clamp(min=1)
    used = count > 0
    return (per_query * used).sum() / used.sum().clamp(min=1)


def contrasts(
    sources: Vectors,
    targets: Vectors,
    positives: Bool[Tensor, "pool pool"],
    own_pairs: Bool[Tensor, "pool pool"],
    temperature: "Temperature",
    each: Callable[[Tensor, Tensor, Tensor], Tensor] = contrast,
) -> Losses:
    """Return all terms for a pool: `sources` are asked, `targets` are wanted.

    `each` turns logits, positives and candidates into one term.

    `own_pairs` marks the cells (an item's text, the same item's image) that count as positives
    across modalities; within a modality an item is no candidate for itself.
    """
    other = ~torch.eye(len(positives), dtype=torch.bool, device=positives.device)

    def term(query: Tensor, candidate: Tensor, wanted: Tensor, allowed: Tensor) -> Tensor:
        there = query.any(1)[:, None] & candidate.any(1)
        return each(temperature(query @ candidate.T), wanted, there & allowed)

    across = positives | own_pairs
    allowed = other | own_pairs
    return Losses(
        text_to_image=term(sources.text, targets.image, across, allowed),
        image_to_text=term(sources.image, targets.text, across, allowed),
        text_to_text=term(sources.text, targets.text, positives, other),
        image_to_image=term(sources.image, targets.image, positives, other),
        both=term(sources.both, targets.both, positives, other),
    )


class Temperature(torch.nn.Module):
    """Learned logits of cosines: exp(s) * cosine + bias, the scale capped.

    A softmax does not feel the bias, so it stays where it starts; a sigmoid does.
    """

    def __init__(self, start: float, cap: float, bias: float = 0.0) -> None:
        """Start the scale at 1 / `start`; never exceed `cap`."""
        super().__init__()
        self.log_scale = torch.nn.Parameter(-torch.log(torch.tensor(start)))
        self.bias = torch.nn.Parameter(torch.tensor(bias))
        self.cap = cap

    def scale(self) -> Float[Tensor, ""]:
        """Return what cosines are multiplied by."""
        return self.log_scale.exp().clamp(max=self.cap)

    def forward(self, cosines: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
        """Return the logits."""
        return self.scale() * cosines + self.bias
