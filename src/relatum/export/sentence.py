"""A model as the only module of a SentenceTransformer.

In: texts, pictures, or both as {"text": ..., "image": ...}.
Out: the model's vectors under one relation or under none, without gradients.
"""

import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from relatum.disk import write_file
from relatum.errors import RelatumError
from relatum.export.hub import export_folder, from_pretrained, write_model
from relatum.export.vectors import embed_inputs
from relatum.model import Model

try:
    from sentence_transformers.base.modules import InputModule
except ModuleNotFoundError as error:
    fix = "pip install 'relatum[encoders]'"
    raise RelatumError(f"this export needs the package {error.name}", fix=fix) from error

SETTINGS = "relatum-sentence.json"
ST_SETTINGS = "config_sentence_transformers.json"  # a name that the library looks for


class RelatumModule(InputModule):
    """`relation=None` is the null relation."""

    modalities: Any = ["text", "image", ("image", "text")]

    def __init__(self, model: Model, relation: str | None = None) -> None:
        """Take a model."""
        super().__init__()
        self.model, self.relation = model, relation

    def get_embedding_dimension(self) -> int:
        """Return the width of a vector."""
        return self.model.config.model.dim

    def preprocess(self, inputs: Sequence[Any], prompt: str | None = None, **_: object) -> dict:
        """Keep the inputs as they are; a prompt goes before their texts."""
        return {"inputs": list(inputs), "prompt": prompt or ""}

    def forward(self, features: dict[str, Any], **_: object) -> dict[str, Any]:
        """Add the vectors."""
        given = features["inputs"], self.relation, features["prompt"]
        return features | {"sentence_embedding": embed_inputs(self.model, *given)}

    def save(self, output_path: str, *_: object, **__: object) -> None:
        """Write the model and the relation."""
        write_model(self.model, Path(output_path))
        write_file(Path(output_path) / SETTINGS, json.dumps({"relation": self.relation}).encode())

    @classmethod
    def load(cls, model_name_or_path: str, **options: Any) -> "RelatumModule":  # noqa: ANN401  # pyright: ignore
        """Load from a folder or a hub id."""
        facts = cls.load_config(model_name_or_path, config_filename=SETTINGS)
        return cls(from_pretrained(model_name_or_path, revision=options.get("revision")), **facts)


def export_sentence(model: Model, folder: str | Path, relation: str | None = None) -> None:
    """Write a folder for `SentenceTransformer(folder, trust_remote_code=True)`."""
    kind = f"{RelatumModule.__module__}.{RelatumModule.__name__}"
    with export_folder(Path(folder), model) as part:
        RelatumModule(model, relation).save(str(part))
        modules = [{"idx": 0, "name": "0", "path": "", "type": kind}]
        write_file(part / "modules.json", json.dumps(modules).encode())
        write_file(part / ST_SETTINGS, json.dumps({"similarity_fn_name": "dot"}).encode())
