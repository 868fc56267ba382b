"""A study's table on disk, and its plot.

In: a table.
Out: `study.json`, `study.md` and `study.svg`: methods one below the other, or a curve over a number
where the variants differ by one.
This file does not know how the numbers came about.
"""

import json
import re
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from relatum.disk import write_file
from relatum.evaluate.plots import as_svg
from relatum.study.table import TITLES, Row, Table

DRAWN = (("hit@5", "o"), ("other hit@5", "s"))
SAID = "Hit@5 of 21 (%), mean and deviation over seeds"


def save(table: Table, folder: Path) -> None:
    """Write study.json, study.md and study.svg."""
    write_file(folder / "study.json", (json.dumps(asdict(table), indent=1) + "\n").encode())
    write_file(folder / "study.md", table.to_markdown().encode())
    write_file(folder / "study.svg", draw(table).encode())


def draw(table: Table) -> str:
    """Draw Hit@5 of every method with its deviation over seeds, for both kinds of negatives."""
    is_curve = table.kind in ("beta", "curve")
    size = (7, 4) if is_curve else (7, 1 + 0.28 * len(table.rows))
    figure = Figure(figsize=size, layout="constrained")
    axes = figure.subplots()
    if is_curve:
        _curves(axes, table)
    else:
        _dots(axes, sorted(table.rows, key=lambda row: row.numbers["hit@5"].mean))
    axes.grid(alpha=0.3, axis="both" if is_curve else "x")
    figure.legend(loc="outside upper center", ncols=2)  # inside, it would hide a method
    return as_svg(figure)


def _dots(axes: Axes, rows: Sequence[Row]) -> None:
    for metric, marker in DRAWN:
        means, deviations = _numbers(rows, metric)
        places = np.arange(len(rows))
        axes.errorbar(means, places, xerr=deviations, fmt=marker, label=TITLES[metric], capsize=2)
    axes.set_yticks(np.arange(len(rows)), [row.method for row in rows])
    axes.set_xlabel(SAID)


def _curves(axes: Axes, table: Table) -> None:
    """Draw a line for each method over the number in its variants' names."""
    found: dict[str, list[tuple[float, Row]]] = {}
    for row in table.rows:
        number = re.search(r"[\d.]+", row.method)
        assert number is not None
        name = row.method[: number.start()].rstrip(", ")
        found.setdefault(name, []).append((float(number.group()), row))
    for line, (name, some) in zip(("-", "--", ":"), found.items(), strict=False):
        some.sort(key=lambda one: one[0])
        at, rows = [number for number, _ in some], [row for _, row in some]
        for place, (metric, marker) in enumerate(DRAWN):
            means, deviations = _numbers(rows, metric)
            style = {"color": f"C{place}", "linestyle": line, "marker": marker, "capsize": 2}
            label = TITLES[metric] if len(found) == 1 else f"{name}: {TITLES[metric]}"
            axes.errorbar(at, means, yerr=deviations, label=label, **style)
    if table.kind == "curve":
        axes.set_xscale("log")
    ticks = sorted({number for some in found.values() for number, _ in some})
    axes.set_xticks(ticks, [f"{tick:g}" for tick in ticks])
    axes.minorticks_off()
    axes.set_xlabel("share of the training links (%)" if table.kind == "curve" else "β")
    axes.set_ylabel(SAID)


def _numbers(rows: Sequence[Row], metric: str) -> tuple[list[float], list[float]]:
    numbers = [row.numbers[metric] for row in rows]
    return [100 * one.mean for one in numbers], [100 * one.deviation for one in numbers]
