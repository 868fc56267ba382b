"""What it costs to condition items on many relations: all at once, one by one, pair by pair.

Cached tokens of `furniture`, repeated; untrained weights, as their values cost nothing. One thread
and CPU seconds, so that what else the machine does counts little (--threads: more, by the clock).

The largest contraction is that of scores: all items as sources under all relations against all
items as targets, (relations x items, dim) x (dim, items). Its time here has the conditioning of the
sources in it, and is set beside the same product of vectors that are there already, and beside a
square product, measured in the same run. Conditioning alone has no such rate: it writes
relations x items x dim numbers, and multiplies few times for each, so GB/s are printed.

    python benchmarks/condition.py [--relations 1000] [--items 1000] [--repeats 3] [--threads 1]
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import torch

from fitted import fit_to_chance
from relatum import Catalogue, Config, Model
from relatum.batch import Tokens
from relatum.encoders import Encoder, Reduction, encode_items, find_reduction, load_encoder
from timing import spread, timed, worked

PAIRS = 300  # timed of all pairs, and scaled
ALONE = 20  # relations timed one by one, and scaled
ENCODED = 64  # items encoded, and scaled
AT_ONCE = 50  # relations whose vectors are held before they are scored
DIM = Config().model.dim


def many(model: Model, tokens: Tokens, texts: list[str]) -> None:
    """Condition all items on all relations, some relations at a time."""
    for start in range(0, len(texts), AT_ONCE):
        model.condition_many(tokens, texts[start : start + AT_ONCE])


def score(model: Model, tokens: Tokens, texts: list[str]) -> None:
    """Score all items as sources under all relations against all as targets."""
    targets, out = model.condition(tokens, None).both.T.contiguous(), torch.empty(0)
    for start in range(0, len(texts), AT_ONCE):
        sources = model.condition_many(tokens, texts[start : start + AT_ONCE]).flatten(0, 1)
        out = torch.mm(sources, targets, out=out.resize_(len(sources), targets.shape[1]))


def multiply(rows: int, inner: int, columns: int, block: int) -> None:
    """Multiply matrices of this shape, a block of rows at a time into the same memory."""
    left, right, out = torch.rand(block, inner), torch.rand(inner, columns), torch.empty(0)
    out.resize_(block, columns)
    for _ in range(0, rows, block):
        torch.mm(left, right, out=out)


def pair_by_pair(model: Model, tokens: Tokens, texts: list[str]) -> None:
    """Condition one item on one relation, again and again."""
    chance = np.random.default_rng(0)
    for row in chance.integers(len(tokens), size=PAIRS).tolist():
        text = texts[chance.integers(len(texts))]
        model.conditioner(tokens[row : row + 1], model.relation_part(text))


def model_of(beta: float, encoder: Encoder, reduction: Reduction) -> Model:
    """Make a model that has seen nothing."""
    config = Config.load(sets=[f"model.beta={beta}"])
    return Model(config, encoder, reduction)


@torch.no_grad()
def main() -> None:
    """Measure, interleaved, and print a Markdown table."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--relations", type=int, default=1000)
    parser.add_argument("--items", type=int, default=1000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--threads", type=int, default=1)
    chosen = parser.parse_args()
    torch.set_num_threads(chosen.threads)
    relations, count = chosen.relations, chosen.items
    texts = [f"go together in way number {number}" for number in range(relations)]
    items = [one for one in Catalogue.load("furniture").items if one.image and one.text][:200]
    encoder, config = load_encoder("starter"), Config()
    with tempfile.TemporaryDirectory() as folder:
        reduction = find_reduction(items, [], encoder, config.tokens, cache=Path(folder))
        few = encode_items(items, encoder, reduction, cache=Path(folder))
    tokens = few[torch.arange(count) % len(items)].float()
    plain, attends = (model_of(beta, encoder, reduction) for beta in (1.0, 0.5))
    for model in (plain, attends):
        model.relation_parts(texts)
        fit_to_chance(model, few.float(), texts[:100])
    pairs = relations * count
    clock = timed if chosen.threads > 1 else worked

    def encode() -> None:
        with tempfile.TemporaryDirectory() as folder:
            encode_items(items[:ENCODED], encoder, reduction, cache=Path(folder))

    shape = pairs, DIM, count
    ways: dict[str, tuple[Callable[[], object], float]] = {  # and how often it counts
        "at once": (lambda: many(plain, tokens, texts), 1),
        "one by one": (
            lambda: [plain.condition(tokens, t) for t in texts[:ALONE]],
            relations / len(texts[:ALONE]),
        ),
        "pair by pair": (lambda: pair_by_pair(plain, tokens, texts), pairs / PAIRS),
        "encoded again": (encode, pairs / ENCODED),
        "attention at once": (lambda: many(attends, tokens, texts), 1),
        "attention one by one": (
            lambda: [attends.condition(tokens, t) for t in texts[:ALONE]],
            relations / len(texts[:ALONE]),
        ),
        "attention pair by pair": (lambda: pair_by_pair(attends, tokens, texts), pairs / PAIRS),
        "scores": (lambda: score(plain, tokens, texts), 1),
        "product, shape of scores": (lambda: multiply(*shape, AT_ONCE * count), 1),
        "product, square": (lambda: multiply(4096, 4096, 4096, 4096), 1),
    }
    seconds = {name: [] for name in ways}
    for _ in range(chosen.repeats):
        for name, (work, times) in ways.items():
            seconds[name].append(times * clock(work))
    report(seconds, chosen)
    grow(plain, tokens, texts, clock)


def report(seconds: dict[str, list[float]], chosen: argparse.Namespace) -> None:
    """Print what was measured, min / median / max."""
    kind = "CPU seconds" if chosen.threads == 1 else "seconds"
    pairs = chosen.relations * chosen.items
    print(f"{chosen.relations} relations x {chosen.items} items, {chosen.threads} threads,", end="")
    print(f" {chosen.repeats} repeats; min / median / max\n")
    print(f"| | {kind} | times what `at once` takes |\n| --- | --- | --- |")
    for name, taken in seconds.items():
        if "product" in name or name == "scores":
            continue
        base = seconds["attention at once" if "attention" in name else "at once"]
        ratios = [one / other for one, other in zip(taken, base, strict=True)]
        print(f"| {name} | {spread(taken)} | {spread(ratios)} |")
    work = 2 * pairs * DIM * chosen.items
    rates = {name: [work / one / 1e9 for one in taken] for name, taken in seconds.items()}
    square = [2 * 4096**3 / one / 1e9 for one in seconds["product, square"]]
    print("\n| | GFLOP/s | share that scores reach |\n| --- | --- | --- |")
    print(f"| scores, conditioning included | {spread(rates['scores'])} | |")
    for name, those in (("shape of scores", rates["product, shape of scores"]), ("square", square)):
        shares = [one / other for one, other in zip(rates["scores"], those, strict=True)]
        print(f"| product alone, {name} | {spread(those)} | {spread(shares)} |")
    written = [4 * pairs * DIM / one / 1e9 for one in seconds["at once"]]
    print(f"\nvectors written at once: {spread(written)} GB/s")


def grow(model: Model, tokens: Tokens, texts: list[str], clock: Callable) -> None:
    """Print seconds from one relation to all, and the exponent."""
    sizes = [size for size in (1, 10, 100, 1000) if size <= len(texts)]
    times = [
        min(clock(lambda n=n: many(model, tokens, texts[:n])) for _ in range(3)) for n in sizes
    ]
    grown = ", ".join(f"{n}: {1e3 * t:.1f} ms" for n, t in zip(sizes, times, strict=True))
    slope = np.polyfit(np.log(sizes), np.log(times), 1)[0] if len(sizes) > 1 else 1.0
    print(f"\nrelations, {grown}; time ~ relations^{slope:.2f}")


if __name__ == "__main__":
    main()
