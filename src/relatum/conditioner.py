"""Turn an item's encoding into vectors under a relation.

In: `Tokens` of items and the encoded text of one relation (None: the null relation).
Out: `Vectors`: one vector for the image, one for the text, one for both together.
This room knows tensors only: no items, no links, no losses.
"""

import math
from dataclasses import dataclass

import torch
from jaxtyping import Bool, Float, Int64
from torch import Tensor, nn
from torch.nn import functional

from relatum.batch import Part, Tokens, Vectors
from relatum.closed import mean_of, unit
from relatum.config import ModelConfig
from relatum.distributed import draw_rows
from relatum.ridge import Ridge, strangeness
from relatum.traits import Traits
from relatum.words import Words

KNOWN = 512  # relation texts that are remembered, to tell a new text from a known one
ALONE = 0.75  # power of a cosine: 0 takes an image alone, or a text, for the whole item
TINY = 1e-24  # the least square of a length
# images, texts, what is wanted by links alone and by words alone
Maps = tuple[
    Float[Tensor, "1 batch learned"],
    Float[Tensor, "1 batch learned"],
    Float[Tensor, "batch closed"],
    Float[Tensor, "batch said"],
]


class Conditioner(nn.Module):
    """A linear map of each pooled vector, whose dimensions the relation weighs.

    Who is asked for stands under the relation, what is wanted under the null relation: their
    cosine is sum_d g_d(relation) a_d b_d, a product of three as in DistMult (arXiv 1412.6575), with
    weights that are read from the relation's text and may be negative. So the vectors of what is
    wanted do not change with the relation, and one index answers any relation.

    The less a text is like those that were trained on, the less its weights are trusted, and the
    more its own words count, as far as `words` finds them worth it: it is mapped as the text of an
    item would be and added, and its cosine with items' texts counts too; like texts of groups, it
    gets a hint of who belongs (`traits`). With `own_relation_map`
    relation texts go through a map of their own before all that. With `beta` below 1 an attention
    over the tokens, its query the relation, is mixed in (RCML, arXiv 2508.17497). The fused vector
    weighs image against text by the relation. Its last dimensions are those of `ridge`, then those
    of `words`, which are fitted when all else is trained; they are zero until then, and in the
    vectors of one modality.

    Of an item without text, or without image, less is known. Its vector as what is wanted is as
    much shorter as `fit_alone` finds: else a source that has no text either would find such items
    first, as they are made of the same and nothing else.
    """

    known: Tensor
    centre: Tensor
    alone: Tensor

    def __init__(self, blank: Tokens, config: ModelConfig) -> None:
        """Take the widths from a blank item."""
        super().__init__()
        self.config = config
        width = blank.text.pooled.shape[1]
        self.image = _Tower(blank.image, width, config)
        self.text = _Tower(blank.text, width, config)
        self.null = nn.Parameter(torch.randn(1, width))
        self.share = nn.Linear(width, 1)
        nn.init.zeros_(self.share.weight)
        nn.init.zeros_(self.share.bias)
        self.ridge = Ridge(blank, config.closed_dim)
        self.words = Words(width, config.said_dim)
        self.traits = Traits(width, config.closed_dim)
        self.relation = _as_it_is(width) if config.own_relation_map else nn.Identity()
        self.register_buffer("known", torch.zeros(KNOWN, width))
        self.register_buffer("centre", torch.zeros(1, width))
        self.register_buffer("alone", torch.ones(2))  # lengths of an image alone, of a text alone

    def start(self, items: Tokens, texts: Part | None) -> None:
        """See the training items and the relation texts before training, the plain texts first."""
        self.centre.copy_(mean_of(items.text))
        if texts is not None:
            some = unit(texts.pooled[:KNOWN])
            self.known[: len(some)] = some

    def forward(self, tokens: Tokens, relation: Part | None) -> Vectors:
        """Condition every item on one relation."""
        return self.under(self.map(tokens), tokens, relation)[0]

    def reach(self, vectors: Float[Tensor, "*batch dim"]) -> Float[Tensor, "*batch"]:
        """Return how much of fused vectors comes of links alone: the length of that part."""
        end = vectors.shape[-1] - self.words.size
        return vectors[..., end - self.ridge.size : end].norm(dim=-1)

    def map(self, tokens: Tokens) -> Maps:
        """Return what no relation changes: the linear maps of images and of texts."""
        texts = self.text(self._centred(tokens.text.pooled))
        said = self.words.wanted(tokens.text) * _there(tokens)
        return self.image(_level(tokens.image.pooled)), texts, self.ridge.wanted(tokens), said

    def under(self, maps: Maps, tokens: Tokens, relations: Part | None) -> Vectors:
        """Condition every item on each relation: (relations, items, dim); None is one relation."""
        if not self.config.conditioned:
            relations = None
        told = None if relations is None else self.read(relations)
        asked = self.null if told is None else told.asked
        image = self.image.attend(maps[0], tokens.image, asked)
        text = self.text.attend(maps[1], tokens.text, asked)
        share = torch.tensor(0.5)
        if told is not None:
            image = functional.normalize(image * told.image, dim=-1) + told.pull
            text = functional.normalize(text * told.text, dim=-1) + told.pull
            share = told.share
        image = functional.normalize(image, dim=-1) * tokens.image.present.unsqueeze(-1)
        text = functional.normalize(text, dim=-1) * tokens.text.present.unsqueeze(-1)
        both = functional.normalize(share * text + (1 - share) * image, dim=-1)
        scale, closed = self.ridge.beside(maps[2], relations, self.config.ridge_weight)
        left, said = (self.words.left, maps[3]) if told is None else (told.left, told.said)
        closed, whole = self._hinted(closed * left, told, tokens)
        rows = *both.shape[:-1], -1
        parts = both * scale * left, closed.expand(rows), said.expand(rows)
        both = torch.cat(parts, dim=-1) * (whole if told is not None else self._lengths(tokens))
        gap = (0, self.ridge.size + self.words.size)
        return Vectors(functional.pad(image, gap), functional.pad(text, gap), both)

    def fuse(
        self,
        maps: Maps,
        tokens: Tokens,
        relations: Part,
        told: "Told",
        out: Float[Tensor, "relations batch dim"],
    ) -> None:
        """Write the fused vectors of `under` to `out`, faster where beta is 1; without gradients.

        `told` is what `read` gives of the relations, which is the same for all items.

        A fused vector is a sum of the weighed image, the weighed text and the pull. How much of
        each follows from their inner products, which are products of matrices; so its numbers are
        written once, where `under` goes over them some twenty times.
        """
        if self.config.beta < 1 or not self.config.conditioned:
            out[:] = self.under(maps, tokens, relations).both
            return
        image, text = (part[0] for part in maps[:2])
        sizes = [self.config.learned_dim, self.ridge.size, self.words.size]
        learned, closed, said = out.split(sizes, dim=-1)
        amounts = (one.unsqueeze(-1) for one in self._amounts(told, image, text, tokens))
        parts = zip(learned, *amounts, told.image, told.text, told.pull, strict=True)
        for vectors, i, t, p, by_image, by_text, pull in parts:
            torch.mul(image, by_image, out=vectors).mul_(i)
            vectors.addcmul_(text * by_text, t).addcmul_(p, pull)
        scale, found = self.ridge.beside(maps[2], relations, self.config.ridge_weight)
        found, whole = self._hinted(found * told.left, told, tokens)
        learned.mul_(scale * told.left * whole)
        torch.mul(found, whole, out=closed)
        torch.mul(told.said, whole, out=said)

    def cosines(
        self,
        maps: Maps,
        tokens: Tokens,
        relations: Part,
        rows: Int64[Tensor, " pairs"],
        others: Float[Tensor, "pairs dim"],
    ) -> Float[Tensor, "relations pairs"]:
        """Return the cosines of the fused vectors of `rows` of `under` with other vectors.

        As in `fuse`, no vector is made where beta is 1: a cosine is a sum of inner products. For
        training: nothing is there of the ridge and of words yet.
        """
        if self.config.beta < 1 or not self.config.conditioned:
            return (self.under(maps, tokens, relations).both[:, rows] * others).sum(-1)
        others = others[:, : self.config.learned_dim]
        told, (image, text) = self.read(relations), (part[0][rows] for part in maps[:2])
        i, t, p = self._amounts(told, image, text, tokens[rows])
        by_image, by_text, pull = told.image[:, 0], told.text[:, 0], told.pull[:, 0]
        found = i * (by_image @ (image * others).T) + t * (by_text @ (text * others).T)
        return found + p * (pull @ others.T)

    def fit_alone(self, tokens: Tokens) -> None:
        """Find how long vectors of items are that have an image alone, or a text alone.

        To a source that has both, such an item is less like than its whole self already, by their
        cosine; to one of the same kind it is not, but whole items are. `ALONE` lies between. Where
        no item has both, all are of one kind, and as long as they are.
        """
        some = tokens[tokens.image.present & tokens.text.present]
        self.alone.fill_(1)
        if len(some):
            whole, sides = self(some, None).both, (some.only("image"), some.only("text"))
            near = [(whole * self(side, None).both).sum(-1).mean() for side in sides]
            self.alone.copy_(torch.stack(near).clamp(0, 1) ** ALONE)

    def _lengths(self, tokens: Tokens) -> Float[Tensor, "batch 1"]:
        """Return how long the vectors of items are as what is wanted; 0 of those with nothing."""
        image, text = tokens.image.present, tokens.text.present
        by_text = self.alone[1] * text
        return torch.where(image, torch.where(text, 1.0, self.alone[0]), by_text).unsqueeze(-1)

    def _hinted(
        self, closed: Float[Tensor, "*some closed"], told: "Told | None", tokens: Tokens
    ) -> tuple[Float[Tensor, "*some closed"], Float[Tensor, "*any 1"]]:
        """Add the hint to these numbers of vectors; return by what all have length 1 then."""
        there = _there(tokens).to(closed.dtype)
        if told is None or not self.traits.is_fitted:
            return closed, there
        along = closed @ told.hint.mT
        square = 1 + 2 * along + told.hint.square().sum(-1, keepdim=True)
        return closed + told.hint, square.clamp_min(TINY).rsqrt() * there

    def _amounts(
        self,
        told: "Told",
        image: Float[Tensor, "batch dim"],
        text: Float[Tensor, "batch dim"],
        tokens: Tokens,
    ) -> tuple[Float[Tensor, "relations batch"], ...]:
        """Return how much of the weighed image, of the weighed text and of the pull is fused."""
        by_image, by_text, pull = told.image[:, 0], told.text[:, 0], told.pull[:, 0]
        ii, tt = by_image.square() @ image.square().T, by_text.square() @ text.square().T
        it = (by_image * by_text) @ (image * text).T
        ip, tp = (by_image * pull) @ image.T, (by_text * pull) @ text.T
        pp, share = pull.square().sum(-1, keepdim=True), told.share[:, 0]
        i, i_pull = _scaled(ii, ip, pp, (1 - share) * tokens.image.present)
        t, t_pull = _scaled(tt, tp, pp, share * tokens.text.present)
        p = i_pull + t_pull
        square = i * i * ii + t * t * tt + p * p * pp + 2 * (i * t * it + i * p * ip + t * p * tp)
        length = square.clamp_min(TINY).rsqrt()
        return i * length, t * length, p * length

    def read(self, relations: Part) -> "Told":
        """Return what relations say whatever the items."""
        known_as = self._known_as(relations.pooled).unsqueeze(1)
        pooled = self.relation(known_as)
        asked = unit(pooled) * math.sqrt(pooled.shape[-1])
        strange = self._strangeness(known_as)
        trust = 1 - self.config.doubt * strange
        image, text = (1 + trust * tower.weights(asked) for tower in (self.image, self.text))
        mark = self.words.mark(relations.pooled).unsqueeze(1)
        own = functional.normalize(self.text.whole(self._centred(pooled)), dim=-1)
        pull = self.config.words * strange * mark.clamp_max(1) * own
        amount = self.config.words_weight * strange * mark
        left, said = self.words.asking(relations.pooled.unsqueeze(1), amount)
        share = torch.sigmoid(self.share(asked))
        # a deviation of so much of the cosines with what is wanted, whose last numbers are shorter
        shorter = (1 + 1 / max(self.config.ridge_weight, TINY)) ** 0.5 / self.words.left
        hint = self.config.traits * strange * shorter * self.traits.pull(relations.pooled)[:, None]
        return Told(asked, image, text, pull, share, left, said, hint)

    def _known_as(
        self, pooled: Float[Tensor, "relations width"]
    ) -> Float[Tensor, "relations width"]:
        """Return what stands for each relation: here its text's own vector."""
        return pooled

    def _centred(self, pooled: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
        return unit(unit(pooled) - self.centre) * math.sqrt(pooled.shape[-1])

    def _strangeness(self, pooled: Float[Tensor, "*any width"]) -> Float[Tensor, "*any 1"]:
        """Return how little each text is like the relations trained on: 0 for these, 1 at most."""
        nearest = (unit(pooled.detach()) @ self.known.T).amax(-1, keepdim=True)
        return strangeness(nearest)


class _Tower(nn.Module):
    """One modality."""

    def __init__(self, part: Part, asked: int, config: ModelConfig) -> None:
        super().__init__()
        self.config = config
        self.whole = nn.Linear(part.pooled.shape[1], config.learned_dim)
        nn.init.orthogonal_(self.whole.weight)  # starts as the encoder's own space
        nn.init.zeros_(self.whole.bias)
        self.weights = nn.Linear(asked, config.learned_dim)
        nn.init.zeros_(self.weights.weight)  # and with all dimensions alike
        nn.init.zeros_(self.weights.bias)
        if config.beta < 1:
            hidden = part.tokens.shape[2]
            self.query = nn.Linear(asked, hidden)
            self.value = nn.Linear(hidden, config.learned_dim)

    def forward(self, features: Float[Tensor, "batch width"]) -> Float[Tensor, "1 batch dim"]:
        """Return unit vectors; in training, the same dimensions are dropped for all items."""
        kept = functional.dropout(torch.ones_like(features[:1]), self.config.dropout, self.training)
        return functional.normalize(self.whole(features * kept), dim=-1).unsqueeze(0)

    def attend(
        self,
        whole: Float[Tensor, "1 batch dim"],
        part: Part,
        asked: Float[Tensor, "*relations 1 asked"],
    ) -> Float[Tensor, "some batch dim"]:
        """Mix in what each relation attends to."""
        if self.config.beta == 1:
            return whole
        found = functional.normalize(self._pool(part.tokens, part.mask, asked), dim=-1)
        mixed = self.config.beta * whole + (1 - self.config.beta) * found
        return functional.normalize(mixed, dim=-1)

    def _pool(
        self,
        tokens: Float[Tensor, "batch tokens hidden"],
        mask: Bool[Tensor, "batch tokens"],
        asked: Float[Tensor, "*relations 1 asked"],
    ) -> Float[Tensor, "some batch dim"]:
        tokens = _level(tokens)
        if self.training:
            mask = mask & (draw_rows(mask) > self.config.token_dropout)
        queries = self.query(asked).flatten(0, -2)
        scores = (tokens @ queries.T) / math.sqrt(tokens.shape[2])
        weights = scores.masked_fill(~mask.unsqueeze(-1), torch.finfo(scores.dtype).min).softmax(1)
        if len(queries) > tokens.shape[1]:  # fewer tokens than there would be pooled ones
            return (weights.mT @ self.value(tokens)).transpose(0, 1)
        return self.value((weights.mT @ tokens).transpose(0, 1))


@dataclass(frozen=True)
class Told:
    """What relations say: weights of dimensions, a pull, the text's share of a fusion, words.

    And a hint at who belongs to a group of such a text.
    """

    asked: Float[Tensor, "relations 1 asked"]
    image: Float[Tensor, "relations 1 dim"]
    text: Float[Tensor, "relations 1 dim"]
    pull: Float[Tensor, "relations 1 dim"]
    share: Float[Tensor, "relations 1 1"]
    left: Float[Tensor, "relations 1 1"]
    said: Float[Tensor, "relations 1 said"]
    hint: Float[Tensor, "relations 1 closed"]


def _scaled(
    square: Float[Tensor, "relations batch"],
    along: Float[Tensor, "relations batch"],
    pull: Float[Tensor, "relations 1"],
    share: Float[Tensor, "relations batch"],
) -> tuple[Float[Tensor, "relations batch"], Float[Tensor, "relations batch"]]:
    """Return how much of a weighed map and of the pull make a vector of length `share`.

    The map is first brought to length 1: `square` is its square, `along` its product with the pull.
    """
    inverse = square.clamp_min(TINY).rsqrt()
    whole = share * (1 + 2 * along * inverse + pull).clamp_min(TINY).rsqrt()
    return whole * inverse, whole


def _there(tokens: Tokens) -> Bool[Tensor, "batch 1"]:
    """Return which items have an image or a text."""
    return (tokens.image.present | tokens.text.present).unsqueeze(-1)


def _as_it_is(width: int) -> nn.Linear:
    """Return a map that changes nothing before it is trained."""
    layer = nn.Linear(width, width, bias=False)
    nn.init.eye_(layer.weight)
    return layer


def _level(features: Float[Tensor, "*any width"]) -> Float[Tensor, "*any width"]:
    """Bring each vector to mean 0 and deviation 1."""
    return functional.layer_norm(features, features.shape[-1:])
