"""A model of sentence-transformers: a text encoder, or one for texts and pictures.

In: a folder with `modules.json`; texts, and pictures where the model takes them.
Out: word-piece states and the vector after all modules, as `SentenceTransformer.encode` gives it.
"""

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from PIL import Image
from torch import Tensor, nn
from transformers import AutoModel

from relatum.encoders.dual import check_complete, check_tokenizer
from relatum.encoders.encoder import Raw, Side, named_tower, weights_fingerprint, without_specials
from relatum.errors import EncoderError


class Sentences(nn.Module):
    """All modules of one folder."""

    def __init__(self, folder: Path) -> None:
        """Load the folder; `EncoderError` without the package and for missing weights."""
        super().__init__()
        try:
            from sentence_transformers import SentenceTransformer
        except ImportError as error:
            what, fix = "it needs sentence-transformers", "pip install 'relatum[encoders]'"
            raise EncoderError(what, fix=fix) from error
        options: dict[str, Any] = {"local_files_only": True, "trust_remote_code": False}
        options["model_kwargs"] = {"use_safetensors": True}
        self.model = SentenceTransformer(str(folder), device="cpu", **options)
        self.inner: Any = self.model.transformers_model
        self.has_images = self.model.supports("image")
        if self.inner is not None:
            _check_weights(self.inner)
            if hasattr(self.inner.config, "vocab_size"):
                check_tokenizer(self.model.tokenizer, self.inner.config.vocab_size)
        self.eval()

    def fingerprint(self) -> str:
        """Return the name of the weights and of what is done with texts."""
        parts = [
            (type(part).__name__, getattr(part, "get_config_dict", dict)()) for part in self.model
        ]
        return weights_fingerprint(self.model, f"sentences {parts} {self._prompt()}")

    def tower(self, side: Side) -> nn.Module:
        """Return the weights of a side: all of them are the text's where there are no pictures."""
        if self.has_images:
            return named_tower(self.inner, side)
        return self.model if side == "text" else nn.ModuleDict()

    def encode_images(self, pictures: Sequence[Image.Image]) -> Raw:
        """Encode pictures to one vector each, or to nothing where the model takes only texts."""
        if not self.has_images:
            return Raw.nothing(len(pictures))
        return Raw.of_vectors(self._run(list(pictures))["sentence_embedding"])

    def encode_texts(self, texts: Sequence[str]) -> Raw:
        """Encode texts; a model that keeps no word-piece states gives the vector as one token."""
        found = self._run(list(texts), prompt=self._prompt())
        pooled, states = found["sentence_embedding"], found.get("token_embeddings")
        if states is None or "input_ids" not in found:
            return Raw.of_vectors(pooled)
        tokenizer = self.model.tokenizer
        names = [id for id in tokenizer.all_special_ids if id != tokenizer.unk_token_id]
        special = torch.isin(found["input_ids"], found["input_ids"].new_tensor(names))
        return Raw(states, without_specials(found["attention_mask"].bool(), special), pooled)

    def _prompt(self) -> str | None:
        return self.model.prompts.get(self.model.default_prompt_name or "")

    def _run(self, inputs: list[Any], prompt: str | None = None) -> dict[str, Tensor]:
        features = self.model.preprocess(inputs, prompt=prompt)
        where = self.model.device
        features = {k: v.to(where) if isinstance(v, Tensor) else v for k, v in features.items()}
        return {**features, **self.model(features)}


def _check_weights(model: Any) -> None:  # noqa: ANN401
    """Refuse weights that were drawn at random; a pooler that no module uses is taken off."""
    _, found = AutoModel.from_pretrained(
        model.config._name_or_path, use_safetensors=True, output_loading_info=True
    )
    missing = set(found["missing_keys"])
    if missing and all(name.startswith("pooler.") for name in missing):
        model.pooler = None
    else:
        check_complete(missing)
