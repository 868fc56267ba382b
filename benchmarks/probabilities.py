"""Are the probabilities of a search right, for items neither trained on nor calibrated on?

Every test item is asked from under each relation. Beside the mean probability of the first hit, and
of the first ten, stands the share of them that the catalogue links.

    python benchmarks/probabilities.py [furniture] [survival] [--seeds 3] [--cache DIR]
"""

import argparse
from pathlib import Path

import numpy as np

from relatum import Catalogue, Config, train
from relatum.catalogue import as_asked, directions, linked
from relatum.store import Store

COLUMNS = "| relation | linked | said, first | right, first | said, ten | right, ten |"


def ask(name: str, seed: int, work: Path, cache: Path | None) -> dict[str, np.ndarray]:
    """Train and index, unless that is done; return what was said and what is right, by relation."""
    catalogue, folder = Catalogue.load(name), work / f"{name}-{seed}"
    model = train(catalogue, Config(seed=seed), folder / "model", resume=True, cache=cache)
    store = Store.build(model, catalogue, folder / "store", cache=cache)
    assert model.split is not None
    rows = {item.id: row for row, item in enumerate(catalogue.items)}
    found: dict[str, np.ndarray] = {}
    for way in directions(model.relations):
        links = as_asked(linked(catalogue, way.relation, rows), way).toarray() > 0
        lists: list[list[tuple[float, bool]]] = []
        for item in model.split.test:
            hits = store.search(item=item, relation=way.text, k=10)
            theirs = links[rows[item]]
            lists.append([(hit.probability or 0.0, theirs[rows[hit.id]]) for hit in hits])
        pairs = np.array(lists, dtype=float)
        share = links[[rows[item] for item in model.split.test]].any(1).mean()
        found[way.text] = np.array([share, *pairs[:, 0].mean(0), *pairs.mean((0, 1))])
    return found


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
        for text in runs[0]:
            cells = " | ".join(f"{value:.2f}" for value in np.mean([run[text] for run in runs], 0))
            print(f"| {text} | {cells} |")
        whole = np.array([[*run.values()] for run in runs])
        off = [abs(whole[..., said] - whole[..., said + 1]).mean() for said in (1, 3)]
        print(f"\nOff by, mean of relations and seeds: first {off[0]:.3f}, ten {off[1]:.3f}")


if __name__ == "__main__":
    main()
