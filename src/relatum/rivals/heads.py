"""Other ways to condition an item on a relation, each on the same frozen parts.

In: `Tokens` of items, the encoded text of a relation (None: the null relation).
Out: `Vectors`, as the conditioner gives them.
This file does not know of losses; who proposed what is said at each class.
"""

import math

import torch
from jaxtyping import Float
from torch import Tensor, nn
from torch.nn import functional

from relatum.batch import Part, Tokens, Vectors
from relatum.conditioner import KNOWN, Conditioner
from relatum.config import ModelConfig
from relatum.encoders.encoder import SIDES, Side
from relatum.ridge import Ridge


class Head(nn.Module):
    """A linear map of each pooled vector; a subclass says what the relation does to it."""

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        """Take the widths from a blank item."""
        super().__init__()
        self.dropout = config.dropout
        self.dim = config.dim - config.said_dim  # as many as relatum has for what it was trained on
        self.width = blank.text.pooled.shape[1]
        self.null = nn.Parameter(torch.randn(1, self.width))
        self.whole = nn.ModuleDict(
            {side: nn.Linear(getattr(blank, side).pooled.shape[1], self.dim) for side in SIDES}
        )
        for whole in self.whole.values():
            nn.init.orthogonal_(whole.weight)  # type: ignore[arg-type]

    def forward(self, tokens: Tokens, relation: Part | None) -> Vectors:
        """Condition every item on one relation."""
        asked = self.null
        if relation is not None:
            asked = functional.normalize(relation.pooled, dim=-1) * math.sqrt(self.width)
        image, text = (self._one(side, getattr(tokens, side), asked) for side in SIDES)
        return Vectors(image, text, functional.normalize(image + text, dim=-1))

    def _one(self, side: Side, part: Part, asked: Tensor) -> Tensor:
        pooled = functional.layer_norm(part.pooled, part.pooled.shape[1:])
        kept = functional.dropout(torch.ones_like(pooled[:1]), self.dropout, self.training)
        vector = functional.normalize(self.whole[side](pooled * kept), dim=-1)
        told = self._tell(side, vector, part, asked)
        return functional.normalize(told, dim=-1) * part.present.unsqueeze(-1)

    def _tell(
        self,
        side: Side,
        vector: Float[Tensor, "batch dim"],
        part: Part,
        asked: Float[Tensor, "1 width"],
    ) -> Float[Tensor, "batch dim"]:
        """Let the relation change a unit vector; here it does not."""
        return vector


class Gate(Head):
    """The relation scales and shifts the dimensions (FiLM, arXiv 1709.07871)."""

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        super().__init__(blank, config)
        self.film = nn.ModuleDict({side: _zero(self.width, 2 * self.dim) for side in SIDES})

    def _tell(self, side: Side, vector: Tensor, part: Part, asked: Tensor) -> Tensor:
        scale, shift = self.film[side](asked).chunk(2, dim=-1)
        return vector * (1 + scale) + shift / math.sqrt(self.dim)


class Mask(Head):
    """Each known relation owns a mask over the dimensions (CSN, arXiv 1603.07810)."""

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        super().__init__(blank, config)
        self.known = Known(self.width)
        self.masks = nn.Parameter(torch.ones(Known.MOST, self.dim))

    def start(self, items: Tokens, texts: Part | None) -> None:
        """Learn which relations there are."""
        self.known.start(texts)

    def _tell(self, side: Side, vector: Tensor, part: Part, asked: Tensor) -> Tensor:
        return vector * functional.relu(self.masks[self.known(asked)])


class Attention(Head):
    """The relation is the query of an attention over tokens, mixed with the whole (RCML).

    arXiv 2508.17497: beta * whole + (1 - beta) * attention, one query, key and value maps.
    """

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        super().__init__(blank, config)
        self.beta = 0.5
        self.query = nn.ModuleDict({side: nn.Linear(self.width, self.dim) for side in SIDES})
        hidden = blank.text.tokens.shape[2]
        self.key = nn.ModuleDict({side: nn.Linear(hidden, self.dim) for side in SIDES})
        self.value = nn.ModuleDict({side: nn.Linear(hidden, self.dim) for side in SIDES})

    def _tell(self, side: Side, vector: Tensor, part: Part, asked: Tensor) -> Tensor:
        tokens = functional.layer_norm(part.tokens, part.tokens.shape[2:])
        scores = self.key[side](tokens) @ self.query[side](asked).T / math.sqrt(self.dim)
        lowest = torch.finfo(scores.dtype).min
        weights = scores.masked_fill(~part.mask.unsqueeze(-1), lowest).softmax(1)
        found = functional.normalize((weights * self.value[side](tokens)).sum(1), dim=-1)
        return self.beta * vector + (1 - self.beta) * found


