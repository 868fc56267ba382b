"""What the links alone say of pooled features: one bilinear form a relation, in closed form.

In: pooled features of items, links among training items, the relations' encoded texts.
Out: for each item a short vector, and another for it as the source of a relation.
This room knows tensors and matrices only: no items, no training.

Two-step kernel ridge regression (Stock et al., arXiv 1803.01575): the links L of a relation are
smoothed from both sides, M = (G^-1 X^T) L (X G^-1) with G = X^T X + penalty. X are what a Gaussian
kernel makes of the features, by Nystroem's method. They are not centred: so a form also says what
is linked at all, whoever asks. All relations share the directions in which their forms act most, so
what is wanted has one vector for all of them.
"""

from collections.abc import Sequence

import numpy as np
import torch
from jaxtyping import Float, Int64
from scipy import linalg, sparse
from torch import Tensor, nn
from torch.nn import functional

from relatum.batch import Part, Tokens
from relatum.closed import TINY, mean_of, principal, signs, take_sizes, unit

WIDTH = 128  # principal directions of the features that the kernel sees
POINTS = 1024  # items that it compares with, at most
KEPT = 512  # of its own principal directions, at most
PENALTY = 0.3  # of the ridge
DEGREE = 0.35  # power of the number of links of an end by which each of them counts less
TEMPER = 0.25  # power of the null form in the length of a direction: 0 none, 0.5 whole
SHARP = 0.02  # temperature of the likeness of texts: a known text has its own form alone
STRANGE = 0.5  # cosine with the nearest known text at which a text counts as wholly new
LEFT = 0.2  # how much the form counts under a wholly new text, as a share
LOW = 0.2  # of those that have links, the share whose form says less than what counts as enough


