"""Gantt charts: what lasted from when to when."""

import math
from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import PolyCollection, QuadMesh
from matplotlib.patches import Patch
from numpy.typing import NDArray

from helpers.draw.style import BLUES, COLOURS, SHORT, colour, finish, new_axes, options, row_names, say, styled
from helpers.draw.values import OTHERS, PROCESSES, duration, find_column, groups, nanoseconds, unit
from helpers.language import tr

BARS_AT_MOST = 3000  # of more bars, it is counted how many last at a time
BINS = 120
ROWS = 11


@styled()
def gantt(
    df: pd.DataFrame,
    start: str = "start_ns",
    end: str = "end_ns",
    *,
    by: str | None = None,
    kind: str | None = None,
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw bars from when to when, in one row for each process, request, …; rows in the order in which they start.

    A bar without an end goes on to the last moment of the frame, and is paler. Of more than 3,000 bars it is counted
    how many last at a time, as a colour. The eleven rows with most time in their bars are shown, all others in one.

    >>> gantt(lives, "fork_ns", "exit_ns", by="pid")

    Args:
        df: a row for each bar.
        start: the column of times at which bars begin; without one, a bar is left out.
        end: the column of times at which they end.
        by: the column whose values are the rows of the picture; the process name when None.
        kind: the column whose values are the colours of bars; five of them, all others are grey.
        ax: where to draw; a new figure when None.
        **kwargs: on to `PolyCollection`, or for many bars to `Axes.pcolormesh` (a QuadMesh).

    Returns:
        The Axes; time runs along x, in the unit that its label names.
    """
    by = find_column(df, by, PROCESSES, "by")
    begins, present = nanoseconds(df, find_column(df, start, (), "start"))
    df = df[present]
    stops, ended = nanoseconds(df, find_column(df, end, (), "end"))
    kinds, kind_names = groups(df, find_column(df, kind, (), "kind"), most=5) if kind else (None, [])
    if not len(df):
        return say(new_axes(ax), tr("nothing lasted"))
    first, last = int(begins.min()), int(max(begins.max(), stops.max(initial=0)))
    ends = np.full(len(df), last)
    ends[ended] = np.maximum(stops, begins[ended])
    rows, labels = _rows(df[by], begins, ends)
    legend_rows = math.ceil(len(kind_names) / 3)
    ax = new_axes(ax, rows=len(labels) + legend_rows)
    size, name = unit(last - first)
    left, right = (begins - first) / size, (ends - first) / size
    if len(df) <= BARS_AT_MOST:
        corners = np.stack([left, rows - 0.36, right, rows + 0.36], axis=1)[:, [[0, 1], [0, 3], [2, 3], [2, 1]]]
        paint = (
            [colour(number, kind_names[number]) for number in kinds] if kinds is not None else [COLOURS[0]] * len(df)
        )
        for chosen, alpha in ((ended, 1.0), (~ended, 0.4)):
            face = [one for one, shown in zip(paint, chosen) if shown]
            # An edge in the bar's own colour, so that the shortest bar is still seen.
            ours = {"facecolor": face, "edgecolor": face, "linewidth": 1, "alpha": alpha}
            ax.add_collection(PolyCollection(list(corners[chosen]), **options(PolyCollection, kwargs, **ours)))
        ax.set_xlim(0, max(right.max(), 1e-9))
        if len(df) == len(labels):
            _write_durations(ax, rows, right, ends - begins, ended)
    else:
        edges = np.linspace(first, max(last, first + 1), BINS + 1)
        grid = np.array([_at_a_time(begins[rows == row], ends[rows == row], edges) for row in range(len(labels))])
        how = options(QuadMesh, kwargs, cmap=BLUES, vmin=0, vmax=grid.max(), rasterized=True)
        for row, line in enumerate(np.ma.masked_less_equal(grid, 0)):
            mesh = ax.pcolormesh((edges - first) / size, [row - 0.38, row + 0.38], line[None], **how)
        ax.figure.colorbar(mesh, ax=ax, label=tr("at a time, on average"), format=SHORT, pad=0.02)
    row_names(ax, labels)
    if kind and len(df) <= BARS_AT_MOST:
        handles = [Patch(color=colour(number, one), label=one) for number, one in enumerate(kind_names)]
        ax.legend(handles=handles, loc="upper right", ncols=3, frameon=False, borderaxespad=0)
        ax.set_ylim(top=ax.get_ylim()[1] - 0.8 * legend_rows)  # room for it
    longest = int((ends - begins).argmax())
    title = tr(
        "{number:,} in {time}, the longest {longest} ({name})",
        number=len(df),
        time=duration(last - first),
        longest=duration(int(ends[longest] - begins[longest])),
        name=str(df[by].iloc[longest])[:24],
    )
    if not ended.all():
        title += tr("; {number:,} without an end", number=(~ended).sum())
    return finish(ax, title, tr("time since the first began ({unit})", unit=name), by, grid="x")


def _rows(
    values: "pd.Series[Any]", begins: NDArray[np.int64], ends: NDArray[np.int64]
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the row of each bar, and the rows' labels, in the order in which they start; `OTHERS` are the last row."""
    codes, names = pd.factorize(values, use_na_sentinel=False)
    lasted = np.bincount(codes, (ends - begins).astype("float64"), minlength=len(names))
    firsts = np.full(len(names), np.iinfo("int64").max)
    np.minimum.at(firsts, codes, begins)
    shown = np.argsort(-lasted, kind="stable")[: ROWS if len(names) > ROWS + 1 else None]
    shown = shown[np.argsort(firsts[shown], kind="stable")]
    rows = np.full(len(names), len(shown))
    rows[shown] = np.arange(len(shown))
    labels = [str(names[code])[:24] for code in shown] + [OTHERS] * (len(shown) < len(names))
    return rows[codes], labels


def _at_a_time(begins: NDArray[np.int64], ends: NDArray[np.int64], edges: NDArray[np.float64]) -> NDArray[np.float64]:
    """Return how many bars last at a time in each bin, on average: the time in bars over the bin's length."""

    def spent(moments: NDArray[np.int64]) -> NDArray[np.float64]:
        """Return the sum of (edge - moment) over the moments before each edge."""
        moments = np.sort(moments)
        sums = np.concatenate([[0.0], np.cumsum(moments - edges[0])])
        before = np.searchsorted(moments, edges)
        total: NDArray[np.float64] = before * (edges - edges[0]) - sums[before]
        return total

    average: NDArray[np.float64] = np.diff(spent(begins) - spent(ends)) / np.diff(edges)
    return average


def _write_durations(
    ax: Axes, rows: NDArray[np.int64], right: NDArray[np.float64], lasted: NDArray[np.int64], ended: NDArray[np.bool_]
) -> None:
    """Write beside each bar how long it lasted."""
    for row, end, ns, has_end in zip(rows, right, lasted, ended):
        words = duration(int(ns)) if has_end else tr("{time} so far", time=duration(int(ns)))
        ax.annotate(words, (end, row), xytext=(4, 0), textcoords="offset points", va="center")
    ax.set_xlim(right=ax.get_xlim()[1] * 1.22)  # room for the words
