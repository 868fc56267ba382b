"""Items as tensors: tokens with their masks going in, vectors coming out.

In: the parts of items, modality by modality.
Out: `Tokens` and `Vectors`, which can be indexed; a missing modality is an empty mask.
This file does not know how tokens were made nor what is done with vectors.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal

import torch
from jaxtyping import Bool, Float
from torch import Tensor


@dataclass(frozen=True)
class Part:
    """One modality of a batch. Mask True means *keep*; an item without this modality has none."""

    tokens: Float[Tensor, "batch tokens hidden"]
    mask: Bool[Tensor, "batch tokens"]
    pooled: Float[Tensor, "batch pooled"]

    @property
    def present(self) -> Bool[Tensor, " batch"]:
        """Return which items have this modality."""
        return self.mask.any(1)

    def __getitem__(self, rows: Tensor | slice) -> "Part":
        """Return the part of some items."""
        return Part(self.tokens[rows], self.mask[rows], self.pooled[rows])

    def float(self) -> "Part":
        """Return the part in single precision."""
        return Part(self.tokens.float(), self.mask, self.pooled.float())

    def to(self, device: torch.device) -> "Part":
        """Return the part on a device."""
        return Part(self.tokens.to(device), self.mask.to(device), self.pooled.to(device))

    def cpu(self) -> "Part":
        """Return the part in main memory."""
        return self.to(torch.device("cpu"))

    def absent(self) -> "Part":
        """Return the part as if no item had this modality."""
        return Part(*map(torch.zeros_like, (self.tokens, self.mask, self.pooled)))

    def widen(self, count: int) -> "Part":
        """Return the part with room for `count` tokens an item."""
        return Part(_widen(self.tokens, count), _widen(self.mask, count), self.pooled)

    @classmethod
    def join(cls, parts: "Sequence[Part]") -> "Part":
        """Join batches, padding to the longest."""
        longest = max(part.mask.shape[1] for part in parts)
        return Part(
            torch.cat([_widen(part.tokens, longest) for part in parts]),
            torch.cat([_widen(part.mask, longest) for part in parts]),
            torch.cat([part.pooled for part in parts]),
        )


@dataclass(frozen=True)
class Tokens:
    """Items as the model sees them: an image part and a text part of the same length."""

    image: Part
    text: Part

    def __len__(self) -> int:
        """Return the number of items."""
        return len(self.image.mask)

    def __getitem__(self, rows: Tensor | slice) -> "Tokens":
        """Return some items, in the order asked."""
        return Tokens(self.image[rows], self.text[rows])

    @staticmethod
    def join(parts: "Sequence[Tokens]") -> "Tokens":
        """Join items."""
        images, texts = [one.image for one in parts], [one.text for one in parts]
        return Tokens(Part.join(images), Part.join(texts))

    def only(self, side: Literal["image", "text"]) -> "Tokens":
        """Return the items as if they had nothing but their images, or their texts."""
        if side == "image":
            return Tokens(self.image, self.text.absent())
        return Tokens(self.image.absent(), self.text)

    def float(self) -> "Tokens":
        """Return the tokens in single precision."""
        return Tokens(self.image.float(), self.text.float())

    def to(self, device: torch.device) -> "Tokens":
        """Return the tokens on a device."""
        return Tokens(self.image.to(device), self.text.to(device))

    def cpu(self) -> "Tokens":
        """Return the tokens in main memory."""
        return self.to(torch.device("cpu"))


@dataclass(frozen=True)
class Vectors:
    """Items under a relation, or under several, which then are the first axis: unit vectors.

    Where a modality is missing, its vector is zero; that of both together is shorter then, under
    the null relation, as less is known of what may be found.
    """

    image: Float[Tensor, "*batch dim"]
    text: Float[Tensor, "*batch dim"]
    both: Float[Tensor, "*batch dim"]

    def __getitem__(self, rows: Tensor | slice | int) -> "Vectors":
        """Return some items, in the order asked; of several relations, the items under some."""
        return Vectors(self.image[rows], self.text[rows], self.both[rows])

    def cpu(self) -> "Vectors":
        """Return the vectors in main memory."""
        return Vectors(self.image.cpu(), self.text.cpu(), self.both.cpu())

    @classmethod
    def join(cls, some: "Sequence[Vectors]") -> "Vectors":
        """Join batches."""
        return Vectors(
            torch.cat([vectors.image for vectors in some]),
            torch.cat([vectors.text for vectors in some]),
            torch.cat([vectors.both for vectors in some]),
        )


def _widen(tensor: Tensor, count: int) -> Tensor:
    gap = count - tensor.shape[1]
    if not gap:
        return tensor
    shape = (tensor.shape[0], gap, *tensor.shape[2:])
    return torch.cat([tensor, tensor.new_zeros(shape)], dim=1)
