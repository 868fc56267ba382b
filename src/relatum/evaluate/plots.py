"""The report's pictures: bars by relation, and one map under each of two relations.

In: a section of numbers; items with their places, pictures and groups.
Out: SVG text whose ink follows the page it stands in.
This file does not know of models.
"""

import io
import textwrap
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import matplotlib
import numpy as np
from jaxtyping import Float
from matplotlib.axes import Axes
from matplotlib.backends.backend_svg import FigureCanvasSVG
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.offsetbox import AnnotationBbox, OffsetImage
from PIL import Image

from relatum.evaluate.notes import CHANCE
from relatum.evaluate.summary import FEW, Number, RelationRow, Section

INK = "#010203"  # becomes currentColor: black on a light page, white on a dark one
STYLE: dict[Any, Any] = {  # Any: matplotlib names every key in a type of its own
    "svg.fonttype": "none",
    "svg.hashsalt": "relatum",
    "font.family": "sans-serif",
    "font.size": 10,
    "text.parse_math": False,  # a text may hold a $
    "text.color": INK,
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "axes.spines.top": False,
    "figure.facecolor": "none",
    "axes.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.spines.right": False,
}
BARS = {"conditioned": "#0072b2", "unconditioned": "#e69f00", "best frozen": "#8a9099"}
COLOURS: tuple[str, ...] = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e6ab02", "#56b4e9")
GREY = "#9aa0a6"
SIZE = 34  # pixels of a picture on the map


def draw_bars(section: Section) -> str:
    """Draw Hit@5 by direction, for both kinds of negatives, with intervals."""
    rows = list(reversed(section.relations))
    methods = [name for name in BARS if name in rows[0].numbers]
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(10.5, 1.5 + 0.62 * len(rows)), layout="constrained")
        panels = figure.subplots(1, 2, sharey=True)
        for axes, metric in zip(panels, ("hit@5", "other hit@5"), strict=True):
            _draw_panel(axes, rows, methods, metric)
        panels[0].set_title("20 negatives at random", fontsize=10)
        panels[1].set_title("20 negatives linked under another relation", fontsize=10)
        panels[0].set_yticks(range(len(rows)), [_relation_label(row) for row in rows])
        handles, labels = panels[0].get_legend_handles_labels()
        figure.legend(
            handles, labels, loc="outside upper center", ncols=len(handles), frameon=False
        )
        return as_svg(figure)


def _draw_panel(axes: Axes, rows: Sequence[RelationRow], methods: list[str], metric: str) -> None:
    height = 0.8 / len(methods)
    axes.axvline(100 * CHANCE, color=INK, linewidth=0.9, linestyle=(0, (2, 2)), label="chance")
    for place, name in enumerate(methods):
        numbers = [row.numbers[name][metric] for row in rows]
        values = [100 * number.value for number in numbers]
        heights = np.arange(len(rows)) + 0.4 - height * (place + 0.5)
        axes.barh(heights, values, height * 0.92, color=BARS[name], label=name)
        whiskers = _whiskers(numbers) * [row.queries >= FEW for row in rows]
        axes.errorbar(values, heights, xerr=whiskers, fmt="none", ecolor=INK, elinewidth=1.0)
    axes.set_xlim(0, 100)
    axes.set_ylim(-0.55, len(rows) - 0.45)
    axes.set_xlabel("Hit@5 of 21 candidates (%)")
    axes.tick_params(axis="y", length=0)


def _whiskers(numbers: Sequence[Number]) -> Float[np.ndarray, "2 numbers"]:
    ends = [[number.value - number.low, number.high - number.value] for number in numbers]
    return 100 * np.maximum(np.array(ends, dtype=np.float64).T, 0)


def _relation_label(row: RelationRow) -> str:
    return "\n".join(textwrap.wrap(row.text, 30)) + f"\n{row.queries:,} queries"


@dataclass(frozen=True)
class View:
    """Items under one relation: where they lie, and to which group each belongs (-1: none)."""

    text: str
    places: Float[np.ndarray, "items 2"]
    shares: tuple[float, float]
    groups: list[int]
    group_texts: list[str]


def place(
    vectors: Float[np.ndarray, "items dim"],
) -> tuple[Float[np.ndarray, "items 2"], tuple[float, float]]:
    """Return the first two principal components of vectors, and their shares of the variance.

    >>> places, shares = place(np.array([[1.0, 0.0], [0.0, 0.0], [2.0, 0.0]]))
    >>> abs(places[:, 0]).tolist(), shares
    ([0.0, 1.0, 1.0], (1.0, 0.0))
    """
    moved = np.asarray(vectors, dtype=np.float64)
    moved = moved - moved.mean(0)
    left, sizes, axes = np.linalg.svd(moved, full_matrices=False)
    signs = np.sign(axes[np.arange(len(axes)), np.abs(axes).argmax(1)])  # the same on any machine
    total = max(float((sizes**2).sum()), 1e-12)
    first, second = (sizes[:2] ** 2 / total).tolist()
    return (left * sizes * signs)[:, :2], (first, second)


