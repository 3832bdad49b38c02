"""How long things took, and when: a latency heat map."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.ticker import LogLocator, NullFormatter

from helpers.draw.histograms import not_shown
from helpers.draw.log2 import counted, slot_axis, slot_end
from helpers.draw.style import BLUES, DURATION, SHORT, finish, new_axes, options, say, styled, whole_numbers
from helpers.draw.values import TIMES, at_one_moment, duration, events, find_column, nanoseconds, unit
from helpers.language import tr

STEPS_AT_MOST = 80


@styled()
def heatmap(
    df: pd.DataFrame,
    column: str = "latency_ns",
    *,
    slot: str | None = None,
    count: str | None = None,
    time: str | None = None,
    span: tuple[int, int] | None = None,
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
        span: where the x axis begins and ends, in nanoseconds as in the column of times, so that several heat maps can
            be compared; from the first event to the last one when None.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.pcolormesh` (a QuadMesh).

    Returns:
        The Axes; time runs along x, in the unit that its label names, and y is in nanoseconds, or in slots that end at
        their number.
    """
    time = find_column(df, time, TIMES, "time")
    if slot:
        levels, counts, df = counted(df, slot, count)
        times, present = nanoseconds(df, time)
        levels, counts, missing = levels[present], counts[present], 0
    else:
        df = df[df[[time, find_column(df, column, (), "column")]].notna().all(axis=1)]
        took, times = nanoseconds(df, column)[0], nanoseconds(df, time)[0]
        seen = took > 0
        missing = int((~seen).sum())
        times, levels = times[seen], np.floor(np.log10(took[seen]) * 10).astype("int64")
        counts = np.ones(len(times), "int64")
    ax = new_axes(ax)
    begin, end = span or (int(times.min(initial=2**62)), int(times.max(initial=0)))
    chosen = (times >= begin) & (times <= end)
    if not chosen.any():
        return say(ax, tr("{events}, none longer than 0 ns", events=events(missing)) if missing else tr("no events"))
    times, levels, counts = times[chosen] - begin, levels[chosen], counts[chosen]

    between, early = np.diff(np.unique(times)), 0
    step = int(np.gcd.reduce(between)) or 1
    if slot and len(between) and (usual := int(np.median(between))) > 10 * step:
        step, early = usual, usual // 2  # intervals by somebody's watch, which begin a little early or late
    width = step * -(-((end - begin + early) // step + 1) // STEPS_AT_MOST)  # whole intervals, or stripes would show
    columns, low, rows = (end - begin + early) // width + 1, int(levels.min()), int(np.ptp(levels)) + 1
    bins = (levels - low) * columns + (times + early) // width
    grid = np.bincount(bins, counts, rows * columns).reshape(rows, columns)
    size, name = unit(columns * width)
    x, numbers = np.arange(columns + 1) * width / size, np.arange(low, low + rows + 1)
    y = numbers - 1 if slot else 10 ** (numbers / 10)
    ours = {"cmap": BLUES, "norm": PowerNorm(0.5, 0, max(grid.max(), 2)), "rasterized": True}
    mesh = ax.pcolormesh(x, y, np.ma.masked_equal(grid, 0), **options(QuadMesh, kwargs, **ours))
    label = tr("events in {time}", time=duration(width)) if end > begin else tr("events")
    ax.figure.colorbar(mesh, ax=ax, label=label, format=SHORT, pad=0.02, ticks=whole_numbers())
    ax.set_xlim((0, x[-1]) if end > begin else (-x[-1], 2 * x[-1]))  # one moment alone does not fill the plot
    ax.set_ylim(y[0], y[-1])
    if slot:
        slot_axis(ax.yaxis, low, low + rows - 1, "ns")
    else:
        ax.set_yscale("log")
        ax.yaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if rows < 20 else (1,), numticks=8))
        ax.yaxis.set_major_formatter(DURATION)
        ax.yaxis.set_minor_formatter(NullFormatter())

    most = int(grid.sum(axis=1).argmax())
    least, below = (
        (slot_end(low + most - 1, "ns"), slot_end(low + most, "ns"))
        if slot
        else (duration(y[most]), duration(y[most + 1]))
    )
    title, lasted = events(int(counts.sum())), duration(columns * width if slot else end - begin)
    title = tr("{events} in {time}", events=title, time=lasted) if end > begin else at_one_moment(title)
    title += tr(", most often of {least} to {below}", least=least, below=below)
    label = tr("time ({unit})", unit=name) if span else tr("time since the first event ({unit})", unit=name)
    return finish(ax, title, label + not_shown(missing), tr("time taken (log scale)"), grid="both")
