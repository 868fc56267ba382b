"""Are mined relations right, and does the noise report know which are not?

Four tables: communities recovered from simulated baskets as noise grows; what the noise report's
stability says about communities that are wrong; seconds as baskets grow; and models trained on a
relation of `survival` mined from noisy baskets, beside models trained on the true one.

    python benchmarks/relations.py [recovery] [report] [time] [training] [--seeds 5] [--cache DIR]
"""

import argparse
import json
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
from scipy.stats import spearmanr
from sklearn.metrics import adjusted_mutual_info_score, roc_auc_score

from relatum import Catalogue, Config, train
from relatum.catalogue import Group, Link
from relatum.metrics import bootstrap
from relatum.protocols.contestant import Participants, from_model
from relatum.protocols.questions import build_questions
from relatum.protocols.retrieval import Outcome, measure
from relatum.relations import Plan, Source
from relatum.relations.builders import build
from relatum.relations.noise import measure_noise
from relatum.relations.plan import Builder, Together

ITEMS, COMMUNITIES, BASKETS = 2000, 50, 50_000
RELATION = "place"  # of survival: "are found in the same place"


def popularity(items: int, rng: np.random.Generator) -> np.ndarray:
    """Return each item's share of sales, as Zipf has it, with exponent 0.8."""
    shares = rng.permutation(1 / np.arange(1, items + 1) ** 0.8)
    return shares / shares.sum()