class Ridge(nn.Module):
    """Short vectors in closed form; before `fit` they are zero."""

    # as long as what was fitted
    SIZES = ("points", "basis", "forms", "enough", "texts", "owners")

    image_mean: Tensor
    text_mean: Tensor
    turn: Tensor
    points: Tensor
    basis: Tensor
    forms: Tensor
    enough: Tensor
    texts: Tensor
    owners: Tensor

    def __init__(self, blank: Tokens, size: int) -> None:
        """Take the widths from a blank item; `size` numbers an item."""
        super().__init__()
        image, text = blank.image.pooled.shape[1], blank.text.pooled.shape[1]
        self.size = size
        self.register_buffer("image_mean", torch.zeros(1, image))
        self.register_buffer("text_mean", torch.zeros(1, text))
        self.register_buffer("turn", torch.zeros(image + text, WIDTH))
        self.register_buffer("points", torch.zeros(0, WIDTH))
        self.register_buffer("basis", torch.zeros(0, size))
        self.register_buffer("forms", torch.zeros(0, size, size))
        self.register_buffer("enough", torch.zeros(0))
        self.register_buffer("texts", torch.zeros(0, text))
        self.register_buffer("owners", torch.zeros(0, dtype=torch.int64))
        self.register_load_state_dict_pre_hook(take_sizes)

    @property
    def is_fitted(self) -> bool:
        """Return whether vectors say anything."""
        return len(self.forms) > 0

    def wanted(self, tokens: Tokens) -> Float[Tensor, "batch size"]:
        """Return items as what is wanted whatever the relation: of length 1, or 0 without parts."""
        if not self.is_fitted:
            return tokens.text.pooled.new_zeros(*tokens.text.pooled.shape[:-1], self.size)
        features = self._features(tokens)
        turn, points, basis = (one.double() for one in (self.turn, self.points, self.basis))
        near = _likeness(features.double() @ turn, points)  # else rounding shows, thirtyfold
        there = tokens.image.present | tokens.text.present
        found = functional.normalize(near @ basis, dim=-1) * there.unsqueeze(-1)
        return found.to(features.dtype)

    def asking(
        self, wanted: Float[Tensor, "batch size"], relations: Part
    ) -> tuple[Float[Tensor, "relations batch size"], Float[Tensor, "relations batch 1"]]:
        """Return items as sources of each relation, from what they are when they are wanted.

        And how far that is to be trusted: at most 1 under a known text, `LEFT` under a wholly new
        one. Such a text has the null form; one between has a share of the known texts' that are
        like it. A form says little of an item that is like none with links: such a short vector is
        made as long as others, but trusted less.
        """
        near = functional.normalize(relations.pooled, dim=-1) @ self.texts.T
        shares = near.new_zeros(len(near), len(self.forms))
        shares = shares.index_add(1, self.owners, (near / SHARP).softmax(-1))
        strange = strangeness(near.amax(-1, keepdim=True))
        shares = shares * (1 - strange)
        shares[:, :1] += strange  # of the null form
        found = wanted @ (shares @ self.forms.flatten(1)).unflatten(1, self.forms.shape[1:])
        length = found.norm(dim=-1) / (shares @ self.enough).clamp_min(TINY).unsqueeze(-1)
        trust = (1 - (1 - LEFT) * strange) * length.clamp(0, 1).sqrt()
        return functional.normalize(found, dim=-1), trust.unsqueeze(-1)

    def beside(
        self, wanted: Float[Tensor, "batch size"], relations: Part | None, weight: float
    ) -> tuple[float | Tensor, Float[Tensor, "*some size"]]:
        """Return the last numbers of unit vectors, and by what all others are multiplied for them.

        Then a cosine is that of the others and `weight` times that of these, scaled.
        """
        if not self.is_fitted:
            return 1.0, wanted * 0
        trust, found = 1.0, wanted
        if relations is not None:
            found, trust = self.asking(wanted, relations)
        # the wanted end has the whole weight, and the cosine has the root of both ends' product
        weighed = weight * trust**2
        share = weighed / (1 + weighed)
        return (1 - share) ** 0.5, found * share**0.5

    def _features(self, tokens: Tokens) -> Float[Tensor, "batch width"]:
        """Return image and text side by side, each centred and of length 1; 0 where it misses."""
        parts = ((tokens.image, self.image_mean), (tokens.text, self.text_mean))
        found = [
            functional.normalize(unit(part.pooled) - mean, dim=-1) * part.present.unsqueeze(-1)
            for part, mean in parts
        ]
        return torch.cat(found, dim=-1)

    @torch.no_grad()
    def fit(
        self,
        tokens: Tokens,
        links: Sequence[sparse.csr_array],
        texts: Float[Tensor, "texts width"],
        owners: Int64[Tensor, " texts"],
    ) -> None:
        """Fit the forms to the links among items, the null relation's first.

        `texts` are the known ones; `owners` says whose links, by their place, each
        means. Where all items are alike there is nothing to fit.
        """
        self.image_mean.copy_(mean_of(tokens.image))
        self.text_mean.copy_(mean_of(tokens.text))
        features = self._features(tokens).double()
        spread, turn = principal(features.T @ features, WIDTH)
        if not len(spread):
            return
        seen = features @ turn
        points = seen[:: -(-len(seen) // POINTS)]
        among, axes = principal(_likeness(points, points), POINTS)
        inner = axes / among.sqrt()
        found = _likeness(seen, points) @ inner
        spread, axes = principal(found.T @ found, KEPT)
        smooth = (found @ axes * (spread.sqrt() / (spread + PENALTY))).numpy()
        made, shared = _forms(links, smooth, self.size)
        basis = (inner @ axes / spread.sqrt()).numpy() @ shared
        strength, axes = linalg.eigh((made[0] + made[0].T) / 2)
        length = np.maximum(np.abs(strength), 1e-2 * np.abs(strength).max() + 1e-12) ** TEMPER
        made = (axes.T @ made @ axes) / np.outer(length, length)
        basis = basis @ axes * length
        turned = signs(basis)
        size = slice(len(length))  # fewer than asked for where there are few features
        self.turn.zero_()[:, : turn.shape[1]] = turn
        self.points = torch.zeros(len(points), WIDTH)
        self.points[:, : turn.shape[1]] = points
        self.basis = torch.zeros(len(points), self.size)
        self.basis[:, size] = torch.from_numpy(basis * turned)
        self.forms = torch.zeros(len(made), self.size, self.size)
        self.forms[:, size, size] = torch.from_numpy(made * np.outer(turned, turned))
        self.texts, self.owners = unit(texts), owners
        wanted, has = self.wanted(tokens), [torch.from_numpy(one.sum(1) > 0) for one in links]
        said = [(wanted @ form).norm(dim=-1) for form in self.forms]
        pairs = zip(said, has, strict=True)
        self.enough = torch.stack([one[some].quantile(LOW) if some.any() else one.new_zeros(())
                                   for one, some in pairs])  # fmt: skip

    def forget(self) -> None:
        """Be as before `fit`."""
        for name in self.SIZES:
            setattr(self, name, getattr(self, name)[:0])
        self.turn.zero_()


def strangeness(nearest: Float[Tensor, "*any"]) -> Float[Tensor, "*any"]:
    """Return how new texts of such cosines with the nearest known one are: 0 not, 1 wholly."""
    return ((1 - nearest) / (1 - STRANGE)).clamp(0, 1)


def _likeness(
    some: Float[Tensor, "some width"], others: Float[Tensor, "others width"]
) -> Float[Tensor, "some others"]:
    """Return the Gaussian kernel of width 1: exp(-|a - b|^2 / 2)."""
    lengths = some.square().sum(-1, keepdim=True) + others.square().sum(-1)
    return torch.exp(some @ others.T - lengths / 2)


def _forms(
    links: Sequence[sparse.csr_array], smooth: np.ndarray, size: int
) -> tuple[np.ndarray, np.ndarray]:
    """Return the form of each relation, scaled alike, in the directions where all act most.

    Only one is held whole at a time.
    """
    strengths: list[float] = []
    total = np.zeros((smooth.shape[1], smooth.shape[1]))
    for matrix in links:
        form = smooth.T @ _levelled(matrix, smooth)
        strengths.append(max(float(np.linalg.norm(form)), 1e-12))
        total += form.T @ form / strengths[-1] ** 2
    shared = principal(torch.from_numpy(total), size)[1].numpy()
    narrow = smooth @ shared
    pairs = zip(links, strengths, strict=True)
    return np.stack([narrow.T @ _levelled(one, narrow) / each for one, each in pairs]), shared


def _levelled(links: sparse.csr_array, numbers: np.ndarray) -> np.ndarray:
    """Multiply with links of which each counts less, the more its ends have."""
    matrix = sparse.csr_array(links > 0, dtype=np.float64)
    out, in_ = (np.maximum(matrix.sum(axis), 1) ** -DEGREE for axis in (1, 0))
    return (matrix @ (numbers * in_[:, None])) * out[:, None]