class ImagePooling(Attention):
    """Only the image is pooled by the relation, with nothing of its whole (FLAIR, 2412.03561)."""

    def _tell(self, side: Side, vector: Tensor, part: Part, asked: Tensor) -> Tensor:
        if side == "text":
            return vector
        return super()._tell(side, torch.zeros_like(vector), part, asked)


class Translation(Head):
    """source + relation is near target (TransE, Bordes et al. 2013; PyKEEN `TransE`).

    For unit targets the order by -|source + relation - target| is the order by cosine.
    """

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        super().__init__(blank, config)
        self.move = _zero(self.width, self.dim)

    def _tell(self, side: Side, vector: Tensor, part: Part, asked: Tensor) -> Tensor:
        return vector if asked is self.null else vector + self.move(asked)


class Product(Head):
    """<source, relation, target> (DistMult, arXiv 1412.6575; PyKEEN `DistMult`)."""

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        super().__init__(blank, config)
        self.scale = _zero(self.width, self.dim)

    def _tell(self, side: Side, vector: Tensor, part: Part, asked: Tensor) -> Tensor:
        return vector if asked is self.null else vector * (1 + self.scale(asked))


class _Beside(Head):
    """Another head with fewer dimensions, and relatum's closed form as the last of them.

    It is mixed in behind that head: a control of how much the closed form does by itself.
    """

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        fewer = {"dim": config.learned_dim, "words_dim": 0}
        super().__init__(blank, config.model_copy(update=fewer))
        self.weight = config.ridge_weight
        self.ridge = Ridge(blank, config.closed_dim)

    def forward(self, tokens: Tokens, relation: Part | None) -> Vectors:
        """Condition every item on one relation."""
        found = super().forward(tokens, relation)
        scale, closed = self.ridge.beside(self.ridge.wanted(tokens), relation, self.weight)
        both = torch.cat([(found.both * scale).flatten(0, -2), closed.flatten(0, -2)], dim=-1)
        gap = (0, self.ridge.size)
        return Vectors(functional.pad(found.image, gap), functional.pad(found.text, gap), both)


class GateBeside(Gate, _Beside):
    """A gate, and links in closed form beside it."""


class ProductBeside(Product, _Beside):
    """DistMult, and links in closed form beside it."""


class ById(Conditioner):
    """relatum with a table of relation codes in place of the texts' vectors."""

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        super().__init__(blank, config)
        width = blank.text.pooled.shape[1]
        self.rows = Known(width)
        self.table = nn.Parameter(torch.randn(Known.MOST, width))

    def start(self, items: Tokens, texts: Part | None) -> None:
        """Learn which relations there are."""
        super().start(items, texts)
        self.rows.start(texts)

    def _known_as(
        self, pooled: Float[Tensor, "relations width"]
    ) -> Float[Tensor, "relations width"]:
        """Return the row of the known text that is nearest to each relation."""
        return self.table[self.rows(pooled)]

    def _strangeness(self, pooled: Float[Tensor, "*any width"]) -> Float[Tensor, "*any 1"]:
        """Count every row as known."""
        return torch.zeros_like(pooled[..., :1])


class Known(nn.Module):
    """The row of the known text that is nearest to a text; for known texts, their own."""

    MOST = KNOWN

    texts: Tensor

    def __init__(self, width: int) -> None:
        """Start empty."""
        super().__init__()
        self.register_buffer("texts", torch.zeros(self.MOST, width))

    def start(self, texts: Part | None) -> None:
        """Take the first texts as those that are known."""
        if texts is None:
            return
        kept = functional.normalize(texts.pooled[: self.MOST], dim=-1)
        self.texts[: len(kept)] = kept

    def forward(self, asked: Float[Tensor, "batch width"]) -> Tensor:
        """Return the row of each text."""
        return (functional.normalize(asked, dim=-1) @ self.texts.T).argmax(1)


def _zero(width: int, dim: int) -> nn.Linear:
    layer = nn.Linear(width, dim)
    nn.init.zeros_(layer.weight)
    nn.init.zeros_(layer.bias)
    return layer
