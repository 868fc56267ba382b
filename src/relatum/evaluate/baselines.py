"""What a conditioned model is compared with, as methods that answer the same questions.

In: tokens of the items asked, a model, the directions asked.
Out: `Method`s: the encoders as they come, and the model under a text that is not the right one.
This file does not know the questions nor how answers are counted.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import numpy as np
from jaxtyping import Float
from torch import Tensor
from torch.nn import functional

from relatum.batch import Part, Tokens
from relatum.catalogue import Direction
from relatum.model import Model
from relatum.protocols.retrieval import Method, Scores
from relatum.scores import Way, compare

FROZEN: dict[str, str] = {"TT": "frozen text", "II": "frozen image", "both": "frozen both"}


def frozen_method(tokens: Tokens) -> Method:
    """Score by the encoders' own vectors, whatever the relation: TT by text, II by image.

    `both` is the mean of the two cosines; where only one of them exists, that one.
    """
    count = (_pairs(tokens.text) + _pairs(tokens.image)).clamp(min=1)

    def score(direction: Direction) -> Scores:
        text, image = _cosines(tokens.text), _cosines(tokens.image)
        both = (text + image) / count
        return {"TT": text.numpy(), "II": image.numpy(), "both": both.numpy()}

    return score


def _cosines(part: Part) -> Float[Tensor, "items items"]:
    vectors = functional.normalize(part.pooled.float(), dim=-1) * part.present[:, None]
    return vectors @ vectors.T


def _pairs(part: Part) -> Float[Tensor, "items items"]:
    present = part.present.float()
    return present[:, None] * present


def constant_method(
    model: Model, tokens: Tokens, ways: Sequence[Way] = ("both",), text: str | None = None
) -> Method:
    """Score by a model under one text (None: the null relation), whatever the relation asked."""
    sources, targets = model.condition(tokens, text), model.condition(tokens, None)

    def score(direction: Direction) -> Scores:
        return {way: compare(sources, targets, way).numpy() for way in ways}

    return score


def alone_method(model: Model, tokens: Tokens) -> Method:
    """Find whole items by the text (`T`) or the picture (`I`) of a source alone.

    As a search with words or a photo of one's own does. A way that no item can ask is left out.
    """
    shown = {"T": tokens.only("text")} if tokens.text.mask.any() else {}
    if tokens.image.mask.any():
        shown["I"] = tokens.only("image")
    targets = model.condition(tokens, None).both

    def score(direction: Direction) -> Scores:
        told = direction.text if model.config.model.conditioned else None
        return {
            way: (model.condition(some, told).both @ targets.T).numpy()
            for way, some in shown.items()
        }

    return score


def all_ways(*methods: Method) -> Method:
    """Answer in the ways of several methods."""

    def score(direction: Direction) -> Scores:
        return {way: one for method in methods for way, one in method(direction).items()}

    return score


def shuffled_method(method: Method, asked: Sequence[Direction], seed: int = 0) -> Method:
    """Answer each direction by what `method` gives for another; at least two are needed."""
    texts = wrong_directions(asked, seed)

    def score(direction: Direction) -> Scores:
        return method(texts[direction])

    return score


def wrong_directions(asked: Sequence[Direction], seed: int = 0) -> Mapping[Direction, Direction]:
    """Give every direction the texts of another one, each used once.

    >>> one, other = Direction("a", "are red", "are red"), Direction("b", "are big", "are big")
    >>> wrong_directions([one, other])[one].text
    'are big'
    """
    if len(asked) < 2:
        raise ValueError(f"expected at least 2 directions to shuffle, got {len(asked)}")
    order = np.random.default_rng(seed).permutation(len(asked))
    turned = np.roll(order, 1)
    return {
        asked[here]: replace(asked[here], text=asked[there].text, inverse=asked[there].inverse)
        for here, there in zip(order, turned, strict=True)
    }
