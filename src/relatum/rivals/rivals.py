"""Every trained rival: what it changes of relatum's settings and of its run.

In: a rival, a catalogue, settings.
Out: a trained model, at its own best length and learning rate on the validation items.
This file does not know how rivals are judged.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from relatum.catalogue import Catalogue
from relatum.config import Config
from relatum.model import Model
from relatum.rivals import heads, losses
from relatum.train import Recipe, train

RATES = (5e-4, 2e-3)  # to choose from


@dataclass(frozen=True)
class Rival:
    """A method that trains: `settings` by dotted name, and the recipe.

    It chooses its learning rate on the validation items, unless it is not tuned.
    """

    name: str
    about: str
    settings: Mapping[str, object] = field(default_factory=dict)
    recipe: Recipe = field(default_factory=Recipe)
    is_tuned: bool = True

    @property
    def is_blind(self) -> bool:
        """Return whether it sees no relation."""
        return self.settings.get("model.conditioned") is False


BLIND = {"model.conditioned": False}
ACROSS = {**BLIND, "loss.both": 0.0, "loss.within": 0.0, "loss.across": 1.0}

RIVALS: tuple[Rival, ...] = (
    Rival("relatum", "as it is", is_tuned=False),
    Rival("unconditioned", "relatum without relation texts, on the same linked pairs", BLIND),
    Rival(
        "CLIP, own pairs",
        "linear heads, own image-text pairs only",
        {**ACROSS, "loss.inter_item": False},
        Recipe(heads.Head),
    ),
    Rival(
        "CLIP, linked pairs",
        "linear heads, all linked pairs, all contrasts",
        BLIND,
        Recipe(heads.Head),
    ),
    Rival(
        "UniCL",
        "linear heads, many positives across modalities",
        ACROSS,
        Recipe(heads.Head, losses.unicl),
    ),
    Rival(
        "SigLIP",
        "linear heads, sigmoid loss on all contrasts",
        BLIND,
        Recipe(heads.Head, losses.siglip, bias=-10.0),
    ),
    Rival(
        "DeCLIP",
        "linear heads, own pairs and nearest neighbours",
        ACROSS,
        Recipe(heads.Head, losses.declip),
    ),
    Rival(
        "CIRP",
        "linear heads, own pairs and one related item's",
        ACROSS,
        Recipe(heads.Head, losses.cirp),
    ),
    Rival(
        "mask by id",
        "a mask over dimensions for each relation (CSN)",
        recipe=Recipe(heads.Mask, symmetric=True),
    ),
    Rival(
        "gate",
        "the relation's text scales and shifts dimensions (FiLM)",
        recipe=Recipe(heads.Gate, symmetric=True),
    ),
    Rival(
        "attention",
        "the paper's attention pooling, beta 0.5 (RCML)",
        recipe=Recipe(heads.Attention, symmetric=True),
    ),
    Rival(
        "image pooling",
        "only the image is pooled by the relation (FLAIR)",
        recipe=Recipe(heads.ImagePooling, symmetric=True),
    ),
    Rival(
        "both ends told",
        "relatum with targets under the relation too, as in the paper",
        {"model.ridge_dim": 0},
        Recipe(symmetric=True),
        is_tuned=False,
    ),
    Rival(
        "query attention",
        "the paper's attention for the query, targets under the null relation (MagicLens)",
        recipe=Recipe(heads.Attention),
    ),
    Rival(
        "codes by id",
        "relatum with a table of relations instead of texts",
        recipe=Recipe(heads.ById),
        is_tuned=False,
    ),
    Rival("TransE", "source + relation near target", recipe=Recipe(heads.Translation)),
    Rival("DistMult", "<source, relation, target>", recipe=Recipe(heads.Product)),
    Rival(
        "gate + ridge",
        "the gate for the query alone, with relatum's closed form beside it",
        recipe=Recipe(heads.GateBeside),
    ),
    Rival(
        "DistMult + ridge",
        "DistMult, with relatum's closed form beside it",
        recipe=Recipe(heads.ProductBeside),
    ),
)


def changed(config: Config, settings: Mapping[str, object]) -> Config:
    """Return the settings with some changed by dotted name.

    >>> changed(Config(), {"model.beta": 1.0}).model.beta
    1.0
    """
    values = config.model_dump()
    for name, value in settings.items():
        *path, last = name.split(".")
        table = values
        for part in path:
            table = table[part]
        table[last] = value
    return Config(**values)


def train_rival(
    rival: Rival, catalogue: Catalogue, config: Config, *, cache: Path | None = None
) -> Model:
    """Train a rival once for each learning rate; return the best on the validation items."""
    rates = RATES if rival.is_tuned else (config.training.learning_rate,)
    models = []
    for rate in rates:
        settings = changed(config, {"training.learning_rate": rate, **rival.settings})
        models.append(train(catalogue, settings, cache=cache, recipe=rival.recipe))
    return max(models, key=lambda model: model.validation)
