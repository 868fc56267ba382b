"""What costs what as a catalogue grows: items, relations, links, tokens.

Synthetic catalogues of texts, whose tokens are written into a cache: nothing is encoded. Each stage
is a process of its own; printed are its seconds, those of its processor time, its peak memory, of
training also the share of a step that waits for pools and tokens, and the exponent of each column.

    python benchmarks/scaling.py [--parts items relations links tokens] [--largest 100000]
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import torch

from relatum import Catalogue, Config, Item, Model, Store
from relatum.batch import Part
from relatum.bulk.embed import embed_folder
from relatum.bulk.folder import Embeddings
from relatum.catalogue import Group, Link, Relation, split_catalogue
from relatum.checkpoint import read_manifest
from relatum.encoders import TokenCache, find_reduction, load_encoder
from relatum.items import text_key
from relatum.progress import silent
from relatum.train.run import prepare
from relatum.train.step import take_step, validate

STEPS = 20
SHARD = 4096
POINTS: dict[str, list[dict[str, Any]]] = {
    "items": [{"items": n} for n in (1_000, 10_000, 100_000, 1_000_000)],
    "relations": [{"relations": n} for n in (1, 10, 100, 1000)],
    "links": [{"links": n} for n in (1_000, 10_000, 100_000, 1_000_000)],
    "tokens": [{"tokens": n, "beta": 0.5} for n in (2, 4, 8, 16)],
}
USUAL = {"items": 10_000, "relations": 10, "links": 20_000, "tokens": 12, "beta": 1.0}


def synthetic(items: int, relations: int, links: int) -> Catalogue:
    """Return items in groups of about ten, and random links."""
    chance = np.random.default_rng(0)
    ids = [f"i{number}" for number in range(items)]
    kinds = [Relation(f"r{n}", f"go together in way number {n}") for n in range(relations)]
    groups: list[Group] = []
    for number in range(max(items // 10, relations)):
        members = chance.choice(items, 10, replace=False)
        kind = f"r{number % relations}"
        groups.append(Group(kind, f"g{number}", tuple(ids[row] for row in members)))
    ends = chance.integers(items, size=(links, 2))
    pairs = [Link(ids[a], f"r{n % relations}", ids[b]) for n, (a, b) in enumerate(ends) if a != b]
    everything = tuple(Item(name, _text(number)) for number, name in enumerate(ids))
    return Catalogue("synthetic", everything, tuple(kinds), tuple(groups), tuple(pairs))


def _text(number: int) -> str:
    """Return a text that is no near-copy of another: four words drawn by the number."""
    drawn = np.random.default_rng(number).integers(97, 123, size=(4, 6), dtype=np.uint8)
    return " ".join(bytes(word).decode() for word in drawn)


def fill(catalogue: Catalogue, config: Config, cache: Path, tokens: int) -> None:
    """Write noise as the tokens of every text."""
    encoder = load_encoder(config.encoder)
    split = split_catalogue(catalogue, config.split)
    by_id = {item.id: item for item in catalogue.items}
    train = [by_id[name] for name in split.train]
    held_out = [by_id[name] for name in (*split.validation, *split.test)]
    reduction = find_reduction(train, held_out, encoder, config.tokens, cache=cache)  # training's
    name = f"{encoder.fingerprint()}-{reduction.fingerprint}"
    kept = TokenCache(cache / "tokens" / name / "texts")
    chance = torch.Generator().manual_seed(0)
    hidden = reduction.text.basis.shape[1]
    for start in range(0, len(catalogue.items), SHARD):
        keys = [text_key(item.text or "") for item in catalogue.items[start : start + SHARD]]
        values = torch.randn(len(keys), tokens, hidden, generator=chance)
        mask = torch.ones(len(keys), tokens, dtype=torch.bool)
        kept.write(keys, Part(values, mask, torch.randn(len(keys), 384, generator=chance)))


def now() -> np.ndarray:
    """Return the seconds of the clock and of the processor."""
    return np.array([time.perf_counter(), time.process_time()])


def one_point(stage: str, folder: Path, facts: dict[str, Any]) -> tuple[np.ndarray, float]:
    """Run a stage; return its seconds (of one step in training), and the share of waiting."""
    sizes = {name: facts[name] for name in ("items", "relations", "links")}
    sets = [f"model.beta={facts['beta']}", f"tokens.text_tokens={facts['tokens']}"]
    config, catalogue = Config.load(sets=[*sets, f"training.steps={STEPS}"]), synthetic(**sizes)
    cache, model, vectors, store = (folder / n for n in ("cache", "model", "vectors", "store"))
    begun = now()
    if stage == "fill":
        fill(catalogue, config, cache, facts["tokens"])
    elif stage == "train":
        run = prepare(catalogue, config, cache, silent)
        begun = now()
        waited = 0.0
        for _ in range(STEPS):
            waited += take_step(run).waited
            run.step += 1
        seconds = now() - begun
        validate(run)
        run.model.save(model)
        return seconds / STEPS, waited / seconds[0]
    elif stage == "embed":
        embed_folder(model, catalogue, vectors, cache=cache)
    elif stage == "index":
        of = Embeddings(vectors, read_manifest(model)["fingerprint"], catalogue)
        Store.build(Model.load(model), catalogue, store, encoded=of.read, cache=cache)
    else:
        opened = Store.open(store)
        opened.search(item="i0")
        begun = now()
        for number in range(1, 21):
            opened.search(item=f"i{number}", relation="go together in way number 0")
        return (now() - begun) / 20, 0.0
    return now() - begun, 0.0


def measure(part: str, facts: dict[str, Any], stages: list[str]) -> dict[str, list[float]]:
    """Run every stage in a fresh process; return both seconds and MB at the peak."""
    with tempfile.TemporaryDirectory() as folder:
        found: dict[str, list[float]] = {}
        for stage in stages:
            words = [sys.executable, __file__, "--one", stage, folder, json.dumps(USUAL | facts)]
            done = subprocess.run(words, check=True, stdout=subprocess.PIPE, text=True)
            *found[stage], waited = map(float, done.stdout.split()[-4:])
            seconds, worked, peak = found[stage]
            print(f"{part:<10} {facts[part]:>9,} {stage:<7} {seconds:>10.4f} s", end="")
            print(f" {worked:>10.4f} s CPU {peak:>7.0f} MB", end="")
            print(f"  {waited:.1%} waiting" if waited else "", flush=True)
        return found


def main() -> None:
    """Run the parts asked for, and print exponents."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--parts", nargs="*", default=list(POINTS), choices=list(POINTS))
    parser.add_argument("--largest", type=int, default=1_000_000)
    parser.add_argument("--one", nargs=3, help=argparse.SUPPRESS)
    chosen = parser.parse_args()
    if chosen.one:
        stage, folder, facts = chosen.one
        seconds, waited = one_point(stage, Path(folder), json.loads(facts))
        # ru_maxrss would be that of the process it was started by, where that is larger
        status = Path("/proc/self/status").read_text()
        print(*seconds, int(status.partition("VmHWM:")[2].split()[0]) / 1024, waited)
        return
    stages = ["fill", "train", "embed", "index", "search"]
    for part in chosen.parts:
        points = [facts for facts in POINTS[part] if facts[part] <= chosen.largest]
        rows = [measure(part, facts, stages) for facts in points]
        sizes = [facts[part] for facts in points]
        for stage in stages if len(points) > 1 else ():
            columns = zip(*(row[stage] for row in rows), strict=True)
            slopes = [f"{part}^{np.polyfit(np.log(sizes), np.log(v), 1)[0]:.2f}" for v in columns]
            print(f"{stage}: time ~ {slopes[0]}, CPU ~ {slopes[1]}, memory ~ {slopes[2]}")


if __name__ == "__main__":
    main()
