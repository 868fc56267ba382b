"""What carried a match: each word, and each region of the picture, is hidden in turn.

In: an item, the scores that its variants get.
Out: how much of the score is lost without a region, a word, a modality.
This file knows the model only as what encodes: it works for any conditioner.
"""

import math
import re
from dataclasses import dataclass
from itertools import pairwise, product

import torch
from jaxtyping import Float
from PIL import Image
from torch import Tensor

from relatum.batch import Part, Tokens
from relatum.encoders import blank_tokens, takes_pictures
from relatum.encoders.encoder import square
from relatum.items import Item, read_image
from relatum.model import Model
from relatum.store.query import Attribution

GRID = 4  # regions a side
MOST = 40  # slices of a text at most
GREY = (128, 128, 128)


@dataclass(frozen=True)
class Variants:
    """An item as it is, without its picture, without its text, then with each part hidden."""

    tokens: Tokens
    words: tuple[str, ...]
    has_image: bool
    has_text: bool

    def attribution(self, scores: Float[Tensor, " variants"]) -> Attribution:
        """Return what each part carries, by the variants' scores."""
        lost = (scores[0] - scores).tolist()
        cells, words = lost[3 : 3 + GRID**2], lost[3 + GRID**2 :]
        grid = tuple(tuple(cells[row * GRID :][:GRID]) for row in range(GRID))
        return Attribution(
            grid if self.has_image else None,
            tuple(zip(self.words, words, strict=True)) if self.has_text else None,
            lost[1] if self.has_image else None,
            lost[2] if self.has_text else None,
        )


@torch.no_grad()
def variants(model: Model, item: Item) -> Variants:
    """Encode an item with each of its parts hidden in turn: every picture and text once."""
    text, encoder, reduction = (item.text or "").strip(), model.encoder, model.reduction
    words, texts = _without_words(text)
    seen = item.image is not None and takes_pictures(encoder)
    pictures = _without_cells(read_image(item)) if seen else []
    blank = blank_tokens(encoder, reduction)
    image = reduction.image_part(encoder.encode_images(pictures)).cpu() if pictures else None
    said = reduction.text_part(encoder.encode_texts(texts)).cpu() if text else None
    cells = range(1, GRID**2 + 1) if pictures else [0] * GRID**2
    slices = range(1, len(words) + 1) if len(words) > 1 else [-1] * len(words)
    image_rows = [0, -1, 0, *cells, *[0] * len(words)]
    text_rows = [0, 0, -1, *[0] * GRID**2, *slices]
    tokens = Tokens(
        _then_none(image, blank.image)[torch.tensor(image_rows)],
        _then_none(said, blank.text)[torch.tensor(text_rows)],
    )
    return Variants(tokens, words, bool(pictures), bool(text))


def _then_none(part: Part | None, blank: Part) -> Part:
    """Append an item that lacks the modality."""
    none = blank.float().absent()
    return none if part is None else Part.join([part.float(), none])


def _without_words(text: str) -> tuple[tuple[str, ...], list[str]]:
    """Return the words, some at a time if they are many; the text, and it without each of them.

    >>> _without_words("a red  ball")
    (('a', 'red', 'ball'), ['a red  ball', ' red  ball', 'a   ball', 'a red  '])
    """
    spans = [found.span() for found in re.finditer(r"\S+", text)]
    step = math.ceil(len(spans) / MOST) or 1
    parts = [spans[start : start + step] for start in range(0, len(spans), step)]
    ends = [(some[0][0], some[-1][1]) for some in parts]
    texts = [text, *(text[:first] + text[last:] for first, last in ends)]
    return tuple(text[first:last] for first, last in ends), texts if len(ends) > 1 else [text]


def _without_cells(picture: Image.Image) -> list[Image.Image]:
    """Return a picture as a square, and it with each cell of a grid in grey."""
    side = max(*picture.size, GRID)
    whole, pictures = square(picture, side), []
    edges = [round(side * step / GRID) for step in range(GRID + 1)]
    for (top, bottom), (left, right) in product(pairwise(edges), repeat=2):
        hidden = whole.copy()
        hidden.paste(GREY, (left, top, right, bottom))
        pictures.append(hidden)
    return [whole, *pictures]
