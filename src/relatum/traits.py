"""What texts of groups say of items, learned in closed form: a new text may name a trait too.

In: short vectors of items, known texts, and who belongs to the groups among them.
Out: for a text, a vector whose product with an item's says how far the item has the trait.
This room knows tensors only: no items, no training.

A bilinear form between texts and items, ridge regression from both sides (ESZSL, Romera-Paredes
and Torr 2015): who belongs to "both are red" and "both are blue" says something of "both are
purple", by pictures too, where an encoder's texts and pictures know nothing of one another. A text
that is told from groups' as one of a whole relation ("share a colour") names none.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn

from relatum.closed import alike, take_sizes, unit

TEXTS = 0.2  # penalty of the ridge on texts
ITEMS = 3.0  # and on items
KINDS = 1.0  # and of what tells texts of groups from those of whole relations
FEW = 8  # groups below which nothing is told of other ones
LEAST = 1e-6  # a deviation below which all items are alike


class Traits(nn.Module):
    """A map of texts to short vectors; before `fit` it gives zeros."""

    SIZES = ("reading", "kind")  # none before it is fitted

    mean: Tensor
    reading: Tensor
    spread: Tensor
    kind: Tensor

    def __init__(self, width: int, size: int) -> None:
        """Take the width of a text and the numbers of an item."""
        super().__init__()
        self.register_buffer("mean", torch.zeros(1, width))
        self.register_buffer("reading", torch.zeros(0, size))
        self.register_buffer("spread", torch.zeros(size, size))
        self.register_buffer("kind", torch.zeros(0))
        self.register_load_state_dict_pre_hook(take_sizes)

    @property
    def is_fitted(self) -> bool:
        """Return whether it says anything."""
        return len(self.reading) > 0

    def pull(self, pooled: Float[Tensor, "*texts width"]) -> Float[Tensor, "*texts size"]:
        """Return a vector for each text, zeros where it names no trait.

        Its products with training items have a deviation of 1, or less where it is half told.
        """
        if not self.is_fitted:
            return pooled.new_zeros(*pooled.shape[:-1], len(self.spread))
        texts = unit(unit(pooled) - self.mean)
        found = texts @ self.reading
        square = ((found @ self.spread) * found).sum(-1, keepdim=True)
        named = (2 * (texts @ self.kind[:-1] + self.kind[-1])).clamp(0, 1).unsqueeze(-1)
        return named * found * square.clamp_min(LEAST**2).rsqrt()

    @torch.no_grad()
    def fit(
        self,
        items: Float[Tensor, "items size"],
        mean: Float[Tensor, "1 width"],
        texts: Float[Tensor, "texts width"],
        narrow: Bool[Tensor, " texts"],
        members: Bool[Tensor, "texts items"],
    ) -> None:
        """Learn from who belongs to which group.

        `mean` is that of the items' texts, `narrow` says which texts are groups', `members` to whom
        each leads. Groups of all or of none tell nothing.
        """
        tells = narrow & members.any(-1) & ~members.all(-1)
        if int(tells.sum()) < FEW or narrow.all() or not items.any():
            return
        said, seen = unit(unit(texts) - mean).double(), items.double()
        belongs, count = members[tells].to(items.dtype), len(items)
        share = belongs.mean(-1, keepdim=True).double()
        deviation = (share * (1 - share) * count / (count - 1)).sqrt()
        # of members less the share, over the deviation; without another matrix of texts by items
        seen_by = ((belongs @ items).double() - share * seen.sum(0)) / deviation
        named = said[tells]
        by_texts = torch.linalg.solve(_inner(named, TEXTS), named.T @ seen_by)
        reading = torch.linalg.solve(_inner(seen, ITEMS), by_texts.T).T
        self.mean.copy_(mean)
        self.spread.copy_(torch.cov(seen.T, correction=0))
        self.reading, self.kind = reading.float().contiguous(), _told_apart(said, narrow).float()


def _inner(rows: Float[Tensor, "rows width"], penalty: float) -> Float[Tensor, "width width"]:
    return rows.T @ rows + penalty * torch.eye(rows.shape[1], dtype=rows.dtype)


def _told_apart(
    texts: Float[Tensor, "texts width"], narrow: Bool[Tensor, " texts"]
) -> Float[Tensor, " more"]:
    """Return weights, the last a constant, by which texts of groups give 1 and others -1.

    Both kinds weigh alike.
    """
    weight = alike(narrow)
    rows = torch.cat([texts, torch.ones_like(texts[:, :1])], dim=-1) * weight.sqrt()[:, None]
    penalty = torch.full((rows.shape[1],), KINDS, dtype=rows.dtype)
    penalty[-1] = LEAST
    sign = torch.where(narrow, 1.0, -1.0).double() * weight.sqrt()
    return torch.linalg.solve(rows.T @ rows + penalty.diag(), rows.T @ sign)
