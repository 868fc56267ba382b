"""A model as MTEB and MIEB call one: the encoder protocol of mteb 2.

In: batches of texts, pictures or both.
Out: a vector an input: queries under the relation, documents under none, as in a search.
"""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import numpy as np
from torch import Tensor

from relatum.errors import RelatumError
from relatum.export.hub import from_pretrained
from relatum.export.vectors import embed_inputs
from relatum.model import Model

Array = np.ndarray | Tensor


class MtebEncoder:
    """`mteb.evaluate(MtebEncoder(model, relation="share a topic"), tasks)`, on the CPU."""

    def __init__(
        self, model_name: Model | str, revision: str | None = None, **options: str | None
    ) -> None:
        """Take a model, its folder or its hub id, and perhaps `relation=`."""
        loaded = isinstance(model_name, Model)
        self.model = model_name if loaded else from_pretrained(model_name, revision=revision)
        self.name = "relatum/model" if loaded else model_name
        self.relation = options.get("relation")

    def encode(
        self,
        inputs: Iterable[Mapping[str, Sequence[Any]]],
        *,
        prompt_type: object = None,
        **_: object,
    ) -> np.ndarray:
        """Return the vectors; a `prompt_type` of document asks for what may be found."""
        is_document = getattr(prompt_type, "value", prompt_type) == "document"
        relation, found = None if is_document else self.relation, []
        for batch in inputs:
            sides = {side: batch[side] for side in ("text", "image") if side in batch}
            rows = [dict(zip(sides, row, strict=True)) for row in zip(*sides.values(), strict=True)]
            found.append(embed_inputs(self.model, rows, relation).numpy())
        return np.concatenate(found)

    def similarity(self, embeddings1: Array, embeddings2: Array) -> np.ndarray:
        """Return all inner products."""
        return np.atleast_2d(embeddings1) @ np.atleast_2d(embeddings2).T

    def similarity_pairwise(self, embeddings1: Array, embeddings2: Array) -> np.ndarray:
        """Return the inner product of each pair."""
        return (np.asarray(embeddings1) * np.asarray(embeddings2)).sum(-1)

    @property
    def mteb_model_meta(self) -> Any:  # noqa: ANN401 - mteb is not a dependency
        """Return what mteb writes beside the results."""
        try:
            from mteb.models.model_meta import ModelMeta  # pyright: ignore
        except ModuleNotFoundError as error:
            raise RelatumError(f"expected the package {error.name}", fix="install mteb") from error
        facts = {"name": self.name, "revision": self.model.fingerprint, "framework": ["PyTorch"]}
        facts |= {"embed_dim": self.model.config.model.dim, "similarity_fn_name": "dot"}
        facts |= {"modalities": ["text", "image"], "experiment_kwargs": {"relation": self.relation}}
        missing = (name for name, one in ModelMeta.model_fields.items() if one.is_required())
        return ModelMeta(**(dict.fromkeys(missing) | facts))
