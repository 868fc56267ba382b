"""What a few example pairs add to a relation that was never trained on.

For each two relations of a catalogue a model is trained without them; then the questions of these
two are asked of test items, with no example, or with some, drawn from the links among training
items. The twin without relation texts gets the same examples.

    python benchmarks/examples.py [--seeds 3] [--jobs 2] [--work runs/examples] [--cache DIR]
"""

import argparse
import os
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from itertools import product
from multiprocessing import get_context
from pathlib import Path

import numpy as np
import torch

from relatum import Catalogue, Config, Model, train
from relatum.catalogue import Direction, linked
from relatum.examples import gains
from relatum.metrics import bootstrap, macro_mean
from relatum.protocols.questions import build_questions
from relatum.protocols.retrieval import Outcome, measure

COUNTS = (0, 5, 10, 30)
SHOWN = {"hit@5": "Hit@5", "other hit@5": "other relation", "precision@10": "precision@10"}


def one_fold(name: str, seed: int, held: list[str], work: Path, cache: Path | None) -> dict:
    """Train both models, unless they are there; return their outcomes by kind and examples."""
    torch.set_num_threads(1)
    catalogue, found = Catalogue.load(name), {}
    for kind, is_told in (("relatum", True), ("without texts", False)):
        settings = {"split": {"held_out_relations": held}, "model": {"conditioned": is_told}}
        config = Config.model_validate({"seed": seed, **settings})
        folder = work / f"{name}-{seed}-{'-'.join(held)}-{kind.replace(' ', '-')}"
        model = train(catalogue, config, folder, resume=True, cache=cache)
        for count in COUNTS:
            found[kind, count] = outcome(catalogue, model, held, count, seed, cache)
    return found


def outcome(
    catalogue: Catalogue, model: Model, held: list[str], count: int, seed: int, cache: Path | None
) -> Outcome:
    """Ask the questions of the held-out relations about test items."""
    assert model.split is not None
    by_id = {item.id: item for item in catalogue.items}
    train_ids, test_ids = model.split.train, model.split.test
    seen = model.encode([by_id[name] for name in train_ids], cache=cache)
    asked = model.encode([by_id[name] for name in test_ids], cache=cache)
    plain, wanted = (model.condition(tokens, None).both for tokens in (seen, asked))
    rows = {name: row for row, name in enumerate(train_ids)}

    def scores(direction: Direction) -> dict:
        sources = model.condition(asked, direction.text).both
        links = linked(catalogue, direction.relation, rows)
        ends = np.stack((links.T if direction.is_backward else links).tocsr().nonzero(), axis=1)
        few = np.random.default_rng(seed).permutation(ends)[:count]
        if len(few):
            asking = model.condition(seen[torch.from_numpy(few[:, 0])], direction.text).both
            sources = sources * gains(asking, plain[few[:, 1]], plain)
        return {"both": (sources @ wanted.T).numpy()}

    return measure("", scores, build_questions(catalogue, test_ids, relations=held))


def main() -> None:
    """Run all and print a table a catalogue."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=3)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/examples"))
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    os.environ["OMP_NUM_THREADS"] = "1"
    with ProcessPoolExecutor(chosen.jobs, mp_context=get_context("spawn")) as pool:
        for name in ("survival", "furniture"):
            names = [relation.id for relation in Catalogue.load(name).relations]
            half = (len(names) + 1) // 2
            held = [names[start::half] for start in range(half)]
            jobs = [
                pool.submit(one_fold, name, seed, some, chosen.work, chosen.cache)
                for seed, some in product(range(chosen.seeds), held)
            ]
            cells = [job.result() for job in jobs]
            table(name, [cell for cell in cells if cell[next(iter(cell))].values])


def table(name: str, cells: Sequence[dict]) -> None:
    """Print means over all, and the difference from the twin without texts or examples."""
    print(f"\n{name}: relations never trained on, {len(cells)} trainings each")
    print("| asked of | examples | " + " | ".join(SHOWN.values()) + " |")
    print("| --- | --- |" + " --- |" * len(SHOWN), flush=True)
    for kind, count in cells[0]:
        shown = []
        for metric in SHOWN:
            groups, base = (
                [g for cell in cells for g in cell[key].values["both"][metric].values()]
                for key in ((kind, count), ("without texts", 0))
            )
            low, high = bootstrap([one - other for one, other in zip(groups, base, strict=True)])
            mean, start = (macro_mean(some) for some in (groups, base))
            gap = f"{100 * (mean - start):+.1f} [{100 * low:+.1f}, {100 * high:+.1f}]"
            shown.append(f"{100 * mean:.1f} ({gap})")
        print(f"| {kind} | {count} | " + " | ".join(shown) + " |", flush=True)


if __name__ == "__main__":
    main()
