"""Controls that could embarrass a model: other words for a relation, and the modality gap.

In: a model and tokens of the items asked.
Out: numbers.
This file does not know how they are written down.
"""

import numpy as np
import torch

from relatum.batch import Tokens
from relatum.model import Model
from relatum.scores import compare

TOP = 10  # neighbours compared under two texts of one relation


def modality_gap(model: Model, tokens: Tokens) -> float:
    """Return the distance between the mean image and the mean text vector, with no relation.

    Of items that have both; vectors have unit length (Liang et al., arXiv 2203.02053).
    """
    paired = tokens[tokens.image.present & tokens.text.present]
    if not len(paired):
        return float("nan")
    vectors = model.condition(paired, None)
    return float((vectors.image.mean(0) - vectors.text.mean(0)).norm())


def paraphrase_overlap(model: Model, tokens: Tokens) -> float:
    """Return the share of an item's ten nearest that stays under a paraphrase.

    Mean over items, paraphrases and relations; NaN where no relation has a paraphrase.
    """
    shares: list[float] = []
    for relation in model.relations:
        if relation.directed or not relation.paraphrases:
            continue
        own = _nearest(model, tokens, relation.text)
        for text in relation.paraphrases:
            other = _nearest(model, tokens, text)
            kept = (own.unsqueeze(2) == other.unsqueeze(1)).any(2)
            shares.append(float(kept.float().mean()))
    return float(np.mean(shares)) if shares else float("nan")


def _nearest(model: Model, tokens: Tokens, text: str) -> torch.Tensor:
    sources, targets = model.condition(tokens, text), model.condition(tokens, None)
    scores = compare(sources, targets, "both").fill_diagonal_(-2)
    return scores.topk(min(TOP, len(scores) - 1), dim=1).indices
