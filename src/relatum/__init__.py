"""Relation-conditioned multimodal representation learning: one vector for each relation."""

import sys
from importlib import import_module
from importlib.util import find_spec
from types import ModuleType
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
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

_ROOMS = {
    "Catalogue": "catalogue",
    "Config": "config",
    "Item": "items",
    "Model": "model",
    "RelatumError": "errors",
    "Report": "evaluate",
    "Store": "store",
    "evaluate": "evaluate",
    "train": "train",
    "validate": "catalogue",
}


class _Package(ModuleType):
    """Loads what it exports at its first use: torch and transformers take seconds.

    `train` and `evaluate` are rooms too; here these names are the functions, whichever was loaded
    first. Other rooms, such as `relatum.errors`, are loaded when they are named.
    """

    def __getattribute__(self, name: str) -> Any:  # noqa: ANN401
        found = super().__getattribute__("__dict__").get(name)
        if name in _ROOMS and (found is None or isinstance(found, ModuleType)):
            return getattr(_room(_ROOMS[name]), name)
        return super().__getattribute__(name)

    def __getattr__(self, name: str) -> Any:  # noqa: ANN401
        if not name.startswith("_") and find_spec(f"{__name__}.{name}"):
            return _room(name)
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}", name=name, obj=self)

    def __dir__(self) -> list[str]:
        return sorted({*super().__dir__(), *_ROOMS, *_ROOMS.values()})

    def __reduce__(self) -> tuple[Any, tuple[str]]:
        return import_module, (__name__,)


def _room(name: str) -> ModuleType:
    try:
        return import_module(f"{__name__}.{name}")
    except AttributeError as error:  # which Python would take to say that there is no such name
        raise ImportError(f"cannot load {__name__}.{name}: {error}") from error


sys.modules[__name__].__class__ = _Package
