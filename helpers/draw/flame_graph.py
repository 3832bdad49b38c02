"""Flame graphs: where time went, or where events happened, stack upon stack."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from helpers.draw.style import finish, new_axes, options, say, styled
from helpers.draw.values import duration, find_column, nanoseconds, percent
from helpers.language import tr

# Pale enough for black words: Okabe and Ito's blue and vermilion, as on the road, and grey.
KERNEL, USER, UNNAMED = "#A6D0EC", "#F6C9A4", "#DADADA"
KINDS = {"kernel": (KERNEL, tr("kernel")), "user space": (USER, tr("user space")), "no name": (UNNAMED, tr("no name"))}
MARK = "_[k]"
ROWS = 40  # so many frames of a stack are drawn
NARROWEST = 1 / 500  # of the picture's width; what is narrower is counted
POINTS, ROW_HEIGHT = 10.5, 0.62  # of the names in boxes; of the height that a row of bars has


class Frame(NamedTuple):
    """One box: a function, what it was called through, and all that was spent in it and below."""

    depth: int
    begin: float
    width: float
    name: str


@styled()
def flame_graph(
    df: pd.DataFrame,
    column: str = "count",
    *,
    stack: str = "stack",
    icicle: bool = False,
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw folded stacks: a box for each function, on top of the one that called it, as wide as what was spent in it.

    Boxes side by side are in the order of the alphabet, not of time. A box has its name where a few letters of it fit.
    The 40 outermost functions of a stack are drawn, and boxes wider than 1/500 of the picture. All others are counted
    below it.

    >>> flame_graph(fold_stacks(df, bpf["stacks"], "off_ns"), "off_ns")

    Args:
        df: a row for each stack, as `fold_stacks` makes them; equal stacks are added up.
        column: what was spent: times if its name ends in _ns, _us, _ms or _s, or timedeltas; else numbers of events.
        stack: the column of stacks: names from the outermost function inwards, a semicolon between two; the kernel's
            end in _[k], and what has no name is in brackets.
        icicle: hang them from the ceiling: the outermost on top, and below each what it called.
        ax: where to draw; a new figure when None, as high as the stacks are deep.
        **kwargs: on to the PolyCollection of the boxes.

    Returns:
        The Axes; what was spent runs along x in the column's unit (times: in nanoseconds), depth along y.
    """
    stacks = df[find_column(df, stack, (), "stack")]
    spent, timed = _spent(df, find_column(df, column, (), "column"))
    distinct = spent.groupby(stacks.to_numpy(), sort=False).sum()
    distinct = distinct[distinct > 0]
    total = float(distinct.sum())
    if not total:
        return say(new_axes(ax), tr("no stacks"))
    frames, hidden = [], 0
    for frame in _frames(distinct):
        if frame.depth < ROWS and frame.width >= total * NARROWEST:
            frames.append(frame)
        else:
            hidden += 1
    rows = max((frame.depth for frame in frames), default=0) + 1
    ax = new_axes(ax, rows=round(max(rows + 1, 5) * ROW_HEIGHT))
    boxes = np.array([[f.depth, f.depth + 1, f.begin, f.begin + f.width] for f in frames]).reshape(-1, 4)
    corners = boxes[:, [[2, 0], [2, 1], [3, 1], [3, 0]]]
    ours = {"facecolor": [KINDS[_kind(f.name)][0] for f in frames], "edgecolor": "white", "linewidth": 0.4}
    ax.add_collection(PolyCollection(list(corners), **options(PolyCollection, kwargs, **ours)))
    ax.set_xlim(0, total)
    present = [shown for kind, shown in KINDS.items() if any(_kind(f.name) == kind for f in frames)]
    legend = 1.4 if len(present) > 1 else 0.2  # room for it
    ax.set_ylim((max(rows, 4), -legend) if icicle else (0, max(rows, 4) + legend))
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    whole = duration(total) if timed else tr("{number:,.0f} samples", number=total)
    title = tr("{whole} in 1 stack", whole=whole)
    if len(distinct) > 1:
        values = {"whole": whole, "number": len(distinct), "widest": percent(float(distinct.max()) / total)}
        title = tr("{whole} in {number:,} stacks, {widest} in the widest", **values)
    finish(ax, title, "x", "", grid="x")
    if len(present) > 1:
        ax.legend(
            handles=[Patch(color=paint, label=label) for paint, label in present],
            loc="upper right",
            ncols=3,
            frameon=False,
            fontsize=POINTS,
            borderaxespad=0,
        )
    if isinstance(ax.figure, Figure):
        ax.figure.draw_without_rendering()  # it lays the Axes out: then it is known how many letters fit
    named = _write_names(ax, frames, total)
    unnamed = len(frames) - named
    ax.set_xlabel(
        tr("share of {whole}, side by side in the order of the alphabet", whole=whole)
        + "\n"
        + tr(
            "{named:,} boxes named; {unnamed:,} too narrow for a name, {hidden:,} not drawn",
            named=named,
            unnamed=unnamed,
            hidden=hidden,
        )
    )
    return ax


def _spent(df: pd.DataFrame, column: str) -> tuple["pd.Series[float]", bool]:
    """Return what was spent in each row (ns, or a number of events), and whether it is time."""
    timed = df[column].dtype.kind == "m" or column.rpartition("_")[2] in ("ns", "us", "ms", "s")
    if not timed:
        return df[column].fillna(0).astype("float64").reset_index(drop=True), False
    values, present = nanoseconds(df, column)
    spent = np.zeros(len(df))
    spent[present] = values
    return pd.Series(spent), True


def _frames(distinct: "pd.Series[float]") -> Iterator[Frame]:
    """Yield the boxes of stacks in the order of the alphabet, name by name: one goes on while stacks begin alike."""
    open_names: list[str] = []
    begins: list[float] = []
    at = 0.0
    for stack, width in [*sorted(distinct.items(), key=lambda item: str(item[0]).split(";")), ("", 0.0)]:
        names = str(stack).split(";") if stack else []
        same = 0
        for ours, theirs in zip(open_names, names):
            if ours != theirs:
                break
            same += 1
        while len(open_names) > same:
            begin = begins.pop()
            yield Frame(len(begins), begin, at - begin, open_names.pop())
        begins += [at] * (len(names) - same)
        open_names += names[same:]
        at += width


def _kind(name: str) -> str:
    return "kernel" if name.endswith(MARK) else "no name" if name.startswith("[") else "user space"


def _write_names(ax: Axes, frames: list[Frame], total: float) -> int:
    """Return how many boxes are wide enough for a name, after writing it into them."""
    letters = ax.get_window_extent().width / ax.figure.dpi * 72 / (POINTS * 0.62)
    named = 0
    for frame in frames:
        name, room = frame.name.removesuffix(MARK), int(frame.width / total * letters)
        if room < 5:
            continue
        text = name if len(name) <= room else name[: room - 2] + "…"
        middle = frame.begin + frame.width / 2
        ax.text(
            middle,
            frame.depth + (0.54 if ax.yaxis_inverted() else 0.46),
            text,
            ha="center",
            va="center",
            fontsize=POINTS,
            clip_on=True,
        )
        named += 1
    return named
