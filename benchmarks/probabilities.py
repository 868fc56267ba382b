"""Are the probabilities of a search right, for items neither trained on nor calibrated on?

Every test item is asked from under each relation, as it is; with the first seed by its text alone
and by its picture alone, too. Beside the mean probability of the first hit, and of the first ten,
stands the share of them that the catalogue links.

    python benchmarks/probabilities.py [furniture] [survival] [--seeds 3] [--cache DIR]
"""

import argparse
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from relatum import Catalogue, Config, Item, train
from relatum.catalogue import as_asked, directions, linked
from relatum.errors import RelatumError
from relatum.store import Query, Store

COLUMNS = "| relation | linked | said, first | right, first | said, ten | right, ten |"
KINDS = ("as they are", "by the text alone", "by the picture alone")
TOGETHER = 64  # searches in one call
Told = dict[str, np.ndarray]


def ask(name: str, seed: int, work: Path, cache: Path | None) -> dict[str, Told]:
    """Train and index, unless that is done; return what was said and what is right, by relation."""
    catalogue, folder = Catalogue.load(name), work / f"{name}-{seed}"
    model = train(catalogue, Config(seed=seed), folder / "model", resume=True, cache=cache)
    store = Store.build(model, catalogue, folder / "store", cache=cache)
    assert model.split is not None
    asked = [item for item in catalogue.items if item.id in {*model.split.test}]
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    found: dict[str, Told] = {kind: {} for kind in (KINDS[:1] if seed else KINDS)}
    for way in directions(model.relations):
        links = as_asked(linked(catalogue, way.relation, rows), way).toarray() > 0
        share = links[[rows[item.id] for item in asked]].any(1).mean()
        for kind in found:
            pairs = np.array([*answers(store, asked, kind, way.text, links, rows)])
            found[kind][way.text] = np.array([share, *pairs[:, 0].mean(0), *pairs.mean((0, 1))])
    return found


def answers(
    store: Store, asked: list[Item], kind: str, text: str, links: np.ndarray, rows: dict[str, int]
) -> Iterator[list[tuple[float, bool]]]:
    """Return each first ten: what probability is said, and whether the catalogue links the hit."""
    sources = [(item.id, source(item, kind)) for item in asked]
    told = [(id, one) for id, one in sources if None not in one.values()]
    for start in range(0, len(told), TOGETHER):
        some = told[start : start + TOGETHER]
        queries = [Query(**one, relation=text, k=11) for _, one in some]  # and perhaps itself
        for (id, _), hits in zip(some, store.search_many(queries), strict=True):
            if isinstance(hits, RelatumError):
                raise hits
            others = [hit for hit in hits if hit.id != id][:10]
            theirs = links[rows[id]]
            yield [(hit.probability or 0.0, theirs[rows[hit.id]]) for hit in others]


def source(item: Item, kind: str) -> dict[str, Any]:
    """Return what a search is told of an item."""
    if kind == "as they are":
        return {"item": item.id}
    return {"text": item.text} if kind == "by the text alone" else {"image": item.image}


def main() -> None:
    """Print a table a catalogue: means over seeds, then how far off they are on average."""
    parser = argparse.ArgumentParser()
    parser.add_argument("names", nargs="*", default=["furniture", "survival"])
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--work", type=Path, default=Path("runs/probabilities"))
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    for name in chosen.names:
        runs = [ask(name, seed, chosen.work, chosen.cache) for seed in range(chosen.seeds)]
        print(f"\n{name}\n\n{COLUMNS}\n|{' --- |' * 6}")
        whole = {
            kind: np.array([[*run[kind].values()] for run in runs if kind in run]) for kind in KINDS
        }
        for text, values in zip(runs[0][KINDS[0]], whole[KINDS[0]].mean(0), strict=True):
            print(f"| {text} | {' | '.join(f'{value:.2f}' for value in values)} |")
        print("\nOff by, mean of relations and seeds (mean said, mean right):")
        for kind, values in whole.items():
            for part, said in (("first", 1), ("ten", 3)):
                off = abs(values[..., said] - values[..., said + 1]).mean()
                ends = ", ".join(f"{values[..., at].mean():.2f}" for at in (said, said + 1))
                print(f"  {kind}, {part}: {off:.3f} ({ends})")


if __name__ == "__main__":
    main()
