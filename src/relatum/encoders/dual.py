"""Any CLIP- or SigLIP-like dual encoder that transformers can load.

In: a local folder or a hub id with safetensors weights; RGB pictures or texts.
Out: patch states and the picture's vector; word-piece states and the text's vector.
This file does not know one model family from another: it asks for what all of them have.
"""

import math
from collections.abc import Mapping, Sequence

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoImageProcessor, AutoModel, AutoTokenizer

from relatum.encoders.encoder import Raw, weights_fingerprint, without_specials
from relatum.errors import EncoderError


class Dual(nn.Module):
    """Both towers of one checkpoint."""

    def __init__(self, source: str) -> None:
        """Load the checkpoint; `EncoderError` names what is missing in one line."""
        super().__init__()
        self.source = source
        try:
            self.model = AutoModel.from_pretrained(source, use_safetensors=True)
            self.processor = AutoImageProcessor.from_pretrained(source)
            self.tokenizer = AutoTokenizer.from_pretrained(source)
        except (OSError, ValueError, KeyError, RuntimeError) as error:
            raise EncoderError(
                f"encoder {source!r} cannot be loaded: {' '.join(str(error).split())[:200]}",
                fix="name 'starter', or a folder or hub id with config, safetensors and tokenizer",
            ) from error
        if not hasattr(self.model, "get_image_features"):
            raise EncoderError(
                f"encoder {source!r} is a {type(self.model).__name__}, expected an image tower and "
                "a text tower",
                fix="name a CLIP or SigLIP checkpoint",
            )
        longest = getattr(self.model.config.text_config, "max_position_embeddings", 64)
        self.longest = min(int(longest), 128)
        self.eval()

    def fingerprint(self) -> str:
        """Return the name of weights and preprocessing as they are now."""
        settings = f"dual {self.longest} {self.processor.to_json_string()}"
        return weights_fingerprint(self, settings)

    def module(self) -> nn.Module:
        """Return the weights of both towers."""
        return self

    def encode_images(self, pictures: Sequence[Image.Image]) -> Raw:
        """Encode pictures; a class token is dropped from the grid."""
        pixels = self.processor(images=list(pictures), return_tensors="pt")["pixel_values"]
        states, pooled = _outputs(self.model.get_image_features(pixel_values=pixels))
        if math.isqrt(states.shape[1]) ** 2 != states.shape[1]:
            states = states[:, 1:]
        return Raw(states, torch.ones(states.shape[:2], dtype=torch.bool), pooled)

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
        )
        mask = batch["attention_mask"].bool()
        inputs = {"input_ids": batch["input_ids"]}
        if "siglip" not in self.model.config.model_type:  # SigLIP attends to its padding
            inputs["attention_mask"] = batch["attention_mask"]
        states, pooled = _outputs(self.model.get_text_features(**inputs))
        return Raw(states, without_specials(mask, batch["special_tokens_mask"].bool()), pooled)


def _outputs(output: Mapping[str, Tensor]) -> tuple[Tensor, Tensor]:
    return output["last_hidden_state"], output["pooler_output"]
