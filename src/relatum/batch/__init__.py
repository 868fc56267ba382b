"""Items as tensors, and the pools of items that a training step contrasts."""

from relatum.batch.pools import Ask, Pool, Theme, draw_ask, draw_pool, training_themes
from relatum.batch.tokens import Part, Tokens, Vectors

__all__ = [
    "Ask",
    "Part",
    "Pool",
    "Theme",
    "Tokens",
    "Vectors",
    "draw_ask",
    "draw_pool",
    "training_themes",
]
