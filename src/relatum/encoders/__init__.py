"""Turn pictures and texts into tokens: encoders, their reduction, and the token cache."""

from transformers.utils import logging as _transformers_logging

from relatum.encoders.cache import CachedTokens, TokenCache
from relatum.encoders.dual import Dual
from relatum.encoders.encode import (
    blank_tokens,
    cache_items,
    encode_items,
    encode_texts,
    find_reduction,
    forward_items,
    forward_part,
    takes_pictures,
)
from relatum.encoders.encoder import SIDES, Encoder, Raw
from relatum.encoders.load import find_encoder, load_encoder
from relatum.encoders.own import OWN
from relatum.encoders.reduction import Projection, Reduction
from relatum.encoders.starter import Starter

_transformers_logging.disable_progress_bar()  # its bars would cut through ours

__all__ = [
    "OWN",
    "SIDES",
    "CachedTokens",
    "Dual",
    "Encoder",
    "Projection",
    "Raw",
    "Reduction",
    "Starter",
    "TokenCache",
    "blank_tokens",
    "cache_items",
    "encode_items",
    "encode_texts",
    "find_encoder",
    "find_reduction",
    "forward_items",
    "forward_part",
    "load_encoder",
    "takes_pictures",
]
