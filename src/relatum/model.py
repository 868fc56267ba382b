"""A model: an encoder, its reduction and the conditioner, with what they were trained on.

In: items and the text of a relation.
Out: tokens (`encode`), vectors under a relation (`condition`), or both steps at once (`embed`).
This room does not know of losses, metrics or stores.
"""

import hashlib
import math
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, Literal

import numpy as np
import torch
from jaxtyping import Float, Float32
from torch import Tensor, nn

from relatum.batch import Part, Tokens, Vectors
from relatum.catalogue import Relation, Split
from relatum.checkpoint import (
    read_manifest,
    read_tensors,
    remove_manifest,
    write_manifest,
    write_tensors,
)
from relatum.conditioner import Conditioner
from relatum.config import Config
from relatum.encoders import (
    CachedTokens,
    Encoder,
    Reduction,
    blank_tokens,
    cache_items,
    encode_items,
    encode_texts,
    find_encoder,
)
from relatum.encoders.tuning import begin_tuning, fill_tuned, tuned_tensors
from relatum.errors import CheckpointError, DataError
from relatum.items import Item, several
from relatum.progress import Report, silent

TUNED = {"full": "encoder.safetensors", "lora": "adapter.safetensors"}
CHUNK = 512  # items conditioned at a time
TEXTS = 10_000  # relations whose texts are kept encoded, about 140 MB
BLOCK = 128, 32  # items and relations at a time where there are many: the cache holds their vectors


