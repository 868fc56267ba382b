"""Relation-conditioned multimodal representation learning: one vector for each relation."""

from relatum.catalogue import Catalogue, validate
from relatum.config import Config
from relatum.errors import RelatumError
from relatum.evaluate import Report, evaluate
from relatum.items import Item
from relatum.model import Model
from relatum.store import Store
from relatum.train import train

__version__ = "0.1.0"

__all__ = [
    "Catalogue",
    "Config",
    "Item",
    "Model",
    "RelatumError",
    "Report",
    "Store",
    "evaluate",
    "train",
    "validate",
]
