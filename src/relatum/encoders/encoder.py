"""What every encoder gives: tokens with their mask, and one pooled vector at full width.

In: RGB pictures or texts.
Out: `Raw` outputs, differentiable where the encoder is being tuned.
This file does not know of relations, reduction or caches.
"""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Literal, Protocol, runtime_checkable

import torch
from jaxtyping import Bool, Float
from PIL import Image
from torch import Tensor, nn

Side = Literal["image", "text"]
SIDES: tuple[Side, Side] = ("image", "text")


@dataclass(frozen=True)
class Raw:
    """An encoder's output for a batch: tokens before pooling, their mask, the pooled vector."""

    tokens: Float[Tensor, "batch tokens width"]
    mask: Bool[Tensor, "batch tokens"]
    pooled: Float[Tensor, "batch pooled"]

    @classmethod
    def of_vectors(cls, vectors: Float[Tensor, "batch pooled"]) -> "Raw":
        """Let each vector stand for its only token too."""
        mask = torch.ones(len(vectors), 1, dtype=torch.bool, device=vectors.device)
        return cls(vectors[:, None], mask, vectors)

    @classmethod
    def nothing(cls, count: int) -> "Raw":
        """Return what an encoder without a tower gives: empty masks."""
        return cls(torch.zeros(count, 1, 1), torch.zeros(count, 1).bool(), torch.zeros(count, 1))


@runtime_checkable
class Encoder(Protocol):
    """A picture tower and a text tower."""

    def fingerprint(self) -> str:
        """Return 16 hex digits that change whenever an output would."""
        ...

    def encode_images(self, pictures: Sequence[Image.Image]) -> Raw:
        """Encode RGB pictures; the tokens are a square grid, row by row, or there are none."""
        ...

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        """Encode texts; the mask is True at tokens of the text itself."""
        ...

    def tower(self, side: Side) -> nn.Module | None:
        """Return the weights of a side, for tuning and saving; None where they are not known."""
        ...


def device_of(module: nn.Module) -> torch.device:
    """Return where a module's weights are, which is where its inputs go."""
    return next((weight.device for weight in module.parameters()), torch.device("cpu"))


def named_tower(module: nn.Module, side: Side) -> nn.ModuleDict:
    """Return the parts of a dual encoder that are named after one side."""
    starts = ("vision", "visual", "image") if side == "image" else ("text",)
    parts = dict(module.named_children())
    return nn.ModuleDict({name: part for name, part in parts.items() if name.startswith(starts)})


def weights_fingerprint(module: nn.Module, settings: str) -> str:
    """Name weights and settings by their content: 16 hex digits.

    Kept on the module until a weight changes in place, as hashing 100 MB takes a while.
    """
    state = module.state_dict()
    version = len(state), sum(tensor._version for tensor in state.values())
    kept = getattr(module, "_fingerprint", None)
    if kept is not None and kept[0] == version:
        return kept[1]
    digest = hashlib.blake2b(settings.encode(), digest_size=8)
    for name, tensor in sorted(module.state_dict().items()):
        digest.update(name.encode())
        digest.update(tensor.detach().cpu().contiguous().view(-1).view(torch.uint8).numpy().data)
    module._fingerprint = (version, digest.hexdigest())  # pyright: ignore
    return digest.hexdigest()


def without_specials(
    mask: Bool[Tensor, "batch tokens"], special: Bool[Tensor, "batch tokens"]
) -> Bool[Tensor, "batch tokens"]:
    """Drop special tokens from a mask, but never all tokens of a row."""
    words = mask & ~special
    return torch.where(words.any(1, keepdim=True), words, mask)


PIXEL_ART = 64  # pictures up to this many pixels a side are enlarged without blurring


def square(picture: Image.Image, side: int) -> Image.Image:
    """Lay a picture on a white square and scale it to `side` pixels."""
    longest = max(picture.size)
    if picture.width != picture.height:
        canvas = Image.new("RGB", (longest, longest), "white")
        canvas.paste(picture, ((longest - picture.width) // 2, (longest - picture.height) // 2))
        picture = canvas
    way = Image.Resampling.NEAREST if longest <= PIXEL_ART else Image.Resampling.BICUBIC
    return picture.resize((side, side), way)
