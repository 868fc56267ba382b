"""What it costs to prepare a catalogue: time and peak memory against size.

python benchmarks/prepare.py [--million] [--relations]

Writes products and ten times as many reviews in the format of Amazon Reviews 2018 (gzipped JSON
lines, no pictures, one id in a thousand twice) to a temporary folder, and prepares them with
`relatum prepare amazon-2018 --skip-bad`. Everything is removed at the end.
"""

import argparse
import gzip
import json
import math
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

WORDS = [
    "".join(random.Random(k).choices("aeioulnrst", k=3 + k % 8)) for k in range(2_000)
]  # about as long as English words
COLUMNS = (
    " products     reviews  source MB  seconds    CPU s  rows/CPU s  peak MB  twice: found/made"
)


def phrase(rng: random.Random, length: int) -> str:
    """Return so many words."""
    return " ".join(rng.choices(WORDS, k=length))


def write_source(folder: Path, products: int) -> int:
    """Write metadata and reviews; return how many ids come twice."""
    rng = random.Random(products)
    twice = 0
    with gzip.open(folder / "meta_Bench.json.gz", "wt", compresslevel=1) as file:
        for number in range(products):
            near = (rng.randrange(max(0, number - 500), number + 500) for _ in range(15))
            others = [f"B{other:09}" for other in near]
            row = {
                "category": ["Office Products", phrase(rng, 1), phrase(rng, 1)],
                "description": [f"<p>{phrase(rng, 60)}</p>"],
                "title": phrase(rng, 9),
                "also_buy": others[:10],
                "also_view": others[10:],
                "brand": WORDS[rng.randrange(500)],
                "feature": [phrase(rng, 12), phrase(rng, 12)],
                "price": f"${rng.uniform(1, 500):,.2f}",
                "asin": f"B{number:09}",
                "imageURLHighRes": [],
            }
            for _ in range(1 + (number % 1000 == 999)):
                file.write(json.dumps(row) + "\n")
            twice += number % 1000 == 999
    with gzip.open(folder / "Bench.json.gz", "wt", compresslevel=1) as file:
        texts = [phrase(rng, 60) for _ in range(1_000)]
        for number in range(10 * products):
            row = {
                "overall": 5.0,
                "verified": True,
                "reviewerID": f"A{rng.randrange(2 * products):013}",
                "asin": f"B{int(products * rng.random() ** 2):09}",
                "reviewText": texts[number % 1_000],
                "unixReviewTime": 1_300_000_000 + rng.randrange(200_000_000),
            }
            file.write(json.dumps(row) + "\n")
    return twice


def run(*words: object) -> tuple[float, float, float]:
    """Run relatum in a process of its own; return seconds, CPU seconds and peak memory in MB."""
    begun = time.perf_counter()
    child = subprocess.Popen(
        [sys.executable, "-m", "relatum.cli", *map(str, words)],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    _, status, usage = os.wait4(child.pid, 0)
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode:
        raise SystemExit(f"relatum ended with {child.returncode}")
    seconds = time.perf_counter() - begun
    return seconds, usage.ru_utime + usage.ru_stime, usage.ru_maxrss / 1024


def measure(products: int, words: list[str]) -> float:
    """Prepare so many products, print a row, and return the CPU seconds."""
    with tempfile.TemporaryDirectory() as place:
        source, output = Path(place) / "source", Path(place) / "catalogue"
        source.mkdir()
        made = write_source(source, products)
        size = sum(path.stat().st_size for path in source.iterdir()) / 1e6
        words = ["prepare", "amazon-2018", str(source), "-o", str(output), "--skip-bad", *words]
        seconds, cpu, peak = run(*words)
        left_out = json.loads((output / "prepare.json").read_text())["left_out"]
    print(
        f"{products:9,} {10 * products:11,} {size:10.0f} {seconds:8.1f} {cpu:8.1f}"
        f" {11 * products / cpu:11,.0f} {peak:8.0f}  {left_out.get('row', 0):,} of {made:,}"
    )
    return cpu


def main() -> None:
    """Measure and print."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--million", action="store_true", help="and 1 M products, 10 M reviews")
    parser.add_argument("--relations", action="store_true", help="mine relations too")
    chosen = parser.parse_args()
    _, start, base = min(run("--help") for _ in range(3))
    print(f"{len(os.sched_getaffinity(0))} cores; start: {start:.1f} CPU s, {base:.0f} MB")
    print(COLUMNS)
    words = [] if chosen.relations else ["--no-relations"]
    sizes = [10_000, 100_000] + [1_000_000] * chosen.million
    cpu = [measure(products, words) - start for products in sizes]
    for small, large in zip(cpu, cpu[1:], strict=False):
        print(
            f"exponent of CPU time, the start apart, against size: {math.log10(large / small):.2f}"
        )


if __name__ == "__main__":
    main()
