"""Does conditioning win? Print the table of the main claim, seed by seed.

For each catalogue and seed: the frozen encoders, the model trained without conditioning, and the
model, all on the same questions among held-out items. Split, weights and batches change with the
seed; each model stops at its own best validation.

    python benchmarks/conditioning.py [--catalogue survival] [--seeds 5]
"""

import argparse
import time
from pathlib import Path

import numpy as np

from relatum import Catalogue, Config, train
from relatum.evaluate.baselines import FROZEN, frozen_method
from relatum.metrics import bootstrap
from relatum.protocols.questions import build_questions
from relatum.protocols.retrieval import Outcome, measure, model_method
from relatum.scores import Way
from relatum.train import without_conditioning

METRICS = ("hit@5", "other hit@5", "precision@10", "full mrr")


def run(catalogue: Catalogue, seed: int, cache: Path | None) -> dict[str, tuple[Outcome, Way]]:
    """Train both models with one seed; return each method's outcome and its best way."""
    config = Config(seed=seed)
    begun = time.perf_counter()
    model = train(catalogue, config, cache=cache)
    between = time.perf_counter()
    twin = train(catalogue, without_conditioning(config), cache=cache)
    print(
        f"  seed {seed}: trained in {between - begun:.0f} s, "
        f"without conditioning in {time.perf_counter() - between:.0f} s",
        flush=True,
    )
    assert model.split is not None
    by_id = {item.id: item for item in catalogue.items}
    items = [by_id[name] for name in model.split.test]
    tokens = model.encode(items, cache=cache)
    questions = build_questions(catalogue, model.split.test)
    frozen = measure("frozen", frozen_method(tokens), questions)
    found: dict[str, tuple[Outcome, Way]] = {FROZEN[way]: (frozen, way) for way in FROZEN}
    found["unconditioned"] = measure("", model_method(twin, tokens, ("both",)), questions), "both"
    found["conditioned"] = measure("", model_method(model, tokens, ("both",)), questions), "both"
    return found


def table(runs: list[dict[str, tuple[Outcome, Way]]]) -> None:
    """Print means and deviations over seeds, then the paired differences."""
    print(f"\n{'method':<16}" + "".join(f"{metric:>20}" for metric in METRICS))
    for name in runs[0]:
        cells = []
        for metric in METRICS:
            values = [outcome.mean(way, metric) for outcome, way in (one[name] for one in runs)]
            cells.append(f"{np.mean(values):.3f} ± {np.std(values, ddof=1):.3f}")
        print(f"{name:<16}" + "".join(f"{cell:>20}" for cell in cells))
    for rival in ("unconditioned", "best frozen"):
        difference(runs, rival)


def difference(runs: list[dict[str, tuple[Outcome, Way]]], rival: str) -> None:
    """Print conditioned minus rival, paired by query, with a 95 % interval over all seeds."""
    for metric in METRICS:
        groups, ratios = [], []
        for one in runs:
            name = best_frozen(one, metric) if rival == "best frozen" else rival
            (mine, way), (other, other_way) = one["conditioned"], one[name]
            pairs = zip(mine.groups(way, metric), other.groups(other_way, metric), strict=True)
            groups += [a - b for a, b in pairs]
            ratios.append(mine.mean(way, metric) / other.mean(other_way, metric) - 1)
        low, high = bootstrap(groups)
        mean = np.mean([group.mean() for group in groups])
        print(
            f"conditioned - {rival:<14} {metric:<13} {mean:+.3f} [{low:+.3f}, {high:+.3f}]"
            f"  relative {np.mean(ratios):+.1%}"
        )


def best_frozen(one: dict[str, tuple[Outcome, Way]], metric: str) -> str:
    """Return the frozen similarity that is best on this very metric: text, image or both."""
    names = [name for name in one if name.startswith("frozen")]
    return max(names, key=lambda name: one[name][0].mean(one[name][1], metric))


def main() -> None:
    """Run the catalogues asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--catalogue", action="append")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    for name in chosen.catalogue or ["survival", "furniture"]:
        print(f"{name}, {chosen.seeds} seeds", flush=True)
        catalogue = Catalogue.load(name)
        table([run(catalogue, seed, chosen.cache) for seed in range(chosen.seeds)])
        print()


if __name__ == "__main__":
    main()
