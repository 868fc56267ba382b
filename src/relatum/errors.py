"""What a user can fix, as exceptions of one line.

In: what was expected, what came, where, and what to do.
Out: an exception whose text is that line; the command line prints it and exits with 2.
Wrong kinds of arguments are Python's `TypeError`, with a line of the same form.
This room knows nothing of the others.
"""

from pathlib import Path


class RelatumError(Exception):
    """Something that the user can fix: `where: what; fix`, and the parts by these names."""

    def __init__(self, what: str, *, where: str | Path = "", fix: str = "") -> None:
        """Join the parts into one line.

        >>> str(RelatumError("expected a number, got 'x'", where="items.csv:3", fix="correct it"))
        "items.csv:3: expected a number, got 'x'; correct it"
        """
        self.what, self.where, self.fix = what, str(where), fix
        place = f"{where}: " if self.where else ""
        super().__init__(place + what + (f"; {fix}" if fix else ""))


class DataError(RelatumError):
    """A catalogue, a row or a picture that cannot be used."""


class ConfigError(RelatumError):
    """A setting that is unknown or out of range."""


class EncoderError(RelatumError):
    """An encoder that cannot be found or loaded."""


class CheckpointError(RelatumError):
    """A model folder that is missing, incomplete or from another version."""


class StoreError(RelatumError):
    """A store that is missing, damaged or made by another model, or a search it cannot answer."""


class MissingItemError(StoreError):
    """An id that the store does not have."""


class TableError(StoreError):
    """Files of a store that cannot be read or written: no search of it can be answered."""


def expect(value: object, kind: type, name: str) -> None:
    """Refuse an argument of another kind: `TypeError`, with how to read one where it has `load`.

    >>> expect("cat", list, "items")
    Traceback (most recent call last):
    TypeError: items: expected list, got str
    """
    if not isinstance(value, kind):
        how = f"; {kind.__name__}.load reads one" * hasattr(kind, "load")
        raise TypeError(f"{name}: expected {kind.__name__}, got {type(value).__name__}{how}")
