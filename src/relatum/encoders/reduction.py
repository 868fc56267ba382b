"""Make raw encoder outputs small enough to keep: pool tokens, project them to fewer dimensions.

In: `Raw` outputs; projections fitted by principal components on items of the training split.
Out: a fixed number of tokens of a fixed width with their mask, and the pooled vector as it is.
This file does not know of files or items.
"""

import hashlib
import math
from collections.abc import Mapping
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float
from torch import Tensor
from torch.nn import functional

from relatum.batch import Part
from relatum.config import TokensConfig
from relatum.encoders.encoder import Raw


@dataclass(frozen=True)
class Projection:
    """An orthonormal basis of the directions in which tokens differ most."""

    mean: Float[Tensor, " width"]
    basis: Float[Tensor, "width hidden"]

    def __call__(self, tokens: Float[Tensor, "*any width"]) -> Float[Tensor, "*any hidden"]:
        """Project tokens."""
        return (tokens - self.mean.to(tokens.device)) @ self.basis.to(tokens.device)


def fit_projection(tokens: Float[Tensor, "count width"], hidden: int) -> Projection:
    """Fit principal components; a width of at most `hidden` keeps all directions."""
    tokens = tokens.double()
    mean = tokens.mean(0)
    moved = tokens - mean
    _, vectors = torch.linalg.eigh(moved.T @ moved)  # ascending
    kept = min(hidden, tokens.shape[1])
    return Projection(mean.float(), vectors[:, -kept:].flip(1).float().contiguous())


@dataclass(frozen=True)
class Reduction:
    """How raw outputs become the tokens that the cache keeps."""

    image: Projection
    text: Projection
    image_side: int
    text_tokens: int

    @classmethod
    def unfitted(cls, image: Raw, text: Raw, config: TokensConfig) -> "Reduction":
        """Keep the first directions as they are: what serves a modality that no item has yet."""
        first = []
        for raw in (image, text):
            width = raw.tokens.shape[2]
            basis = torch.eye(width)[:, : min(width, config.hidden)].contiguous()
            first.append(Projection(torch.zeros(width), basis))
        return cls(first[0], first[1], config.image_side, config.text_tokens)

    def fitted(self, image: Raw | None, text: Raw | None, config: TokensConfig) -> "Reduction":
        """Fit the projections of the modalities that are given, on pooled raw outputs."""
        found = [self.image, self.text]
        for index, raw in enumerate((image, text)):
            if raw is not None:
                found[index] = fit_projection(raw.tokens[raw.mask], config.hidden)
        return Reduction(found[0], found[1], self.image_side, self.text_tokens)

    def image_part(self, raw: Raw) -> Part:
        """Pool a square grid to `image_side` squared tokens and project them."""
        return _part(pool_grid(raw, self.image_side), self.image)

    def text_part(self, raw: Raw) -> Part:
        """Keep the words of a short text, pool neighbours in a long one, and project them."""
        return _part(pool_words(raw, self.text_tokens), self.text)

    def tensors(self) -> dict[str, Tensor]:
        """Return what is fitted, for saving."""
        return {
            "image.mean": self.image.mean,
            "image.basis": self.image.basis,
            "text.mean": self.text.mean,
            "text.basis": self.text.basis,
        }

    @classmethod
    def from_tensors(
        cls, tensors: Mapping[str, Tensor], image_side: int, text_tokens: int
    ) -> "Reduction":
        """Rebuild what `tensors` returned."""
        image = Projection(tensors["image.mean"], tensors["image.basis"])
        text = Projection(tensors["text.mean"], tensors["text.basis"])
        return cls(image, text, image_side, text_tokens)

    @property
    def fingerprint(self) -> str:
        """Name the reduction by its content: 16 hex digits."""
        settings = f"{self.image_side} {self.text_tokens}"
        digest = hashlib.blake2b(settings.encode(), digest_size=8)
        for tensor in self.tensors().values():
            digest.update(tensor.contiguous().numpy().tobytes())
        return digest.hexdigest()


def pool_grid(raw: Raw, side: int) -> Raw:
    """Average a square grid of tokens down to `side` by `side`; a smaller grid stays."""
    count = raw.tokens.shape[1]
    old = math.isqrt(count)
    if old <= side or old * old != count:
        return raw
    grid = raw.tokens.transpose(1, 2).unflatten(2, (old, old))
    tokens = functional.adaptive_avg_pool2d(grid, side).flatten(2).transpose(1, 2)
    mask = torch.ones(tokens.shape[:2], dtype=torch.bool, device=tokens.device)
    return Raw(tokens, mask, raw.pooled)


def pool_words(raw: Raw, limit: int) -> Raw:
    """Bring the words of each text to the front; where there are more than `limit`, pool them."""
    rows: list[Tensor] = []
    for states, mask in zip(raw.tokens, raw.mask, strict=True):
        words = states[mask]
        if len(words) > limit:
            words = functional.adaptive_avg_pool1d(words.T, limit).T
        rows.append(words)
    tokens = torch.nn.utils.rnn.pad_sequence(rows, batch_first=True)
    lengths = torch.tensor([len(words) for words in rows], device=tokens.device)
    mask = torch.arange(tokens.shape[1], device=tokens.device) < lengths[:, None]
    return Raw(tokens, mask, raw.pooled)


def _part(raw: Raw, projection: Projection) -> Part:
    mask: Bool[Tensor, "batch tokens"] = raw.mask
    return Part(projection(raw.tokens) * mask.unsqueeze(-1), mask, raw.pooled)
