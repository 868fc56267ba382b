"""Other losses on the same pools, each as its paper has it.

In: vectors of a pool, its positives and own pairs, the temperature.
Out: `Losses`, with zeros for the terms that a loss does not have.
This file does not know how vectors were made.
"""

import torch
from jaxtyping import Bool
from torch import Tensor
from torch.nn import functional

from relatum.batch import Vectors
from relatum.loss import Losses, Temperature, contrast, contrasts

Mask = Bool[Tensor, "pool pool"]


def unicl(
    sources: Vectors, targets: Vectors, positives: Mask, own: Mask, temperature: Temperature
) -> Losses:
    """Contrast texts and images both ways; an item's own pair and all linked ones are positives.

    UniCL, arXiv 2204.03610, eqs. 2 to 4: a label is an item's links in the pool.
    """
    wanted = positives | torch.eye(len(positives), dtype=torch.bool, device=positives.device)
    return _across(sources, targets, wanted, temperature)


def cirp(
    sources: Vectors, targets: Vectors, positives: Mask, own: Mask, temperature: Temperature
) -> Losses:
    """Contrast an item's image with its own text and, apart, with one linked item's text.

    CIRP (MM 2024): image-text contrast beside cross-item contrast, one related item at a time.
    """
    chance = torch.rand(positives.shape, device=positives.device).masked_fill(~positives, -1)
    one = functional.one_hot(chance.argmax(1), len(positives)).bool() & positives
    own_pairs = _across(
        sources, targets, torch.eye(len(one), dtype=torch.bool, device=one.device), temperature
    )
    related = _across(sources, targets, one, temperature)
    return Losses.mean([own_pairs, related])


def declip(
    sources: Vectors, targets: Vectors, positives: Mask, own: Mask, temperature: Temperature
) -> Losses:
    """Contrast own pairs, and images with the text nearest to their own (DeCLIP, 2110.05208)."""
    itself = torch.eye(len(own), dtype=torch.bool, device=own.device)
    with torch.no_grad():
        alike = (sources.text @ sources.text.T).masked_fill(itself, -1)
    nearest = functional.one_hot(alike.argmax(1), len(own)).bool()
    own_pairs = _across(sources, targets, itself, temperature)
    return Losses.mean([own_pairs, _across(sources, targets, nearest, temperature)])


def siglip(
    sources: Vectors, targets: Vectors, positives: Mask, own: Mask, temperature: Temperature
) -> Losses:
    """Decide each cell by itself: -log sigmoid(y * logit) (SigLIP, arXiv 2303.15343, eq. 3).

    On all the terms that relatum contrasts; summed over candidates, averaged over queries.
    """
    return contrasts(sources, targets, positives, own, temperature, each=_sigmoid)


def _sigmoid(logits: Tensor, positives: Mask, candidates: Mask) -> Tensor:
    signed = torch.where(positives, logits, -logits)
    cells = -functional.logsigmoid(signed) * candidates
    return cells.sum() / candidates.any(1).sum().clamp(min=1)


def _across(sources: Vectors, targets: Vectors, wanted: Mask, temperature: Temperature) -> Losses:
    def term(query: Tensor, candidate: Tensor) -> Tensor:
        there = query.any(1)[:, None] & candidate.any(1)
        return contrast(temperature(query @ candidate.T), wanted, there)

    zero = torch.zeros(())
    return Losses(
        text_to_image=term(sources.text, targets.image),
        image_to_text=term(sources.image, targets.text),
        text_to_text=zero,
        image_to_image=zero,
        both=zero,
    )
