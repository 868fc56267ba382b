"""Two protocols on pairs of items: which relation links these two, and is this link real.

In: the questions of a catalogue's held-out items, a contestant's vectors of them.
Out: Top-1 and Top-3 over all relations; accuracy and AUC of a linear probe, and of the bare cosine.
This file does not know how vectors were made.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from jaxtyping import Bool, Float, Int
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from sklearn.pipeline import Pipeline, make_pipeline
from sklearn.preprocessing import FunctionTransformer, StandardScaler

from relatum.protocols.contestant import Contestant, Participants
from relatum.protocols.questions import Questions

PAIRS = 200  # of a relation at most


@dataclass(frozen=True)
class Pairs:
    """Linked pairs of items. `truth[pair, relation]` marks every relation that links the two."""

    questions: Sequence[Questions]
    sources: Int[np.ndarray, " pairs"]
    targets: Int[np.ndarray, " pairs"]
    asked: Int[np.ndarray, " pairs"]
    truth: Bool[np.ndarray, "pairs relations"]


def draw_pairs(questions: Sequence[Questions], seed: int = 0) -> Pairs:
    """Draw at most `PAIRS` linked pairs of each relation, in its forward direction.

    Pairs whose texts give the answer away are no links here, as in the questions.
    """
    rng = np.random.default_rng(seed)
    forward = [one for one in questions if not one.direction.is_backward]
    found: list[np.ndarray] = []
    for place, one in enumerate(forward):
        pairs = rng.permutation(np.argwhere(one.right))[:PAIRS]
        found.append(np.column_stack([pairs, np.full(len(pairs), place)]))
    sources, targets, asked = np.concatenate(found).T
    truth = np.stack([one.right[sources, targets] for one in forward], axis=1)
    return Pairs(forward, sources, targets, asked, truth)


@dataclass(frozen=True)
class TypeOutcome:
    """Per pair, was a true relation first, or among the first three?"""

    top1: Float[np.ndarray, " pairs"]
    top3: Float[np.ndarray, " pairs"]


def predict_types(contestant: Contestant, asked: Participants, pairs: Pairs) -> TypeOutcome:
    """Choose the relation by vectors alone: the cosine under each, in units of its own spread.

    The spread is that over all pairs of the items asked, so no label is used.
    """
    return _types(_standing(contestant, asked, pairs), pairs.truth)


def _standing(
    contestant: Contestant, asked: Participants, pairs: Pairs
) -> Float[np.ndarray, "pairs relations"]:
    method = contestant.method(asked, [contestant.ways[-1]])
    columns: list[np.ndarray] = []
    for one in pairs.questions:
        scores = next(iter(method(one.direction).values()))
        free = scores[~np.eye(len(scores), dtype=bool)]
        column = (scores[pairs.sources, pairs.targets] - free.mean()) / (free.std() + 1e-6)
        columns.append(column)
    return np.stack(columns, axis=1)


def _types(
    scores: Float[np.ndarray, "pairs relations"], truth: Bool[np.ndarray, "pairs relations"]
) -> TypeOutcome:
    order = np.argsort(-scores, axis=1, kind="stable")
    hits = np.take_along_axis(truth, order, axis=1)
    return TypeOutcome(hits[:, :1].any(1).astype(float), hits[:, :3].any(1).astype(float))


def probe_types(
    contestant: Contestant, asked: Participants, pairs: Pairs, seed: int = 0
) -> TypeOutcome:
    """Choose the relation by a linear probe fitted on the pairs of other items.

    It sees a * b and |a - b| of the vectors under no relation, and the cosine under each relation.
    """
    features = _pair_features(contestant, asked, pairs)
    scores = np.full(pairs.truth.shape, np.nan)
    for fitted, judged in _halves(pairs.sources, pairs.targets, len(asked.items), seed):
        if len(np.unique(pairs.asked[fitted])) < 2:
            continue
        probe = _probe(features[fitted], pairs.asked[fitted])
        made = np.zeros((len(judged), pairs.truth.shape[1]))
        made[:, probe.classes_] = probe.predict_proba(features[judged])
        scores[judged] = made
    done = ~np.isnan(scores[:, 0])
    return _types(scores[done], pairs.truth[done])


def _halves(
    sources: np.ndarray, targets: np.ndarray, count: int, seed: int
) -> list[tuple[np.ndarray, np.ndarray]]:
    """Cut the items in two; return the pairs within one half and within the other, both ways."""
    side = np.random.default_rng(seed).permutation(count) % 2
    one, other = (
        np.flatnonzero((side[sources] == here) & (side[targets] == here)) for here in (0, 1)
    )
    return [(one, other), (other, one)]


def _pair_features(contestant: Contestant, asked: Participants, pairs: Pairs) -> np.ndarray:
    sources, targets = (one.numpy() for one in contestant.ends(asked, None))
    a, b = sources[pairs.sources], targets[pairs.targets]
    return np.hstack([a * b, np.abs(a - b), _standing(contestant, asked, pairs)])


@dataclass(frozen=True)
class Validity:
    """Per claim: is it true, and how sure the probe and the bare cosine are."""

    truth: Bool[np.ndarray, " claims"]
    probed: Float[np.ndarray, " claims"]
    cosine: Float[np.ndarray, " claims"]

    def numbers(self) -> dict[str, float]:
        """Return accuracy and AUC of the probe, the AUC of the cosine alone, and the claims."""
        if not len(self.truth):
            return {"claims": 0.0}
        return {
            "validity accuracy": float(((self.probed > 0.5) == self.truth).mean()),
            "validity AUC": float(roc_auc_score(self.truth, self.probed)),
            "validity AUC, cosine": float(roc_auc_score(self.truth, self.cosine)),
            "claims": float(len(self.truth)),
        }


def judge_validity(
    contestant: Contestant, asked: Participants, questions: Sequence[Questions], seed: int = 0
) -> Validity:
    """Is a claimed link real? One linear probe on a * b under the claimed relation.

    As many false claims as true ones: half of the false pairs are linked under another relation,
    the others not at all. The probe is fitted on the claims about one half of the items and judged
    on the other half, both ways; claims across the halves are left out.
    """
    features, truth, ends = _claims(contestant, asked, questions, seed)
    probed = np.full(len(truth), np.nan)
    for fitted, judged in _halves(ends[:, 0], ends[:, 1], len(asked.items), seed):
        if len(np.unique(truth[fitted])) == 2 and len(judged):
            probe = _probe(features[fitted], truth[fitted])
            probed[judged] = probe.predict_proba(features[judged])[:, 1]
    done = ~np.isnan(probed)
    return Validity(truth[done], probed[done], features[done].sum(1))


def _claims(
    contestant: Contestant, asked: Participants, questions: Sequence[Questions], seed: int
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    rng = np.random.default_rng(seed)
    anything = np.logical_or.reduce([one.right | one.right.T for one in questions])
    features: list[np.ndarray] = []
    truths: list[np.ndarray] = []
    ends: list[np.ndarray] = []
    for one in questions:
        true = rng.permutation(np.argwhere(one.right))[:PAIRS]
        wrong = one.allowed & ~one.right
        hard = rng.permutation(np.argwhere(wrong & anything))[: len(true) // 2]
        easy = rng.permutation(np.argwhere(wrong & ~anything))[: len(true) - len(hard)]
        pairs = np.concatenate([true, hard, easy])
        a, b = (end.numpy() for end in contestant.ends(asked, one.direction))
        features.append(a[pairs[:, 0]] * b[pairs[:, 1]])
        truths.append(np.arange(len(pairs)) < len(true))
        ends.append(pairs)
    return np.concatenate(features), np.concatenate(truths), np.concatenate(ends)


def fit_probe(
    features: Float[np.ndarray, "rows width"], labels: np.ndarray, *, scaled: bool, strength: float
) -> Pipeline:
    """Fit a logistic regression; `strength` is its C, `scaled` brings all features to deviation 1.

    Of more features than rows only what the rows span is looked at, which changes no answer.
    """
    scale = (StandardScaler() if scaled else FunctionTransformer()).fit(features)
    turned = FunctionTransformer()
    if len(features) < features.shape[1]:
        turn = np.linalg.qr(np.asarray(scale.transform(features)).T)[0]
        turned = FunctionTransformer(lambda some: some @ turn)
    model = LogisticRegression(C=strength, max_iter=1000)
    return make_pipeline(scale, turned, model).fit(features, labels)


def _probe(features: np.ndarray, labels: np.ndarray) -> Pipeline:
    return fit_probe(features, labels, scaled=True, strength=0.01)
