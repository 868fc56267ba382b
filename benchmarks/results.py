"""Does conditioning win? Run every study on both catalogues.

Writes docs/results.md, and the short tables of docs/performance.md. Cells that are done are kept in
the work folder, so that a stopped run goes on.

    python benchmarks/results.py [--seeds 5] [--work runs/results] [--cache FOLDER]
"""

import argparse
import json
import time
from pathlib import Path

from relatum.progress import bars
from relatum.study import study
from relatum.study.variants import Kind

DOCS = Path(__file__).parents[1] / "docs"
STUDIES: dict[Kind, tuple[str, str]] = {
    "rivals": (
        "Every method on the same questions",
        "Relations seen in training, items that were not. Means over directions and seeds, ± the "
        "deviation over seeds, in %; differences are paired by query over all seeds, with 95 % "
        "intervals and the ratio of the means. A rival is compared in the way (fused, text, "
        "image) that is best on its validation items. `best relation-blind` is, for each measure, "
        "the best over all seeds of the methods that do not read the relation.",
    ),
    "unseen": (
        "Relations never trained on",
        "All relations of the catalogue are held out, two at a time.",
    ),
    "groups": (
        "Groups never trained on",
        "A quarter of the groups with a text of their own is held out, and asked by that text.",
    ),
    "domain": ("A catalogue never trained on", "The model is trained on the other catalogue."),
    "ablations": ("Ablations", "The model with one thing taken out."),
    "beta": ("β", "Share of the pooled vector; the rest is the paper's attention over tokens."),
    "curve": ("Learning curve", "Share of the training links that is used."),
}
ORDER = ("survival", "furniture")
OTHER = {"survival": "furniture", "furniture": "survival"}
SHORT = ("rivals", "unseen", "groups", "domain", "ablations")  # shown in docs/performance.md
SHOWN = {
    *("frozen text", "frozen both", "CLIP, linked pairs", "unconditioned", "attention", "gate"),
    *("unconditioned + words", "relatum, null relation", "DistMult", "both ends told"),
    *("gate + ridge", "DistMult + ridge", "codes by id", "relatum"),
    *("best frozen similarity", "best relation-blind"),
}
MEASURES = {
    "hit@5": "Hit@5",
    "other hit@5": "Hit@5, other relation",
    "precision@10": "precision@10",
    "type top-1": "type top-1",
    "validity AUC": "validity AUC",
    "class probe": "class probe",
}
BEGIN, END = "<!-- written by benchmarks/results.py -->", "<!-- until here -->"
HEAD = """# Results

Printed by `python benchmarks/results.py`: every table, whole. What to make of them is in
[performance](performance.md). `seeds` says over how many splits and trainings a row is averaged.
"""


def main() -> None:
    """Run what is asked for, and write the page from all that there is."""
    parser = argparse.ArgumentParser()
    parser.add_argument("--seeds", type=int, default=5)
    parser.add_argument("--jobs", type=int, default=2)
    parser.add_argument("--work", type=Path, default=Path("runs/results"))
    parser.add_argument("--cache", type=Path)
    parser.add_argument("--kind", action="append", choices=list(STUDIES))
    chosen = parser.parse_args()
    begun = time.perf_counter()
    for kind in STUDIES:
        if chosen.kind is None or kind in chosen.kind:
            for name in ORDER:
                with bars() as report:
                    table = study(
                        kind,
                        name,
                        chosen.work / name / kind,
                        seeds=chosen.seeds,
                        jobs=chosen.jobs,
                        cache=chosen.cache,
                        trained_on=OTHER[name] if kind == "domain" else None,
                        cells=chosen.work / name / "cells",
                        report=report,
                    )
                print(f"{kind}, {name}\n{table.to_markdown()}", flush=True)
    write(chosen.work)
    print(f"{(time.perf_counter() - begun) / 60:.0f} minutes")


def write(work: Path) -> None:
    """Write docs/results.md and its plots from the tables in the work folder."""
    parts = [HEAD]
    for kind, (title, about) in STUDIES.items():
        for name in ORDER:
            folder = work / name / kind
            if (folder / "study.md").exists():
                plot = f"results-{kind}-{name}.svg"
                (DOCS / plot).write_text((folder / "study.svg").read_text())
                table = (folder / "study.md").read_text(encoding="utf-8")
                parts.append(f"## {title}: {name}\n\n{about}\n\n{table}\n![{title}]({plot})\n")
    (DOCS / "results.md").write_text("\n".join(parts), encoding="utf-8")
    page = (DOCS / "performance.md").read_text(encoding="utf-8")
    before, _, rest = page.partition(BEGIN)
    tables = [short(work / name / kind, kind) for kind in SHORT for name in ORDER]
    after = rest.partition(END)[2]
    page = f"{before}{BEGIN}\n\n{''.join(tables)}{END}{after}"
    (DOCS / "performance.md").write_text(page, encoding="utf-8")


def short(folder: Path, kind: str) -> str:
    """Return the most telling rows of a study as Markdown; nothing where it has not been run."""
    if not (folder / "study.json").exists():
        return ""
    table = json.loads((folder / "study.json").read_text(encoding="utf-8"))
    untrained = ("frozen", "TF-IDF", "relatum, null", "best frozen")
    rows = [
        row
        for row in table["rows"] + table["best"]
        if (kind == "ablations" and not row["method"].startswith(untrained))
        or (kind != "ablations" and row["method"] in SHOWN)
    ]
    best = [row for row in rows if row in table["best"]]
    rows = [row for row in rows if row not in best]
    names = [name for name in MEASURES if any(name in row["numbers"] for row in rows)]
    lines = [["", *(MEASURES[name] for name in names)], ["---"] * (len(names) + 1)]
    for row in sorted(rows, key=lambda row: row["numbers"]["hit@5"]["mean"]):
        lines.append([row["method"], *(number(row["numbers"].get(name)) for name in names)])
    for row in [*best, *rows[1:]]:
        differences = [difference(row["behind"].get(name)) for name in names]
        lines.append([f"{table['rows'][0]['method']} − {row['method']}", *differences])
    seeds = table["rows"][0]["seeds"]
    head = f"**{STUDIES[kind][0]}, `{folder.parent.name}`**, {seeds} seeds:\n\n"
    return head + "".join(f"| {' | '.join(line)} |\n" for line in lines) + "\n"


def number(value: dict[str, float] | None) -> str:
    """Return a mean and its deviation over seeds in %."""
    return f"{100 * value['mean']:.1f} ± {100 * value['deviation']:.1f}" if value else ""


def difference(value: dict[str, float] | None) -> str:
    """Return a difference in points, its interval, and the ratio of the means."""
    if not value:
        return ""
    mean, low, high = (100 * value[name] for name in ("mean", "low", "high"))
    return f"{mean:+.1f} [{low:+.1f}, {high:+.1f}], {value['ratio']:+.0%}"


if __name__ == "__main__":
    main()
