"""Rivals that train nothing: the encoders' own vectors, put to use in several ways.

In: items, an encoder, texts to learn words from.
Out: `Contestant`s.
This file does not know of links.
"""

import re
from collections import Counter
from collections.abc import Callable, Sequence
from dataclasses import replace

import torch
from sklearn.feature_extraction.text import TfidfVectorizer
from torch import Tensor
from torch.nn import functional

from relatum.batch import Part, Tokens, Vectors
from relatum.catalogue import Direction
from relatum.encoders import encode_texts
from relatum.items import Item
from relatum.model import Model
from relatum.protocols.contestant import Contestant, Participants
from relatum.scores import Way

WORDS = 64  # of a relation's basis
Change = Callable[[Tensor, Participants, Direction | None], Tensor]
WAYS: tuple[Way, ...] = ("TT", "II", "both")


def frozen() -> Contestant:
    """Return the encoders' vectors as they come."""
    return replace(_from_text("frozen", lambda text, asked, direction: text), is_blind=True)


def concatenated(encode: Callable[[Sequence[Item]], Tokens]) -> Contestant:
    """Encode each text with the relation's text after it: the paper's baseline."""

    def change(text: Tensor, asked: Participants, direction: Direction | None) -> Tensor:
        if direction is None:
            return text
        told = [f"{item.text or ''} {direction.text}" for item in asked.items]
        return encode([Item(words, words, None) for words in told]).text.pooled.float()

    return _from_text("frozen, relation appended", change)


def product(model: Model) -> Contestant:
    """Score (a . r) * (b . r) dimension by dimension, as a reviewer of the paper proposed."""

    def change(text: Tensor, asked: Participants, direction: Direction | None) -> Tensor:
        return text if direction is None else text * _encoded(model, direction.text)

    return _from_text("frozen product", change)


def word_basis(model: Model, texts: Sequence[str | None]) -> Contestant:
    """Describe an item by its cosines with the words nearest to the relation (CRL, NeurIPS 2025).

    There a language model writes the words; here they are the `WORDS` nearest of those in `texts`.
    """
    counts = Counter(w for text in texts for w in set(re.findall(r"[^\W\d_]{3,}", text or "")))
    words = sorted(word for word, count in counts.items() if count > 1)[:5000] or ["thing"]
    basis = functional.normalize(encode_texts(words, model.encoder, model.reduction).pooled, dim=-1)

    def change(text: Tensor, asked: Participants, direction: Direction | None) -> Tensor:
        if direction is None:
            return text
        near = (basis @ _encoded(model, direction.text)).topk(min(WORDS, len(basis))).indices
        seen = functional.normalize(text, dim=-1) @ basis[near].T
        return seen - seen.mean(0)

    return _from_text("frozen word basis", change)


def tfidf(texts: Sequence[str | None]) -> Contestant:
    """Compare texts by their words: TF-IDF fitted on `texts`."""
    words = TfidfVectorizer(sublinear_tf=True, token_pattern=r"[^\W\d_]{2,}")
    words.fit([text or "" for text in texts])

    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        matrix = words.transform([item.text or "" for item in asked.items])
        text = torch.from_numpy(matrix.toarray()).float()  # type: ignore[union-attr]
        made = Vectors(torch.zeros_like(text), text, text)
        return made, made

    return Contestant("TF-IDF", vectors, ("TT",), is_blind=True)


def with_words(blind: Contestant, model: Model) -> Contestant:
    """Add to a relation-blind score the frozen cosine of the relation's text and the candidate's.

    What reading the relation's words gives without any training for it.
    """

    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        sources, targets = blind.vectors(asked, None)
        texts = _units(asked.tokens.text, asked.tokens.text.pooled.float())
        words = torch.zeros_like(texts)
        if direction is not None:
            words = words + _encoded(model, direction.text)
        return _joined(sources, words), _joined(targets, texts)

    return Contestant(f"{blind.name} + words", vectors, ("both",))


def _joined(vectors: Vectors, more: Tensor) -> Vectors:
    """Put `more` beside each vector, so that scores add up."""
    return Vectors(
        *(torch.cat([one, more], dim=1) for one in (vectors.image, vectors.text, vectors.both))
    )


def texts_of(items: Sequence[Item]) -> list[str | None]:
    """Return the items' texts."""
    return [item.text for item in items]


def _encoded(model: Model, text: str) -> Tensor:
    part = model.relation_part(text)
    assert part is not None
    return functional.normalize(part.pooled.float()[0], dim=-1)


def _from_text(name: str, change: Change) -> Contestant:
    """Put text and image side by side in one vector, so that `both` weighs them equally."""

    def vectors(asked: Participants, direction: Direction | None) -> tuple[Vectors, Vectors]:
        text = _units(asked.tokens.text, change(asked.tokens.text.pooled.float(), asked, direction))
        image = _units(asked.tokens.image, asked.tokens.image.pooled.float())
        text, image = (
            functional.pad(text, (0, image.shape[1])),
            functional.pad(image, (text.shape[1], 0)),
        )
        made = Vectors(image, text, functional.normalize(text + image, dim=-1))
        return made, made

    return Contestant(name, vectors, WAYS)


def _units(part: Part, vectors: Tensor) -> Tensor:
    return functional.normalize(vectors, dim=-1) * part.present.unsqueeze(-1)
