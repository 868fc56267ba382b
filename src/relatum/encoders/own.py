"""A user's own encoder.

In: an object with `encode_images` and `encode_texts`.
Out: an `Encoder`. This file does not know what the object does.
"""

import hashlib
from collections.abc import Sequence
from typing import Any

import torch
from PIL import Image
from torch import nn

from relatum.encoders.encoder import Raw, Side, weights_fingerprint
from relatum.errors import EncoderError

OWN = "own"  # what settings call an encoder that was given as an object


class Own:
    """What two methods do not say: outputs as `Raw`, a fingerprint, the towers."""

    def __init__(self, given: Any) -> None:  # noqa: ANN401
        """Wrap the object; `EncoderError` where a method is missing."""
        for name in ("encode_images", "encode_texts"):
            if not callable(getattr(given, name, None)):
                what = f"the encoder {type(given).__name__} has no method {name}"
                raise EncoderError(what, fix="give it encode_images and encode_texts")
        self.given, self.name = given, ""

    def fingerprint(self) -> str:
        """Return the object's own, the name of its weights, or that of two fixed outputs."""
        if hasattr(self.given, "fingerprint"):
            return self.given.fingerprint()
        if isinstance(self.given, nn.Module) and self.given.state_dict():
            return weights_fingerprint(self.given, type(self.given).__qualname__)
        self.name = self.name or self._name_of_outputs()
        return self.name

    def tower(self, side: Side) -> nn.Module | None:
        """Return the attribute `image_tower` or `text_tower`."""
        return getattr(self.given, f"{side}_tower", None)

    def encode_images(self, pictures: Sequence[Image.Image]) -> Raw:
        """Encode pictures as the object does."""
        return _raw(self.given.encode_images(pictures))

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        """Encode texts as the object does."""
        return _raw(self.given.encode_texts(texts))

    @torch.no_grad()
    def _name_of_outputs(self) -> str:
        picture = Image.linear_gradient("L").convert("RGB")
        digest = hashlib.blake2b(type(self.given).__qualname__.encode(), digest_size=8)
        for raw in (self.encode_images([picture]), self.encode_texts(["a red lamp on a table"])):
            digest.update(raw.tokens.cpu().numpy().tobytes() + raw.pooled.cpu().numpy().tobytes())
        return digest.hexdigest()


def _raw(output: Any) -> Raw:  # noqa: ANN401
    """Take a `Raw`, or vectors as a tensor or an array."""
    if isinstance(output, Raw):
        return output
    vectors = torch.as_tensor(output).float()
    if vectors.ndim != 2:
        what = f"the encoder gave a shape of {tuple(vectors.shape)}, expected (batch, width)"
        raise EncoderError(what, fix="return vectors, or relatum.encoders.Raw with tokens")
    return Raw.of_vectors(vectors)
