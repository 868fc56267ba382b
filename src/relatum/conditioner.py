"""Turn an item's tokens into vectors under a relation.

In: `Tokens` of items and the encoded text of one relation (None: the null relation).
Out: `Vectors`: one unit vector for the image, one for the text, one for both together.
This room knows tensors only: no items, no links, no losses.
"""

import math

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from relatum.batch import Part, Tokens, Vectors
from relatum.config import ModelConfig


class Conditioner(nn.Module):
    """z = normalise(beta * global + (1 - beta) * conditioned), for image and text; both fused.

    The conditioned path pools tokens by attention whose queries come from the relation (RCML,
    arXiv 2508.17497), and lets the relation scale and shift what was found (FiLM,
    arXiv 1709.07871). The fused vector weighs image against text by the relation.
    """

    def __init__(self, image: Part, text: Part, config: ModelConfig) -> None:
        """Take the widths from the parts of any one item."""
        super().__init__()
        width = text.pooled.shape[1]
        self.conditioned = config.conditioned
        self.null = nn.Parameter(torch.randn(1, width))
        self.code = nn.Linear(width, config.code)
        self.image = _Tower(image, config)
        self.text = _Tower(text, config)
        self.share = nn.Linear(config.code, 1)
        nn.init.zeros_(self.share.weight)

    def forward(self, tokens: Tokens, relation: Part | None) -> Vectors:
        """Condition every item on one relation."""
        asked = self.null
        if relation is not None and self.conditioned:
            asked = functional.normalize(relation.pooled, dim=-1) * math.sqrt(self.null.shape[1])
        code = self.code(asked)
        image = self.image(tokens.image, code)
        text = self.text(tokens.text, code)
        share = torch.sigmoid(self.share(code))
        both = functional.normalize(share * text + (1 - share) * image, dim=-1)
        return Vectors(image, text, both)


class _Tower(nn.Module):
    """One modality: the global path beside the conditioned one."""

    def __init__(self, part: Part, config: ModelConfig) -> None:
        super().__init__()
        hidden, pooled = part.tokens.shape[2], part.pooled.shape[1]
        self.beta = config.beta
        self.heads = config.heads
        self.token_dropout = config.token_dropout
        self.dropout = config.dropout
        self.whole = nn.Linear(pooled, config.dim)
        self.query = nn.Linear(config.code, config.heads * hidden)
        self.inner = nn.Linear(pooled + config.heads * hidden, config.width)
        self.film = nn.Linear(config.code, 2 * config.width)
        self.outer = nn.Linear(config.width, config.dim)
        nn.init.orthogonal_(self.whole.weight)  # starts as the encoder's own space
        nn.init.zeros_(self.whole.bias)
        nn.init.zeros_(self.film.weight)
        nn.init.zeros_(self.film.bias)

    def forward(self, part: Part, code: Float[Tensor, "1 code"]) -> Float[Tensor, "batch dim"]:
        pooled = self._thin(functional.layer_norm(part.pooled, part.pooled.shape[1:]))
        found = self._thin(self._attend(part.tokens, part.mask, code))
        scale, shift = self.film(code).chunk(2, dim=-1)
        inner = self.inner(torch.cat([pooled, found], dim=-1)) * (1 + scale) + shift
        inner = functional.dropout(functional.gelu(inner), self.dropout / 2, self.training)
        mixed = self.beta * self.whole(pooled) + (1 - self.beta) * self.outer(inner)
        return functional.normalize(mixed, dim=-1) * part.present.unsqueeze(-1)

    def _attend(
        self,
        tokens: Float[Tensor, "batch tokens hidden"],
        mask: Bool[Tensor, "batch tokens"],
        code: Float[Tensor, "1 code"],
    ) -> Float[Tensor, "batch found"]:
        """Pool the tokens once for each of the relation's queries."""
        tokens = functional.layer_norm(tokens, tokens.shape[2:])
        if self.training:
            mask = mask & (torch.rand(mask.shape) > self.token_dropout)
        queries = self.query(code).view(self.heads, -1)
        scores = tokens @ queries.T / math.sqrt(tokens.shape[2])
        scores = scores.masked_fill(~mask.unsqueeze(-1), torch.finfo(scores.dtype).min)
        weights = torch.softmax(scores, dim=1)
        return (weights.transpose(1, 2) @ tokens).flatten(1)

    def _thin(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "batch width"]:
        """Drop the same dimensions for all items, so that they stay comparable."""
        kept = torch.ones_like(features[:1])
        return features * functional.dropout(kept, self.dropout, self.training)