def draw_maps(views: Sequence[View], pictures: Sequence[Image.Image | None]) -> str:
    """Draw the same items under two relations, side by side, framed by their group there."""
    with matplotlib.rc_context(STYLE):
        figure = Figure(figsize=(12.0, 7.4), layout="constrained")
        for axes, view in zip(figure.subplots(1, len(views)), views, strict=True):
            _draw_map(axes, view, pictures)
        return as_svg(figure)


def _draw_map(axes: Axes, view: View, pictures: Sequence[Image.Image | None]) -> None:
    spread = spread_apart(_unit_square(view.places))
    for spot, group, picture in zip(spread, view.groups, pictures, strict=True):
        colour = COLOURS[group] if group >= 0 else GREY
        if picture is None:
            axes.plot(*spot, "o", color=colour, markersize=9)
        else:
            axes.add_artist(_thumbnail(picture, spot, colour))
    low, high = spread.min(0) - 0.05, spread.max(0) + 0.05
    axes.set_xlim(low[0], high[0])
    axes.set_ylim(low[1], high[1])
    axes.set_xticks([])
    axes.set_yticks([])
    axes.set_title(textwrap.fill(f"“{view.text}”", 48), fontsize=12, fontweight="bold")
    axes.set_xlabel(f"first principal component ({100 * view.shares[0]:.0f} % of variance)")
    axes.set_ylabel(f"second principal component ({100 * view.shares[1]:.0f} % of variance)")
    _draw_legend(axes, view)


def _draw_legend(axes: Axes, view: View) -> None:
    texts = [textwrap.shorten(text, 48, placeholder="…") for text in view.group_texts]
    named = list(zip(texts, COLOURS, strict=False))
    if -1 in view.groups:
        named.append(("none of these", GREY))
    handles = [Line2D([], [], color=c, marker="s", linestyle="", label=text) for text, c in named]
    axes.legend(
        handles=handles,
        loc="upper center",
        bbox_to_anchor=(0.5, -0.07),
        ncols=2,
        frameon=False,
        fontsize=9,
    )


def _thumbnail(picture: Image.Image, spot: np.ndarray, colour: str) -> AnnotationBbox:
    box = OffsetImage(np.asarray(picture), zoom=0.76)
    frame = {"edgecolor": colour, "linewidth": 3.0, "boxstyle": "square,pad=0"}
    return AnnotationBbox(box, (spot[0], spot[1]), pad=0.1, bboxprops=frame)


def _unit_square(places: Float[np.ndarray, "items 2"]) -> Float[np.ndarray, "items 2"]:
    low = places.min(0)
    return (places - low) / np.maximum(places.max(0) - low, 1e-9)


def spread_apart(
    places: Float[np.ndarray, "items 2"], gap: float = 0.09, rounds: int = 1000
) -> Float[np.ndarray, "items 2"]:
    """Push places that are closer than `gap` on both axes apart, along the nearer one."""
    places = places + 1e-4 * np.arange(len(places))[:, None] * [1, -1]  # no two are equal
    for _ in range(rounds):
        apart = places[:, None] - places[None]
        lack = gap - np.abs(apart)
        overlap = (lack > 0).all(2) & ~np.eye(len(places), dtype=bool)
        if not overlap.any():
            break
        nearer = lack == lack.min(2, keepdims=True)
        push = np.where(nearer & overlap[:, :, None], np.sign(apart) * lack, 0)
        places = places + 0.3 * push.sum(1)
    return places


def thumbnail(picture: Image.Image) -> Image.Image:
    """Fit a picture into a white square of the map's size."""
    picture = picture.copy()
    picture.thumbnail((SIZE, SIZE), Image.Resampling.LANCZOS)
    square = Image.new("RGB", (SIZE, SIZE), "white")
    square.paste(picture, ((SIZE - picture.width) // 2, (SIZE - picture.height) // 2))
    return square


def as_svg(figure: Figure) -> str:
    """Return a figure as SVG text whose ink is the reader's own."""
    buffer = io.StringIO()
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "Glyph .* missing")  # the reader's own font has it
        FigureCanvasSVG(figure).print_svg(buffer, metadata={"Date": None})
    text = buffer.getvalue()
    return text[text.index("<svg") :].replace(INK, "currentColor")
