"""What a new text's own words are worth, and what they say of each item, in closed form.

In: pooled texts of items and of relations, links among training items.
Out: for each item a short vector of its text; for a relation's text another, and how much to go by.
This room knows tensors and matrices only: no items, no training.

Words may name what is wanted ("both are made of cotton") or what two things have in common,
whichever it is ("are made of the same material"). What is wanted is near to the former; the latter
says nothing of it. The links of known texts tell which is which: a text's *mark* is by how many
standard deviations the items that it wants are nearer to it than all items are. That of a new text
is told by ridge regression on known ones: by what it says, and by how near to it the nearest item
is. Where only whole relations have texts, none of which may name anything, it is about middling.
"""

import torch
from jaxtyping import Bool, Float
from torch import Tensor, nn
from torch.nn import functional

from relatum.batch import Part
from relatum.closed import alike, mean_of, principal, take_sizes, unit

MOST = 3.0  # that a mark counts for
PENALTY = 3.0  # of the ridge that tells marks
SAMPLE = 1024  # items that a new text is compared with, at most
VIEW = 0.1  # share of the square of what is wanted; a query's own share makes up for it
ROWS = 256  # known texts that are marked at a time
MIDDLING = 0.7  # a mark where no text is a group's
LEAST = 1e-6  # a deviation below which a text is as near to all items; a penalty that is none


class Words(nn.Module):
    """Short vectors of texts, and marks; before `fit` they are zero and one."""

    SIZES = ("sample", "telling")  # as long as what was fitted

    mean: Tensor
    sample: Tensor
    telling: Tensor
    turn: Tensor

    def __init__(self, width: int, size: int) -> None:
        """Take the width of a text; `size` numbers an item."""
        super().__init__()
        self.size = size
        self.register_buffer("mean", torch.zeros(1, width))
        self.register_buffer("sample", torch.zeros(0, width))
        self.register_buffer("telling", torch.zeros(0))
        self.register_buffer("turn", torch.zeros(width, max(size - 1, 0)))
        self.register_load_state_dict_pre_hook(take_sizes)

    @property
    def is_fitted(self) -> bool:
        """Return whether marks and vectors say anything."""
        return len(self.telling) > 0

    @property
    def left(self) -> float:
        """Return by what all other numbers of what is wanted are multiplied for these."""
        return (1 - VIEW) ** 0.5 if self.size and self.is_fitted else 1.0

    def wanted(self, part: Part) -> Float[Tensor, "batch size"]:
        """Return the last numbers of items as what is wanted, all of the same length.

        The very last is what the directions leave of a text: all of it where there is none.
        """
        if not self.size or not self.is_fitted:
            return part.pooled.new_zeros(*part.pooled.shape[:-1], self.size)
        seen = self._centred(part.pooled) * part.present.unsqueeze(-1) @ self.turn
        rest = (1 - seen.square().sum(-1, keepdim=True)).clamp_min(0).sqrt()
        return torch.cat([seen, rest], dim=-1) * VIEW**0.5

    def mark(self, pooled: Float[Tensor, "*relations width"]) -> Float[Tensor, "*relations 1"]:
        """Return the marks of texts, from 0 to `MOST`; 1 where nothing is known."""
        if not self.is_fitted:
            return torch.ones_like(pooled[..., :1])
        told = self._said(pooled) @ self.telling[:-1] + self.telling[-1]
        return told.clamp_min(0).clamp_max(MOST).unsqueeze(-1)

    def asking(
        self, pooled: Float[Tensor, "*relations width"], amount: Float[Tensor, "*relations 1"]
    ) -> tuple[Float[Tensor, "*relations 1"], Float[Tensor, "*relations size"]]:
        """Return by what all other numbers of a query are multiplied, and its last ones.

        Its cosine with what is wanted is then that of the others, and `amount` times that of both
        texts in the directions that are kept, scaled.
        """
        if not self.size or not self.is_fitted:
            return torch.ones_like(amount), pooled.new_zeros(*pooled.shape[:-1], self.size)
        seen = functional.pad(self._centred(pooled) @ self.turn, (0, 1))
        found = seen * amount * ((1 - VIEW) / VIEW) ** 0.5
        left = (1 + found.square().sum(-1, keepdim=True)).rsqrt()
        return left, found * left

    @torch.no_grad()
    def fit(
        self,
        part: Part,
        texts: Float[Tensor, "texts width"],
        counts: Float[Tensor, "texts items"],
        narrow: Bool[Tensor, " texts"],
    ) -> None:
        """Mark known texts by what each wants; find the directions of items' texts.

        `part` are the training items' texts; `counts` says how many links, as each known text means
        them, lead to an item, and `narrow` which of these are texts of groups. Items without a
        text, and texts that lead to none that has one, tell nothing.
        """
        counts = counts[:, part.present]
        leads = counts.sum(-1) > 0
        if not leads.any():
            return
        self.mean.copy_(mean_of(part))
        items = self._centred(part.pooled[part.present])
        if self.size > 1:
            directions = principal(items.double().T @ items.double(), self.size - 1)[1]
            self.turn.zero_()[:, : directions.shape[1]] = directions
        self.sample = items[:: -(-len(items) // SAMPLE)].contiguous()
        said = self._said(texts[leads])
        marks = _marks(said[:, :-1], counts[leads], items).clamp(0, MOST)
        self.telling = _telling(said, marks, narrow[leads])

    def _said(self, pooled: Float[Tensor, "*any width"]) -> Float[Tensor, "*any more"]:
        """Return centred texts, and the cosine of each with the item nearest to it."""
        said = self._centred(pooled)
        return torch.cat([said, (said @ self.sample.T).amax(-1, keepdim=True)], dim=-1)

    def _centred(self, pooled: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        return unit(unit(pooled) - self.mean)


def _marks(
    texts: Float[Tensor, "texts width"],
    counts: Float[Tensor, "texts items"],
    items: Float[Tensor, "items width"],
) -> Float[Tensor, " texts"]:
    """Return by how many deviations those that each text wants are nearer to it than all are."""
    found: list[Tensor] = []
    for some, each in zip(texts.split(ROWS), counts.split(ROWS), strict=True):
        near = some @ items.T
        above = near - near.mean(-1, keepdim=True)
        mean = (above * each).sum(-1) / each.sum(-1)
        found.append(mean / above.std(-1, unbiased=False).clamp_min(LEAST))
    return torch.cat(found)


def _telling(
    said: Float[Tensor, "texts more"],
    marks: Float[Tensor, " texts"],
    narrow: Bool[Tensor, " texts"],
) -> Float[Tensor, " most"]:
    """Return weights, the last a constant, that give marks; both kinds of texts weigh alike."""
    weight, rows = alike(narrow), said.double()
    middle = (weight * marks).mean() if narrow.any() else torch.tensor(MIDDLING).double()
    near = (weight * rows[:, -1]).mean()
    rows = torch.cat([rows[:, :-1], rows[:, -1:] - near], dim=-1) * weight.sqrt()[:, None]
    penalty = torch.full((rows.shape[1],), PENALTY, dtype=rows.dtype)
    penalty[-1] = LEAST
    told = torch.linalg.solve(
        rows.T @ rows + penalty.diag(), rows.T @ ((marks - middle) * weight.sqrt())
    )
    return torch.cat([told, (middle - told[-1] * near)[None]]).float()
