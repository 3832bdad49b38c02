"""How long things took, and when: a latency heat map."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.ticker import LogLocator, NullFormatter

from helpers.draw.log2 import counted, slot_axis, slot_end
from helpers.draw.style import BLUES, DURATION, SHORT, finish, new_axes, options, say, styled, whole_numbers
from helpers.draw.values import TIMES, duration, events, find_column, nanoseconds, unit

STEPS_AT_MOST = 80


@styled()
def heatmap(
    df: pd.DataFrame,
    column: str = "latency_ns",
    *,
    slot: str | None = None,
    count: str | None = None,
    time: str | None = None,
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw how long things took against when it was, and in colour how often: two humps stay two, and are seen to move.

    >>> heatmap(df, "latency_ns")
    >>> heatmap(counts, slot="slot")

    Args:
        df: a row for each event; or with `slot` for each slot of a BPF_HISTOGRAM in each interval of time.
        column: the durations, drawn in ten steps a decade; those of zero or less are not shown.
        slot: the column with the numbers of slots in which a program counted nanoseconds, instead of `column`.
        count: the column that says how many events a row with a slot stands for; value or count when None.
        time: the column of times; with `slot`, when an interval begins.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.pcolormesh` (a QuadMesh).

    Returns:
        The Axes; time runs along x, in the unit that its label names, and y is in nanoseconds, or in slots that end at
        their number.
    """
    time = find_column(df, time, TIMES, "time")
    if slot:
        levels, counts, df = counted(df, slot, count)
        times, _ = nanoseconds(df, time)
        missing = 0
    else:
        df = df[df[[time, find_column(df, column, (), "column")]].notna().all(axis=1)]
        took, times = nanoseconds(df, column)[0], nanoseconds(df, time)[0]
        seen = took > 0
        missing = int((~seen).sum())
        times, levels = times[seen], np.floor(np.log10(took[seen]) * 10).astype("int64")
        counts = np.ones(len(times), "int64")
    ax = new_axes(ax)
    if not len(times):
        return say(ax, f"{events(missing)}, none longer than 0 ns" if missing else "no events")

    times = times - times.min()
    span, step = int(times.max()), int(np.gcd.reduce(times)) or 1
    width = step * -(-(span // step + 1) // STEPS_AT_MOST)  # a whole number of intervals, or stripes would show
    columns, low, rows = span // width + 1, int(levels.min()), int(np.ptp(levels)) + 1
    grid = np.bincount((levels - low) * columns + times // width, counts, rows * columns).reshape(rows, columns)
    size, name = unit(columns * width)
    edges = np.arange(low, low + rows + 1)
    y = edges - 1 if slot else 10 ** (edges / 10)
    ours = {"cmap": BLUES, "norm": PowerNorm(0.5, 0, max(grid.max(), 2)), "rasterized": True}
    mesh = ax.pcolormesh(
        np.arange(columns + 1) * width / size, y, np.ma.masked_equal(grid, 0), **options(QuadMesh, kwargs, **ours)
    )
    label = f"events in {duration(width)}" if span else "events"
    ax.figure.colorbar(mesh, ax=ax, label=label, format=SHORT, pad=0.02, ticks=whole_numbers())
    most = int(grid.sum(axis=1).argmax())
    if slot:
        slot_axis(ax.yaxis, low, low + rows - 1, "ns")
        begin, end = slot_end(low + most - 1, "ns"), slot_end(low + most, "ns")
    else:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if rows < 20 else (1,), numticks=8))
        ax.yaxis.set_major_formatter(DURATION)
        ax.yaxis.set_minor_formatter(NullFormatter())
        begin, end = duration(y[most]), duration(y[most + 1])
    ax.set_ylim(y[0], y[-1])
    if not span:  # one moment does not fill the plot
        ax.set_xlim(-width / size, 2 * width / size)
    when = f"in {duration(columns * width if slot else span)}" if span else "at one moment"
    title = f"{events(int(counts.sum()))} {when}, most often of {begin} to {end}"
    left_out = f"\n{missing:,} of zero or less not shown" if missing else ""
    return finish(ax, title, f"time since the first ({name})" + left_out, "time taken (log scale)", grid="both")
