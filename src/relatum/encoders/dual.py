"""Any CLIP- or SigLIP-like dual encoder that transformers can load.

In: a folder with safetensors weights; RGB pictures or texts.
Out: patch states and the picture's vector; word-piece states and the text's vector.
This file does not know one model family from another: it asks for what all of them have.
"""

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from relatum.encoders.encoder import Raw, Side, named_tower, weights_fingerprint, without_specials
from relatum.errors import EncoderError


class Dual(nn.Module):
    """Both towers of one checkpoint."""

    def __init__(self, model: Any, processor: Any, tokenizer: Any) -> None:  # noqa: ANN401
        """Join a model of transformers with what makes its inputs."""
        super().__init__()
        self.model: Any = model
        self.processor, self.tokenizer = processor, tokenizer
        words: Any = model.config.text_config
        check_tokenizer(tokenizer, words.vocab_size)
        self.longest = min(int(getattr(words, "max_position_embeddings", 64)), 128)
        self.eval()

    @classmethod
    def load(cls, folder: Path) -> "Dual":
        """Load a folder; `EncoderError` for weights that are missing and for a single tower."""
        model, found = AutoModel.from_pretrained(
            folder, use_safetensors=True, output_loading_info=True, trust_remote_code=False
        )
        check_complete(found["missing_keys"])
        kind = model.config.model_type
        if not hasattr(model, "get_image_features") or kind == "siglip2":
            raise EncoderError(
                f"a {type(model).__name__}, expected an image tower of fixed size and a text tower",
                fix="name a CLIP, SigLIP or fixed-size SigLIP2 checkpoint",
            )
        processor = AutoImageProcessor.from_pretrained(folder, trust_remote_code=False)
        return cls(model, processor, AutoTokenizer.from_pretrained(folder, trust_remote_code=False))

    def fingerprint(self) -> str:
        """Return the name of weights and preprocessing as they are now."""
        settings = f"dual {self.longest} {self.processor.to_json_string()}"
        return weights_fingerprint(self, settings)

    def tower(self, side: Side) -> nn.Module:
        """Return the weights of a side."""
        return named_tower(self.model, side)

    def fit(self, picture: Image.Image) -> np.ndarray:
        """Make a picture what `encode_images` takes too, so that it can be done ahead of time."""
        return self.processor(images=[picture], return_tensors="pt")["pixel_values"][0].numpy()

    def encode_images(self, pictures: Sequence[Image.Image | np.ndarray]) -> Raw:
        """Encode pictures; a class token is dropped from the grid."""
        found = [one if isinstance(one, np.ndarray) else self.fit(one) for one in pictures]
        pixels = torch.from_numpy(np.stack(found)).to(self.model.device)
        states, pooled = _outputs(self.model.get_image_features(pixel_values=pixels))
        if math.isqrt(states.shape[1]) ** 2 != states.shape[1]:
            states = states[:, 1:]
        mask = torch.ones(states.shape[:2], dtype=torch.bool, device=states.device)
        return Raw(states, mask, pooled)

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        """Encode texts, padded to the full length as SigLIP was trained."""
        batch = self.tokenizer(
            list(texts),
            padding="max_length",
            truncation=True,
            max_length=self.longest,
            return_tensors="pt",
            return_attention_mask=True,
            return_special_tokens_mask=True,
        ).to(self.model.device)
        mask = batch["attention_mask"].bool()
        inputs = {"input_ids": batch["input_ids"]}
        if "siglip" not in self.model.config.model_type:  # SigLIP attends to its padding
            inputs["attention_mask"] = batch["attention_mask"]
        states, pooled = _outputs(self.model.get_text_features(**inputs))
        return Raw(states, without_specials(mask, batch["special_tokens_mask"].bool()), pooled)


def check_tokenizer(tokenizer: Any, count: int) -> None:  # noqa: ANN401
    """Refuse a tokenizer with ids beyond the embedding table of `count` rows."""
    most = max(tokenizer.get_vocab().values())
    if most >= count:
        raise EncoderError(
            f"the tokenizer has ids up to {most}, the embedding table ends at {count - 1}",
            fix="bring the tokenizer that belongs to the weights",
        )


def check_complete(missing: Sequence[str] | set[str]) -> None:
    """Refuse weights that lack some, which transformers would draw at random."""
    if missing:
        names = ", ".join(sorted(missing)[:3])
        what = f"{len(missing)} weights are missing, such as {names}"
        raise EncoderError(what, fix="bring the whole checkpoint, or correct its config.json")


def _outputs(output: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return output["last_hidden_state"], output["pooler_output"]
