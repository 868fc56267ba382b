"""How well and how fast a store answers under relations it has never seen.

Synthetic catalogues: blends of two real items' vectors with noise, so that no two are alike. In one
run: the store's search, scoring every item (the truth), and LanceDB's own search of the same table
for the same vectors.

    python benchmarks/search.py [--sizes 10000 100000] [--million] [--model FOLDER]
"""

import argparse
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import torch
from torch import Tensor
from torch.nn.functional import normalize

from relatum import Catalogue, Config, Model, Store, train

UNSEEN = (
    "are cleaned in the same way",
    "suit a minimalist bedroom",
    "have the same colour",
    "need electricity",
    "are for children",
    "look old-fashioned",
    "would stand well beside each other",
    "are easy to carry",
)
BATCH = 20_000
NOISE = 0.3  # of each dimension's standard deviation


def main() -> None:
    """Run the sizes asked for."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--sizes", type=int, nargs="*", default=[10_000, 100_000])
    parser.add_argument("--million", action="store_true", help="also a million items")
    parser.add_argument("--queries", type=int, default=16, help="a text")
    parser.add_argument("--catalogue", default="survival")
    parser.add_argument("--model", type=Path, help="a model folder; else one is trained")
    parser.add_argument("--cache", type=Path)
    chosen = parser.parse_args()
    catalogue = Catalogue.load(chosen.catalogue)
    model = Model.load(chosen.model) if chosen.model else train(catalogue, Config(seed=0))
    print(f"{'items':>9} {'build':>6} {'bytes':>6} {'recall@10':>9} {'p50':>8} {'p95':>8}", end="")
    print(f" {'LanceDB':>8} {'ratio':>6} {'all':>8} {'RSS':>7}", flush=True)
    sizes = chosen.sizes + [1_000_000] * chosen.million
    times = []
    for size in sizes:
        with tempfile.TemporaryDirectory() as folder:
            times.append(one_size(model, catalogue, size, Path(folder), chosen))
    if len(sizes) > 1:
        slope = np.polyfit(np.log(sizes), np.log(times), 1)[0]
        print(f"time grows with size to the power of {slope:.2f}")


def one_size(
    model: Model, catalogue: Catalogue, size: int, folder: Path, chosen: argparse.Namespace
) -> float:
    """Build a store, compare its answers with the truth, print a row; return the median time."""
    store = Store.build(model, catalogue, folder / "store", cache=chosen.cache)
    chance = np.random.default_rng(1)
    some = chance.choice(len(catalogue.items), chosen.queries, replace=False)
    names = [catalogue.items[row].id for row in some]
    tokens = model.encode([catalogue.items[row] for row in some], cache=chosen.cache)
    begun = time.perf_counter()
    vectors, width = fill(store, size)
    built = time.perf_counter() - begun
    store.search(item=names[0])  # opens what stays open
    table = store._view().table
    recalls, ours, plain, every = [], [], [], []
    for text in UNSEEN:
        queries = model.condition(tokens, text).both
        for name, query in zip(names, queries, strict=True):
            seconds, hits = timed(store.search, item=name, relation=text)
            search: Any = table.search(query.numpy(), vector_column_name="vector")
            search = search.distance_type("dot").limit(10).select(["id", "text", "_distance"])
            plain.append(timed(search.to_arrow)[0])
            ours.append(seconds)
            seconds, scores = timed(torch.mv, vectors, query)
            every.append(seconds)
            best = {f"s{row}" for row in scores.topk(10).indices.tolist()}
            found = {hit.id for hit in hits}
            recalls.append(len(found & best) / 10)
    median, floor = np.median(ours), np.median(plain)
    memory = memory_of(folder / "store", names[0])
    print(
        f"{size:>9,} {built:>5.0f}s {width:>6} {np.mean(recalls):>9.3f} {median * 1e3:>6.1f}ms"
        f" {np.percentile(ours, 95) * 1e3:>6.1f}ms {floor * 1e3:>6.1f}ms {median / floor:>6.2f}"
        f" {np.median(every) * 1e3:>6.1f}ms {memory:>5.0f}MB",
        flush=True,
    )
    return float(median)


def memory_of(folder: Path, name: str) -> float:
    """Return the peak MB of a fresh process that opens the store and searches it."""
    code = (
        "import re, sys\nfrom relatum import Store\nstore = Store.open(sys.argv[1])\n"
        "for text in sys.argv[3:]:\n    store.search(item=sys.argv[2], relation=text)\n"
        # ru_maxrss would be that of the process it was started by, where that is larger
        "print(int(re.search(r'VmHWM:\\s+(\\d+)', open('/proc/self/status').read())[1]) / 1024)"
    )
    words = [sys.executable, "-c", code, str(folder), name, *UNSEEN]
    return float(subprocess.run(words, check=True, capture_output=True, text=True).stdout)


def timed(work: Callable[..., Any], *given: object, **named: object) -> tuple[float, Any]:
    """Return the seconds that work took, and what it gave."""
    begun = time.perf_counter()
    found = work(*given, **named)
    return time.perf_counter() - begun, found


def fill(store: Store, size: int) -> tuple[Tensor, int]:
    """Add so many blended items beside the real ones; return their vectors, and bytes a row.

    The real ones ask; with vectors of zeros they are no hits themselves.
    """
    table = store._latest()
    real = table.to_arrow()
    held = real["vector"].combine_chunks().flatten().to_numpy().reshape(len(real), -1).copy()
    chance = torch.Generator().manual_seed(0)
    vectors = torch.empty(size, held.shape[1])
    place = real.schema.get_field_index("vector")
    away = lists(np.zeros_like(held))
    table.merge_insert("id").when_matched_update_all().execute(
        real.set_column(place, real.schema.field(place), away)
    )
    for start in range(0, size, BATCH):
        count = min(BATCH, size - start)
        vectors[start : start + count] = blend(torch.from_numpy(held), count, chance)
        rows = real.take(np.arange(start, start + count) % len(real))
        rows = rows.set_column(place, real.schema.field(place), lists(vectors[start:][:count]))
        ids = pa.array([f"s{row}" for row in range(start, start + count)])
        table.add(rows.set_column(0, real.schema.field(0), ids).drop_columns(["thumbnail"]))
    store.optimize()
    kinds = [field.type for field in real.schema if pa.types.is_fixed_size_list(field.type)]
    width = sum(kind.list_size * kind.value_type.bit_width // 8 for kind in kinds)
    return vectors, width


def blend(real: Tensor, count: int, chance: torch.Generator) -> Tensor:
    """Return vectors between two real ones each, with noise."""
    one, other = (real[torch.randint(len(real), (count,), generator=chance)] for _ in range(2))
    share = 0.5 + 0.5 * torch.rand(count, 1, generator=chance)
    noise = NOISE * real.std(0) * torch.randn(count, real.shape[1], generator=chance)
    return normalize(share * one + (1 - share) * other + noise, dim=-1)


def lists(vectors: Any) -> pa.Array:  # noqa: ANN401 - an array or a tensor
    """Return vectors as a column."""
    return pa.FixedSizeListArray.from_arrays(
        pa.array(np.asarray(vectors).ravel()), vectors.shape[1]
    )


if __name__ == "__main__":
    main()
