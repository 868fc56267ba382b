"""What relatum is compared with: other heads, other losses, other scores, on the same data."""

from relatum.rivals.rivals import RIVALS, Rival, train_rival

__all__ = ["RIVALS", "Rival", "train_rival"]
