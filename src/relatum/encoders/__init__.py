"""Turn pictures and texts into tokens: encoders, their reduction, and the token cache."""

from transformers.utils import logging as _transformers_logging

from relatum.encoders.cache import CachedTokens, TokenCache
from relatum.encoders.dual import Dual
from relatum.encoders.encode import (
    blank_tokens,
    cache_folder,
    cache_items,
    encode_items,
    encode_texts,
    find_reduction,
    forward_items,
    load_encoder,
)
from relatum.encoders.encoder import Encoder, Raw
from relatum.encoders.reduction import Projection, Reduction
from relatum.encoders.starter import Starter

_transformers_logging.disable_progress_bar()  # its bars would cut through ours

__all__ = [
    "CachedTokens",
    "Dual",
    "Encoder",
    "Projection",
    "Raw",
    "Reduction",
    "Starter",
    "TokenCache",
    "blank_tokens",
    "cache_folder",
    "cache_items",
    "encode_items",
    "encode_texts",
    "find_reduction",
    "forward_items",
    "load_encoder",
]
