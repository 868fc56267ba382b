"""What a graphics card does: the same work on the processors and on the card, in one run.

The catalogue is the one that ships (pictures are decoded, nothing is cached); tuned towers are
CLIP's of ViT-B/32 with weights drawn at random.

    python benchmarks/card.py [--repeats 3]
"""

import argparse
import tempfile
from collections.abc import Callable
from pathlib import Path

import torch

from fitted import fit_to_chance
from parity import synthetic, write_clip
from relatum import Catalogue, Config, Model
from relatum.batch import Tokens
from relatum.encoders import encode_items, find_reduction, load_encoder
from relatum.progress import silent
from relatum.train.run import Run, prepare
from relatum.train.step import take_step
from timing import spread, timed

CPU, CARD = torch.device("cpu"), torch.device("cuda")
POOL, CHUNK = 1024, 64


def main() -> None:
    """Measure and print Markdown tables."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--repeats", type=int, default=3)
    repeats = parser.parse_args().repeats
    if not torch.cuda.is_available():
        raise SystemExit("expected a graphics card, found none")
    print(f"{torch.cuda.get_device_name()}; {torch.get_num_threads()} threads of the processors;")
    print(f"torch {torch.__version__}; {repeats} repeats; min / median / max\n")
    print("| work | processors | card | times faster |\n| --- | --- | --- | --- |")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        model, tokens = encode(folder, repeats)
        condition(model, tokens, repeats)
        frozen(folder, repeats)
        write_clip(folder / "clip")
        tuned(folder, repeats)
        large_pools(folder)


def row(name: str, unit: float, ways: dict[torch.device, Callable[[], object]], times: int) -> None:
    """Time both ways by turns after a first call of each; print how much is done in a second."""
    for work in ways.values():
        waited(work)
    taken: dict[torch.device, list[float]] = {device: [] for device in ways}
    for _ in range(times):
        for device, work in ways.items():
            taken[device].append(timed(lambda work=work: waited(work)))
    rates = [spread([unit / one for one in taken[device]]) for device in ways]
    ratios = spread([a / b for a, b in zip(taken[CPU], taken[CARD], strict=True)])
    print(f"| {name} | {rates[0]} | {rates[1]} | {ratios} |", flush=True)


def waited(work: Callable[[], object]) -> None:
    """Work until the card is done too."""
    work()
    torch.cuda.synchronize()


def encode(folder: Path, repeats: int) -> tuple[Model, Tokens]:
    """Time encoding; return a model of fitted forms, on the processors, and tokens."""
    items, config = Catalogue.load("furniture").items, Config()
    encoders = {device: load_encoder("starter", device) for device in (CPU, CARD)}
    reduction = find_reduction(items, [], encoders[CPU], config.tokens, cache=folder)
    texts = [item.text for item in items if item.text]
    fresh = iter(range(99))

    def whole(device: torch.device) -> Tokens:
        return encode_items(items, encoders[device], reduction, cache=folder / f"{next(fresh)}")

    def words(device: torch.device) -> None:
        with torch.no_grad():
            for start in range(0, len(texts), 32):
                encoders[device].encode_texts(texts[start : start + 32])

    row("encode, items/s", len(items), {d: lambda d=d: whole(d) for d in encoders}, repeats)
    row("encode texts, texts/s", len(texts), {d: lambda d=d: words(d) for d in encoders}, repeats)
    both = [whole(device).float() for device in encoders]
    gap = max(
        float((1 - torch.cosine_similarity(one, other)).max())
        for one, other in zip(*([t.image.pooled, t.text.pooled] for t in both), strict=True)
    )
    print(f"| largest 1 - cosine of pooled vectors of both | {gap:.1e} | | |")
    return Model(config, encoders[CPU], reduction), both[0]


def condition(model: Model, tokens: Tokens, repeats: int) -> None:
    """Time 1,000 relations for each of 1,000 items, and leave the vectors where they are made."""
    texts = [f"go together in way number {number}" for number in range(1000)]
    told = model.relation_parts(texts)
    fit_to_chance(model, tokens, texts[:100])
    many = tokens[torch.arange(1000) % len(tokens)]
    heads = {CPU: model.conditioner.eval()}
    heads[CARD] = Model(model.config, model.encoder, model.reduction).conditioner
    heads[CARD].load_state_dict(model.conditioner.state_dict())
    heads[CARD].eval().to(CARD)
    out = {
        device: torch.empty(1000, 1000, model.config.model.dim, device=device) for device in heads
    }

    @torch.no_grad()
    def fuse(device: torch.device) -> None:
        head, some, asked = heads[device], many.to(device), told.to(device)
        head.fuse(head.map(some), some, asked, head.read(asked), out[device])  # pyright: ignore

    row("condition, vectors/s", 1e6, {d: lambda d=d: fuse(d) for d in heads}, repeats)
    gap = float((out[CPU] - out[CARD].cpu()).abs().max())
    print(f"| largest difference of their numbers | {gap:.1e} | | |")


def frozen(folder: Path, repeats: int) -> None:
    """Time steps of training with frozen encoders."""
    runs = {}
    for device, name in ((CPU, "cpu"), (CARD, "auto")):
        config = Config.load(sets=[f"training.device={name}"])
        runs[device] = prepare(Catalogue.load("furniture"), config, folder, silent)
    steps = {device: lambda run=run: step(run, 5) for device, run in runs.items()}
    row("train, frozen towers, steps/s", 5, steps, repeats)


def tuned(folder: Path, repeats: int) -> None:
    """Time steps in which all weights of the towers are tuned, on 64 items."""
    for bf16 in (False, True):
        runs = {
            device: start(folder, 32, 0, bf16, name)
            for device, name in ((CPU, "cpu"), (CARD, "auto"))
        }
        steps = {device: lambda run=run: step(run, 1) for device, run in runs.items()}
        name = f"train, tuned towers, {'bf16' if bf16 else 'single precision'}, items/s"
        row(name, 64, steps, repeats)


def large_pools(folder: Path) -> None:
    """Print what a pool takes of the card's memory, whole and in chunks."""
    print("\n| tuned towers, bf16 | GB of the card | items/s |\n| --- | --- | --- |")
    for pool, chunk in ((POOL, 0), (POOL, CHUNK)):
        torch.cuda.empty_cache()
        run = start(folder, pool, chunk, True, "auto")
        step(run, 1)
        torch.cuda.reset_peak_memory_stats()
        rate = 2 * pool / timed(lambda run=run: waited(lambda: step(run, 1)))
        most = torch.cuda.max_memory_allocated() / 1e9
        name = f"2 pools of {pool} items, " + (f"{chunk} at a time" if chunk else "whole")
        print(f"| {name} | {most:.1f} | {rate:.0f} |", flush=True)
        del run


def start(folder: Path, pool: int, chunk: int, bf16: bool, device: str) -> Run:
    """Return a run on noise."""
    sets = [f"encoder={folder / 'clip'}", "tuning=full", f"training.pool_size={pool}"]
    sets += ["training.pools=2", f"training.chunk={chunk}", f"training.bf16={str(bf16).lower()}"]
    sets += ["split.test_items=0", "split.validation_items=0", f"training.device={device}"]
    return prepare(synthetic(max(pool, 64)), Config.load(sets=sets), folder / "cache", silent)


def step(run: Run, count: int) -> None:
    """Take some steps."""
    for _ in range(count):
        take_step(run)
        run.step += 1


if __name__ == "__main__":
    main()
