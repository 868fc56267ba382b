"""What each kind of study compares.

In: the name of a kind.
Out: its variants: rivals with settings, the first of them the reference.
This file does not know how they are trained or judged.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from typing import Literal

from relatum.catalogue import Catalogue
from relatum.rivals import RIVALS, Rival

Kind = Literal["rivals", "ablations", "beta", "curve", "unseen", "groups", "domain"]
KINDS: tuple[Kind, ...] = ("rivals", "ablations", "beta", "curve", "unseen", "groups", "domain")
BETAS = (0.0, 0.25, 0.5, 0.75, 1.0)
SHARES = (0.01, 0.05, 0.1, 0.25, 0.5, 1.0)
SOME = ("relatum", "unconditioned", "gate")

ABLATIONS: Mapping[str, Mapping[str, object]] = {
    "no pairs between items": {"loss.inter_item": False},
    "no relation texts": {"model.conditioned": False},
    "no contrast within a modality": {"loss.intra_modal": False, "loss.both": 0.0},
    "no contrast across modalities": {"loss.across": 0.0},
    "no contrast of relations": {"loss.relations": 0.0},
    "no contrast of fused vectors": {"loss.both": 0.0},
    "no hard negatives": {"training.hard_share": 0.0},
    "no group texts": {"training.group_share": 0.0},
    "no paraphrases": {"training.paraphrase_share": 0.0},
    "no words of their own for new texts": {"model.words": 0.0, "model.words_weight": 0.0},
    "no doubt of new texts": {"model.doubt": 0.0},
    "no map of their own for relation texts": {"model.own_relation_map": False},
    "no null asks": {"training.null_share": 0.0},
    "no ridge": {"model.ridge_dim": 0},
    "nothing but the ridge": {"model.ridge_weight": 1e6, "training.steps": 1},
    "the paper's three terms alone": {
        "loss.both": 0.0,
        "loss.relations": 0.0,
        "loss.across": 1.0,
        "loss.within": 1.0,
    },
}


def variants(kind: Kind) -> list[Rival]:
    """Return the variants of a study, the reference first."""
    if kind == "rivals":
        return list(RIVALS)
    if kind == "ablations":
        return [
            named("relatum"),
            *(Rival(name, "", change, is_tuned=False) for name, change in ABLATIONS.items()),
        ]
    if kind == "beta":
        return [Rival(f"beta {beta}", "", {"model.beta": beta}, is_tuned=False) for beta in BETAS]
    if kind == "curve":
        return [
            _with(named(name), f"{name}, {share:.0%} of links", {"split.links": share})
            for name in ("relatum", "unconditioned")
            for share in SHARES[::-1]
        ]
    return [named(name) for name in SOME]


def named(name: str) -> Rival:
    """Return the rival of a name."""
    return next(rival for rival in RIVALS if rival.name == name)


def folds(kind: Kind, catalogue: Catalogue) -> list[Mapping[str, object]]:
    """Return the settings of each part of a study: one, or one for each two relations held out."""
    if kind == "groups":
        return [{"split.held_out_groups": 0.25}]
    if kind != "unseen":
        return [{}]
    names = [relation.id for relation in catalogue.relations]
    pairs: Sequence[Sequence[str]] = [
        names[start::half] for half in [(len(names) + 1) // 2] for start in range(half)
    ]
    return [{"split.held_out_relations": tuple(pair)} for pair in pairs]


def _with(rival: Rival, name: str, settings: Mapping[str, object]) -> Rival:
    return replace(rival, name=name, settings={**rival.settings, **settings})
