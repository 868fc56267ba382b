"""A catalogue's items on disk, kept up to date, searched under any relations."""

from relatum.store.query import Attribution, Explanation, Hit, Query, Tie
from relatum.store.store import Store

__all__ = ["Attribution", "Explanation", "Hit", "Query", "Store", "Tie"]