class Model:
    """What `relatum.train` returns and a model folder holds."""

    def __init__(
        self,
        config: Config,
        encoder: Encoder,
        reduction: Reduction,
        *,
        relations: Sequence[Relation] = (),
        split: Split | None = None,
        catalogue: str = "",
        conditioner: nn.Module | None = None,
    ) -> None:
        """Join the parts; without a conditioner, a fresh one is made from `config`.

        `catalogue` is the fingerprint of what it is trained on.
        """
        self.config = config
        self.encoder = encoder
        self.reduction = reduction
        self.relations = tuple(relations)
        self.split = split
        self.catalogue = catalogue
        if conditioner is None:
            blank = blank_tokens(encoder, reduction)
            conditioner = Conditioner(blank, config.model)
        self.conditioner = conditioner
        self.base = encoder.fingerprint()  # before tuning
        self.validation = math.nan
        self._texts: dict[str, Part] = {}

    @classmethod
    def load(cls, folder: str | Path, *, encoder: Any = None) -> "Model":  # noqa: ANN401
        """Load a model folder; `CheckpointError` where it is missing, damaged or incompatible.

        `encoder` is the object that the model was trained with, where it was trained with one.
        """
        folder = Path(folder)
        facts = read_manifest(folder)
        config = Config(**facts["config"])
        if (folder / config.encoder).is_dir():  # the folder carries its encoder
            config = config.model_copy(update={"encoder": str(folder / config.encoder)})
        encoder = find_encoder(config, encoder)
        _check_encoder(encoder, facts.get("base", facts["encoder"]), config, folder)
        if facts["tuned"]:
            begin_tuning(encoder, config)
            names = [TUNED[way] for way in TUNED if tuned_tensors(encoder, config.tuning, way)]
            kept = [read_tensors(folder / name)[0] for name in names]
            fill_tuned(encoder, config.tuning, {k: v for some in kept for k, v in some.items()})
            _check_encoder(encoder, facts["encoder"], config, folder)
        tensors, _ = read_tensors(folder / "reduction.safetensors")
        sides = config.tokens.image_side, config.tokens.text_tokens
        model = cls(
            config,
            encoder,
            Reduction.from_tensors(tensors, *sides),
            relations=[_relation(values) for values in facts["relations"]],
            split=Split.from_json(facts["split"]) if facts["split"] else None,
            catalogue=facts["catalogue"],
        )
        model.base = facts.get("base", facts["encoder"])
        _fill(model.conditioner, read_tensors(folder / "weights.safetensors")[0], folder)
        model.conditioner.eval()
        if model.fingerprint != facts["fingerprint"]:
            what = "the weights are not those that were saved: a file was changed or damaged"
            raise CheckpointError(what, where=folder, fix="train the model again")
        return model

    def save(self, folder: str | Path) -> None:
        """Write the model folder: the manifest goes first and comes last, as it makes it valid."""
        folder = Path(folder)
        remove_manifest(folder)
        write_tensors(folder / "weights.safetensors", self.conditioner.state_dict(), {})
        write_tensors(folder / "reduction.safetensors", self.reduction.tensors(), {})
        for way, name in TUNED.items():
            state = tuned_tensors(self.encoder, self.config.tuning, way)
            if state:
                write_tensors(folder / name, state, {})
        facts = {
            "encoder": self.encoder.fingerprint(),
            "base": self.base,
            "tuned": not self.config.tuning.is_frozen,
            "fingerprint": self.fingerprint,
            "config": self.config.model_dump(mode="json"),
            "relations": [asdict(relation) for relation in self.relations],
            "split": self.split.to_json() if self.split else None,
            "catalogue": self.catalogue,
        }
        write_manifest(folder, facts)

    @property
    def fingerprint(self) -> str:
        """Name the model by everything that its vectors depend on: 16 hex digits."""
        digest = hashlib.blake2b(digest_size=8)
        digest.update((self.encoder.fingerprint() + self.reduction.fingerprint).encode())
        for name, tensor in sorted(self.conditioner.state_dict().items()):
            digest.update(name.encode() + tensor.cpu().contiguous().numpy().tobytes())
        return digest.hexdigest()

    def encode(
        self, items: Sequence[Item], *, cache: Path | None = None, report: Report = silent
    ) -> Tokens:
        """Return the items' tokens, from the cache where it has them; `DataError` if one is bad."""
        return encode_items(
            several(items), self.encoder, self.reduction, cache=cache, report=report
        )

    def view(
        self, items: Sequence[Item], *, cache: Path | None = None, report: Report = silent
    ) -> CachedTokens:
        """Encode as `encode` does, but read only the rows asked for, and what is looked at."""
        lean = isinstance(self.conditioner, Conditioner) and self.config.model.beta == 1
        of = several(items), self.encoder, self.reduction
        return cache_items(*of, lean=lean, cache=cache, report=report)

    @torch.no_grad()
    def condition(self, tokens: Tokens | CachedTokens, relation: str | None) -> Vectors:
        """Return the vectors of encoded items under a relation's text (None: the null relation)."""
        self.conditioner.eval()
        asked, device = self.relation_part(relation), self._device()
        asked = asked.to(device) if asked is not None else None
        chunks = [tokens[part].float().to(device) for part in _chunks(max(len(tokens), 1))]
        return Vectors.join([self.conditioner(chunk, asked) for chunk in chunks]).cpu()

    @torch.no_grad()
    def condition_many(
        self, tokens: Tokens | CachedTokens, relations: Sequence[str]
    ) -> Float[Tensor, "relations items dim"]:
        """Return the fused vectors that `condition` gives under each of many relation texts.

        The items are mapped once, then fused by blocks that stay in the processor's cache. What is
        returned takes relations x items x dim x 4 bytes; ask for some relations at a time.
        """
        if isinstance(relations, str):
            raise ValueError(f"expected a list of relation texts, got {relations!r}")
        if not relations:
            return torch.empty(0, len(tokens), self.config.model.dim)
        head, device = self.conditioner.eval(), self._device()
        if not isinstance(head, Conditioner):  # a rival knows one relation at a time
            return torch.stack([self.condition(tokens, text).both for text in relations])
        asked = self.relation_parts(relations).to(device)
        shape = len(relations), len(tokens), self.config.model.dim
        found = torch.empty(shape, device=device)
        blocks = [(block, asked[block]) for block in _chunks(len(relations), BLOCK[1])]
        read = [(block, part, head.read(part)) for block, part in blocks]
        for rows in _chunks(len(tokens), BLOCK[0]):
            some = tokens[rows].float().to(device)
            maps = head.map(some)
            for block, part, told in read:
                head.fuse(maps, some, part, told, found[block, rows])
        return found.cpu()

    def embed(
        self,
        items: Sequence[Item],
        relation: str | None = None,
        modality: Literal["image", "text", "both"] = "both",
    ) -> Float32[np.ndarray, "items dim"]:
        """Return one unit vector an item, in order, under any relation text.

        Under a text the items are what is asked for; under `None`, the null relation, they are what
        may be found. `embed(sources, text) @ embed(items).T` are the scores of a search (which
        takes a known relation, however spelled, in its own words). What may be found has a shorter
        vector where it lacks a text or an image; an item without the modality asked for has a zero
        vector.
        """
        if modality not in ("image", "text", "both"):
            raise ValueError(f"modality must be 'image', 'text' or 'both', got {modality!r}")
        items = several(items)
        tokens = self.encode(items) if items else blank_tokens(self.encoder, self.reduction)
        return getattr(self.condition(tokens, relation), modality)[: len(items)].numpy()

    def reach(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return how much of fused vectors comes of links alone: 0 of a rival's."""
        if isinstance(self.conditioner, Conditioner):
            return self.conditioner.reach(vectors)
        return vectors.new_zeros(vectors.shape[:-1])

    def relation_part(self, text: str | None) -> Part | None:
        """Return the encoded text of a relation; each text is encoded once."""
        return None if text is None else self.relation_parts([text])

    def relation_parts(self, texts: Sequence[str]) -> Part:
        """Return the encoded texts of at least one relation; those that are new go in batches.

        `DataError` for a blank one: None is the null relation.
        """
        if any(not text.strip() for text in texts):
            raise DataError("a relation's text is blank", fix="say it in words, or give None")
        held = {text: self._texts.get(text) for text in texts}
        if fresh := [text for text, part in held.items() if part is None]:
            made = encode_texts(fresh, self.encoder, self.reduction)
            new = {text: made[row : row + 1] for row, text in enumerate(fresh)}
            held |= new
            self._texts |= new
            for text in [*self._texts][:-TEXTS]:  # the oldest: a service may be asked anything
                self._texts.pop(text, None)
        return Part.join([part for text in texts if (part := held[text]) is not None])

    def _device(self) -> torch.device:
        return next((w.device for w in self.conditioner.parameters()), torch.device("cpu"))

    def forget_texts(self) -> None:
        """Encode relation texts anew from here on: the encoder has changed."""
        self._texts.clear()


def _fill(module: nn.Module, tensors: dict[str, Tensor], folder: Path) -> None:
    try:
        module.load_state_dict(tensors)
    except RuntimeError as error:
        what = "the weights do not fit this version's model: " + str(error).split("\n")[-1].strip()
        raise CheckpointError(what, where=folder, fix="train the model again") from error


def _check_encoder(encoder: Encoder, wanted: str, config: Config, folder: Path) -> None:
    if encoder.fingerprint() != wanted:
        raise CheckpointError(
            f"trained with encoder {wanted}, but {config.encoder!r} is now {encoder.fingerprint()}",
            where=folder,
            fix="bring back that encoder, or train again",
        )


def _relation(values: dict) -> Relation:
    return Relation(**{**values, "paraphrases": tuple(values["paraphrases"])})


def _chunks(count: int, size: int = CHUNK) -> Iterator[slice]:
    for start in range(0, count, size):
        yield slice(start, start + size)