def shop(
    folder: Path,
    groups: list[np.ndarray],
    items: int,
    baskets: int,
    noise: np.ndarray,
    *,
    seed: int,
    second: float = 0.3,
) -> None:
    """Write items and baskets of about six items, for one purpose or (with `second`) two.

    With the chance of its purpose's `noise`, an item is drawn from all by popularity instead.
    """
    rng = np.random.default_rng(seed)
    shares = popularity(items, rng)
    weights = np.array([shares[group].sum() for group in groups])
    first = rng.choice(len(groups), baskets, p=weights / weights.sum())
    other = rng.choice(len(groups), baskets, p=weights / weights.sum())
    other = np.where(rng.random(baskets) < second, other, first)
    basket = np.repeat(np.arange(baskets), 2 + rng.poisson(4, baskets))
    purpose = np.where(rng.random(len(basket)) < 0.5, first[basket], other[basket])
    item = rng.choice(items, len(basket), p=shares)
    own = rng.random(len(basket)) >= noise[purpose]
    for place, group in enumerate(groups):
        here = own & (purpose == place)
        item[here] = rng.choice(group, here.sum(), p=shares[group] / shares[group].sum())
    rows = [{"id": f"i{row}", "text": f"thing {row}", "image": None} for row in range(items)]
    (folder / "signals").mkdir(parents=True)
    (folder / "items.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    columns = {"basket": [f"b{b}" for b in basket], "item": [f"i{row}" for row in item]}
    pq.write_table(pa.table(columns), folder / "signals/baskets.parquet")


def planted(rng: np.random.Generator, communities: int = COMMUNITIES) -> np.ndarray:
    """Draw each item's community; sizes differ."""
    shares = rng.dirichlet(np.full(communities, 3.0))
    return rng.choice(communities, ITEMS, p=shares)


def members(truth: np.ndarray) -> list[np.ndarray]:
    """Return the items of each community."""
    return [np.flatnonzero(truth == one) for one in np.unique(truth)]


def found_groups(source: Source, settings: Builder) -> list[np.ndarray]:
    """Mine communities as rows."""
    return [
        np.array([source.rows[name] for name in group.items])
        for one in build(source, settings)
        for group in one.groups
    ]


def recovery(seeds: int) -> None:
    """Print AMI with the truth; an item in no community counts as one by itself."""
    print(f"\nrecovery: {ITEMS:,} items, {COMMUNITIES} communities; AMI, mean ± deviation")
    levels = (0.0, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8)
    print(f"{'baskets':>10}" + "".join(f"{f'{level:.0%} noise':>16}" for level in levels))
    for baskets in (20_000, 50_000, 200_000):
        cells = []
        for level in levels:
            scores = []
            for seed in range(seeds):
                truth = planted(np.random.default_rng(seed))
                with tempfile.TemporaryDirectory() as folder:
                    groups = members(truth)
                    noise = np.full(len(groups), level)
                    shop(Path(folder) / "s", groups, ITEMS, baskets, noise, seed=seed)
                    source = Source.open(Path(folder) / "s")
                    labels = -1 - np.arange(ITEMS)
                    found = found_groups(source, Together(shape="groups"))
                    for label, rows in enumerate(found):
                        labels[rows] = label
                scores.append(adjusted_mutual_info_score(truth, labels))
            cells.append(f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}")
        print(f"{baskets:>10,}" + "".join(f"{cell:>16}" for cell in cells), flush=True)


def report(seeds: int) -> None:
    """Print how well stability and held-out lift rank the communities by how right they are."""
    print(
        "\nnoise report: noise differs by community, 20 to 100 %; wrong: Jaccard with the most like"
    )
    print(
        "true community below 0.5; AUC of right over wrong, Spearman correlation with the Jaccard"
    )
    print(f"{'baskets':>10}{'wrong':>12}{'AUC stability':>16}{'AUC lift':>10}{'ρ stability':>13}")
    for baskets in (20_000, 50_000):
        rows = []
        for seed in range(seeds):
            rng = np.random.default_rng(seed)
            groups = members(planted(rng))
            noise = rng.permutation(np.linspace(0.2, 1, len(groups)))
            plan = Plan(relations=(Together(shape="groups"),))
            with tempfile.TemporaryDirectory() as folder:
                shop(Path(folder) / "s", groups, ITEMS, baskets, noise, seed=seed)
                source = Source.open(Path(folder) / "s")
                mined = build(source, plan.relations[0])
                lines = measure_noise(source, mined, plan)[1]
            sets = [{f"i{row}" for row in group} for group in groups]
            found = [set(group.items) for one in mined for group in one.groups]
            right = np.array([max(len(f & s) / len(f | s) for s in sets) for f in found])
            stability = np.array([line.stability for line in lines], dtype=float)
            lift = np.array([line.lift or 0.0 for line in lines])
            good = right >= 0.5
            scores = [roc_auc_score(good, values) for values in (stability, lift)]
            rows.append([1 - good.mean(), *scores, spearmanr(stability, right).statistic])
        mean, spread = np.mean(rows, axis=0), np.std(rows, axis=0, ddof=1)
        cells = [f"{value:.2f}±{s:.2f}" for value, s in zip(mean, spread, strict=True)]
        print(f"{baskets:>10,}{cells[0]:>12}{cells[1]:>16}{cells[2]:>10}{cells[3]:>13}", flush=True)


def seconds() -> None:
    """Print how long reading, counting and grouping take as baskets grow, and the exponent."""
    print(f"\ntime: {ITEMS:,} items, 30 % noise; processor seconds to read and find communities")
    truth = planted(np.random.default_rng(0))
    groups = members(truth)
    sizes, took = (100_000, 200_000, 400_000, 800_000), []
    for baskets in sizes:
        with tempfile.TemporaryDirectory() as folder:
            shop(Path(folder) / "s", groups, ITEMS, baskets, np.full(len(groups), 0.3), seed=0)
            begun = time.process_time()
            found_groups(Source.open(Path(folder) / "s"), Together(shape="groups"))
            took.append(time.process_time() - begun)
        print(f"{baskets:>10,} baskets {took[-1]:8.2f} s", flush=True)
    slope = np.polyfit(np.log(sizes), np.log(took), 1)[0]
    print(f"time grows with baskets to the power of {slope:.2f}")


def training(seeds: int, cache: Path | None) -> None:
    """Train on the true relation and on it as mined; ask both the true relation's questions."""
    whole = Catalogue.load("survival")
    rows = {item.id: row for row, item in enumerate(whole.items)}
    groups = [
        np.array([rows[name] for name in group.items])
        for group in whole.groups
        if group.relation == RELATION
    ]
    print(f"\ntraining: {RELATION!r} of survival, true or mined from baskets drawn from its")
    print(f"{len(groups)} overlapping groups; items and questions of the test split; {seeds} seeds")
    variants = [("true", 0, 0.0, None)]
    variants += [("mined links", 20_000, level, Together()) for level in (0.3, 0.5)]
    variants += [("mined groups", 20_000, 0.5, Together(shape="groups"))]
    results: dict[str, list[Outcome]] = {}
    for seed in range(seeds):
        for name, baskets, level, settings in variants:
            given, label = whole, name
            if settings is not None:
                given = mined_catalogue(whole, groups, baskets, level, settings, seed)
                label = f"{name}, {baskets:,}, {level:.0%} noise"
            outcome = trained(given, whole, seed, cache)
            results.setdefault(label, []).append(outcome)
            scores = [outcome.mean("both", metric) for metric in ("hit@5", "precision@10")]
            print(f"  seed {seed} {label}", *scores, flush=True)
    truth = results["true"]
    print(f"{'relation':<34}{'Hit@5':>18}{'other Hit@5':>18}{'precision@10':>18}   Hit@5 − true")
    for label, outcomes in results.items():
        cells = []
        for metric in ("hit@5", "other hit@5", "precision@10"):
            scores = [outcome.mean("both", metric) for outcome in outcomes]
            cells.append(f"{np.mean(scores):.3f} ± {np.std(scores, ddof=1):.3f}")
        pairs = zip(outcomes, truth, strict=True)
        gains = [o.groups("both", "hit@5")[0] - t.groups("both", "hit@5")[0] for o, t in pairs]
        low, high = bootstrap(gains)
        mean = np.mean([gain.mean() for gain in gains])
        print(f"{label:<34}" + "".join(f"{c:>18}" for c in cells), end="")
        print(f"   {mean:+.3f} [{low:+.3f}, {high:+.3f}]")


def mined_catalogue(
    whole: Catalogue,
    groups: list[np.ndarray],
    baskets: int,
    level: float,
    settings: Together,
    seed: int,
) -> Catalogue:
    """Return the catalogue with the relation as mined in the place of the true one."""
    with tempfile.TemporaryDirectory() as folder:
        noise = np.full(len(groups), level)
        shop(Path(folder) / "s", groups, len(whole.items), baskets, noise, seed=seed, second=0)
        (found,) = build(Source.open(Path(folder) / "s"), settings)
    ids = {f"i{row}": item.id for row, item in enumerate(whole.items)}
    links = tuple(
        Link(ids[link.source], RELATION, ids[link.target], link.weight) for link in found.links
    )
    mined = tuple(
        Group(RELATION, group.id, tuple(ids[name] for name in group.items))
        for group in found.groups
    )
    kept = tuple(group for group in whole.groups if group.relation != RELATION)
    return replace(whole, groups=kept + mined, links=whole.links + links)


def trained(given: Catalogue, whole: Catalogue, seed: int, cache: Path | None) -> Outcome:
    """Train on `given`, then ask the questions of `whole` about the test items."""
    model = train(given, Config(seed=seed), cache=cache)
    assert model.split is not None
    by_id = {item.id: item for item in whole.items}
    items = [by_id[name] for name in model.split.test]
    asked = Participants(items, model.encode(items, cache=cache))
    questions = build_questions(whole, model.split.test, relations=[RELATION])
    return measure("", from_model("", model).method(asked, ("both",)), questions)


def main() -> None:
    """Run the tables asked for, or all."""
    parser = argparse.ArgumentParser()
    parser.add_argument("tables", nargs="*")
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    wanted = chosen.tables or ["recovery", "report", "time", "training"]
    if "recovery" in wanted:
        recovery(chosen.seeds)
    if "report" in wanted:
        report(chosen.seeds)
    if "time" in wanted:
        seconds()
    if "training" in wanted:
        training(chosen.seeds, chosen.cache)


if __name__ == "__main__":
    main()
