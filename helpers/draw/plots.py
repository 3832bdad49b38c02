"""DataFrames of events to pictures: every function takes a frame and perhaps `ax`, and returns the Axes.

    timeline(df)                 who fired when: a row for each process, or by="cpu" for each CPU
    rate(df)                     events a second over time
    counts(df)                   how many events each process made
    gaps(df)                     how long from one event to the next
    latency(df, "latency_ns")    how long things took, with percentiles
    log2_histogram(df)           what a BPF_HISTOGRAM counted, slot by slot
    heatmap(df, "latency_ns")    how long things took, and when
    flame_graph(df, "off_ns")    where time went, stack upon stack
    gantt(df)                    what lasted from when to when
    losses(df)                   received against lost
    arrival(df)                  whether events came in the order in which they happened
    live(draw, seconds=10)       draw again and again while events come

A frame may be empty or hold millions of events; what would be too fine to see is counted instead of drawn. Titles say
what there is to see in this frame; `ax.set_title("…")` says it in your own words. What else is given by name goes on to
matplotlib: `plots.gaps(df, color="black")`. Times come from the column `time_ns` (or time, ts_ns, ts, start_ns) unless
`time=` names another. Integers are nanoseconds unless the name ends in _us, _ms or _s; floats are seconds. A missing
column raises KeyError.
"""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.collections import QuadMesh
from matplotlib.colors import PowerNorm
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle, StepPatch
from numpy.typing import NDArray

from helpers.draw.flame_graph import flame_graph
from helpers.draw.gantt import gantt
from helpers.draw.heatmap import heatmap
from helpers.draw.histograms import left_out, log_histogram, mark_percentiles
from helpers.draw.live import live
from helpers.draw.log2 import log2_histogram
from helpers.draw.style import (
    BLUES,
    COLOURS,
    SHORT,
    colour,
    finish,
    new_axes,
    options,
    row_names,
    say,
    styled,
    whole_numbers,
)
from helpers.draw.values import (
    OTHERS,
    PROCESSES,
    TIMES,
    at_one_moment,
    duration,
    events,
    find_column,
    groups,
    nanoseconds,
    percent,
    short,
    unit,
)
from helpers.language import tr

__all__ = [
    "arrival",
    "counts",
    "flame_graph",
    "gantt",
    "gaps",
    "heatmap",
    "latency",
    "live",
    "log2_histogram",
    "losses",
    "rate",
    "styled",
    "timeline",
]

TICKS_AT_MOST = 3000  # a timeline of more events counts them into bins
BINS = 120


@styled()
def timeline(
    df: pd.DataFrame, *, by: str | None = None, time: str | None = None, ax: Axes | None = None, **kwargs: Any
) -> Axes:
    """Draw when each event happened, in one row for each process, CPU, …

    More than 3,000 events are counted in bins, and the colour of a bin shows how many there are. The eleven busiest
    rows are shown, all others together in one.

    >>> timeline(df, by="cpu")

    Args:
        df: a row for each event.
        by: the column whose values are the rows of the picture; the process name when None.
        time: the column of times.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.plot` (a Line2D), or for bins to `Axes.pcolormesh` (a QuadMesh).

    Returns:
        The Axes; time runs along x, in the unit that its label names.
    """
    by = find_column(df, by, PROCESSES, "by")
    times, df = _times(df, time)
    rows, labels = groups(df, by, most=11)
    ax = new_axes(ax, rows=len(labels))
    if not len(times):
        return say(ax, tr("no events"))
    span = int(np.ptp(times))
    since_first, (size, name) = times - times.min(), unit(span)
    if len(times) <= TICKS_AT_MOST:
        for row, label in enumerate(labels):
            here = since_first[rows == row] / size
            ours = {"markersize": 15, "markeredgewidth": 1.6, "color": colour(row, label)}
            ax.plot(here, np.full(len(here), row), "|", **options(Line2D, kwargs, **ours))
        ax.margins(x=0.02 if span else 1)
    else:
        edges = np.linspace(0, max(span, 1) / size, BINS + 1)
        bins = np.minimum(since_first / size / edges[-1] * BINS, BINS - 1).astype(int)
        grid = np.bincount(rows * BINS + bins, minlength=len(labels) * BINS).reshape(-1, BINS)
        how = options(QuadMesh, kwargs, cmap=BLUES, norm=PowerNorm(0.5, 0, grid.max()), rasterized=True)
        for row, line in enumerate(np.ma.masked_equal(grid, 0)):
            mesh = ax.pcolormesh(edges, [row - 0.38, row + 0.38], line[None], **how)
        label = tr("events in {time}", time=duration(edges[1] * size))
        ax.figure.colorbar(mesh, ax=ax, label=label, format=SHORT, pad=0.02, ticks=whole_numbers())
    row_names(ax, labels)
    number = events(len(times))
    title = tr("{events} in {time}", events=number, time=duration(span)) if span else at_one_moment(number)
    if len(labels) > 1:
        title += tr(", {most:,} of them by {name}", **_most(rows, labels))
    return finish(ax, title, tr("time since the first event ({unit})", unit=name), by, grid="x")


@styled()
def rate(
    df: pd.DataFrame, *, by: str | None = None, time: str | None = None, ax: Axes | None = None, **kwargs: Any
) -> Axes:
    """Draw events per second over time, in about sixty steps.

    >>> rate(df, by="comm")

    Args:
        df: a row for each event.
        by: the column with a line for each of its values; the five most frequent are shown, all others as one.
        time: the column of times.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.stairs` (a StepPatch).

    Returns:
        The Axes; time runs along x, in the unit that its label names.
    """
    times, df = _times(df, time)
    rows, labels = groups(df, find_column(df, by, (), "by"), most=5) if by else (0, ["all"])
    ax = new_axes(ax)
    if not len(times):
        return say(ax, tr("no events"))
    span = int(np.ptp(times))
    if not span:
        return say(ax, tr("{what}: no rate to show", what=at_one_moment(events(len(times)))))
    width = _round_step(span / 60)
    steps = span // width
    edges = np.append(np.arange(steps) * width, span)  # the last step ends with the last event, and is never shorter
    bins = np.minimum((times - times.min()) // width, steps - 1)
    numbers = np.bincount(rows * steps + bins, minlength=len(labels) * steps).reshape(-1, steps)
    per_second = numbers * 1e9 / np.diff(edges)
    size, name = unit(span)
    for row, label in enumerate(labels):
        ours = {"label": label, "color": colour(row, label), "linewidth": 2, "fill": not by}
        ax.stairs(per_second[row], edges / size, **options(StepPatch, kwargs, **ours))
    if by:
        ax.legend(title=by, loc="upper left", bbox_to_anchor=(1, 1), fontsize="medium")
    ax.set_ylim(0)
    ax.yaxis.set_major_formatter(SHORT)
    peak = per_second.sum(axis=0).max()
    return finish(
        ax,
        tr(
            "{average} events a second on average, {peak} at the peak",
            average=short(len(times) * 1e9 / span),
            peak=short(peak),
        ),
        tr("time since the first event ({unit})", unit=name),
        tr("events per second (in {time})", time=duration(width)),
        grid="y",
    )


@styled()
def counts(df: pd.DataFrame, *, by: str | None = None, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Draw how many events each process made, most first.

    Args:
        df: a row for each event.
        by: the column with a bar for each of its values; the process name when None. After eleven, all are "others".
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.barh` (Rectangles).

    Returns:
        The Axes; the number of events runs along x.
    """
    by = find_column(df, by, PROCESSES, "by")
    rows, labels = groups(df, by, most=11)
    ax = new_axes(ax, rows=len(labels))
    if not len(df):
        return say(ax, tr("no events"))
    sizes = np.bincount(rows)
    ours = {"height": 0.7, "color": [colour(0, label) for label in labels]}
    bars = ax.barh(range(len(labels)), sizes, **options(Rectangle, kwargs, **ours))
    ax.bar_label(bars, [f"{size:,}" for size in sizes], padding=4)
    row_names(ax, labels)
    ax.margins(x=0.14)
    ax.xaxis.set_major_locator(whole_numbers())
    ax.xaxis.set_major_formatter(SHORT)
    title = events(len(df)) + tr(", {most:,} of them from {name}", **_most(rows, labels))
    return finish(ax, title, tr("number of events"), by, grid="x")


@styled()
def gaps(df: pd.DataFrame, *, time: str | None = None, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Draw how long it is from one event to the next in time, on a log axis that separates bursts from pauses.

    Args:
        df: a row for each event.
        time: the column of times.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.stairs` (a StepPatch).

    Returns:
        The Axes; gaps run along x, in nanoseconds.
    """
    times, _ = _times(df, time)
    ax = new_axes(ax)
    if len(times) < 2:
        what = events(len(times)) if len(times) else tr("no events")
        return say(ax, tr("{what}: no gaps to show", what=what))
    times = np.sort(times)
    between = times[1:] - times[:-1]
    if not between.any():
        return say(ax, tr("{what}: no gaps to show", what=at_one_moment(events(len(times)))))
    log_histogram(ax, [between], [None], **kwargs)
    return finish(
        ax,
        tr(
            "Half the gaps are under {half}, the longest {longest}",
            half=duration(np.median(between)),
            longest=duration(between.max()),
        ),
        tr("from one event to the next (log scale)") + left_out(between),
        tr("number of gaps"),
        grid="y",
    )


@styled()
def latency(
    df: pd.DataFrame, column: str = "latency_ns", *, by: str | None = None, ax: Axes | None = None, **kwargs: Any
) -> Axes:
    """Draw how long things took, as a histogram on a log axis with the 50th, 90th and 99th percentiles marked.

    >>> latency(df, "latency_ns")

    Args:
        df: a row for each event.
        column: the durations.
        by: the column with an outline for each of its values, and its median in the legend.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.stairs` (a StepPatch).

    Returns:
        The Axes; durations run along x, in nanoseconds.
    """
    times, present = nanoseconds(df, find_column(df, column, (), "column"))
    ax = new_axes(ax)
    if not (times > 0).any():
        none = tr("{events}, none longer than 0 ns", events=events(len(times)))
        return say(ax, none if len(times) else tr("no events"))
    if by:
        rows, labels = groups(df[present], find_column(df, by, (), "by"), most=5)
        parts = [times[rows == row] for row in range(len(labels))]
        names = [
            tr("{label}: half under {time}", label=label, time=duration(np.median(part)))
            for label, part in zip(labels, parts)
        ]
        log_histogram(ax, parts, names, **kwargs)
        ax.legend()
        ax.set_ylim(top=ax.get_ylim()[1] * (1.15 + 0.14 * len(parts)))  # room for the legend above the steps
    else:
        log_histogram(ax, [times], [None], **kwargs)
        mark_percentiles(ax, times)
    if np.ptp(times):
        half, slowest = duration(np.median(times)), duration(times.max())
        title = tr("Half took under {half}, the slowest {slowest}", half=half, slowest=slowest)
    elif len(times) > 1:
        title = tr("{events}, each took {time}", events=events(len(times)), time=duration(times[0]))
    else:
        title = tr("1 event, it took {time}", time=duration(times[0]))
    return finish(ax, title, tr("time taken (log scale)") + left_out(times), tr("number of events"), grid="y")


@styled()
def losses(
    df: pd.DataFrame | dict[str, pd.DataFrame],
    *,
    received: str = "received",
    lost: str = "lost",
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw received against lost, a bar for each way to collect.

    >>> losses({"8 pages": small.to_dataframe(), "64 pages": large.to_dataframe()})

    A collector's frame has the number of events it lost in `attrs["lost"]`; where that is None, nobody knows, and the
    bar says so.

    Args:
        df: a row for each bar, named by the index; or a dict of collectors' frames.
        received: the column of events received.
        lost: the column of events lost.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.barh` (Rectangles), for both parts of the bars.

    Returns:
        The Axes; the number of events runs along x.
    """
    if isinstance(df, dict):
        df = pd.DataFrame(
            {received: [len(one) for one in df.values()], lost: [one.attrs.get("lost") for one in df.values()]},
            index=list(df),
        )
    got = df[find_column(df, received, (), "received")].to_numpy("float64")
    unknown = df[find_column(df, lost, (), "lost")].isna().to_numpy()
    gone = df[lost].fillna(0).to_numpy("float64")
    ax = new_axes(ax, rows=len(df) + 1)
    if not len(df) or not (got + gone).any():
        return say(ax, tr("no events"))
    rows = range(len(df))
    ax.barh(rows, got, **options(Rectangle, kwargs, height=0.7, color=COLOURS[0], label=tr("received")))
    ours = {"height": 0.7, "color": COLOURS[1], "hatch": "///", "edgecolor": "white", "label": tr("lost")}
    bars = ax.barh(rows, gone, left=got, **options(Rectangle, kwargs, **ours))
    share = gone / np.maximum(got + gone, 1)
    shares = [tr("{share} lost", share=percent(part)) for part in share]
    ax.bar_label(bars, [tr("loss unknown") if dark else words for dark, words in zip(unknown, shares)], padding=4)
    row_names(ax, [str(label) for label in df.index])
    ax.set_xlim(0, (got + gone).max() * 1.35)
    ax.xaxis.set_major_locator(whole_numbers())
    ax.xaxis.set_major_formatter(SHORT)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    worst, index = share.argmax(), str(df.index.name or "")
    if share[worst]:
        title = tr("{lost} with {name}", lost=shares[worst], name=f"{df.index[worst]} {index}".strip())
    elif unknown.any():
        title = tr("Nobody knows how much was lost")
    else:
        title = tr("Nothing lost of {events}", events=events(int(got.sum())))
    return finish(ax, title, tr("number of events fired"), index, grid="x")


@styled()
def arrival(df: pd.DataFrame, *, time: str | None = None, ax: Axes | None = None, **kwargs: Any) -> Axes:
    """Draw each event's time against its row in the frame; events that came after a later one have another colour.

    Args:
        df: a row for each event, in the order in which they came.
        time: the column of times.
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.plot` (a Line2D).

    Returns:
        The Axes; rows run along x, and time along y in the unit that its label names.
    """
    times, _ = _times(df, time)
    ax = new_axes(ax)
    if not len(times):
        return say(ax, tr("no events"))
    late = times < np.maximum.accumulate(times)
    size, name = unit(int(np.ptp(times)))
    for chosen, label, paint in ((~late, tr("in order"), COLOURS[0]), (late, tr("after a later one"), COLOURS[1])):
        where = np.flatnonzero(chosen)
        where = where[:: max(1, len(where) // TICKS_AT_MOST)]
        since_first = (times[where] - times.min()) / size
        ours = {"markersize": 5, "color": paint, "label": label, "rasterized": True}
        ax.plot(where, since_first, ".", **options(Line2D, kwargs, **ours))
    if late.any():
        ax.legend(markerscale=2.5)
    ax.xaxis.set_major_formatter(SHORT)
    title = (
        tr("{late:,} of {events} came after a later one", late=late.sum(), events=events(len(times)))
        if late.any()
        else tr("All {events} came in the order they happened", events=events(len(times)))
    )
    return finish(
        ax, title, tr("row in the frame (order of arrival)"), tr("time of the event ({unit})", unit=name), grid="both"
    )


def _times(df: pd.DataFrame, time: str | None) -> tuple[NDArray[np.int64], pd.DataFrame]:
    """Return times in ns, and the rows of `df` that have one."""
    times, present = nanoseconds(df, find_column(df, time, TIMES, "time"))
    return times, df if present.all() else df[present]


def _round_step(ns: float) -> int:
    """Return the next of 1, 2, 5, 10, 20, … nanoseconds."""
    power = 10 ** int(np.floor(np.log10(max(ns, 1))))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= ns)


def _most(rows: NDArray[np.int64], labels: list[str]) -> dict[str, Any]:
    """Return how many events the row with the most of them has, and its name. The row `OTHERS` does not count."""
    sizes = np.bincount(rows, minlength=len(labels))[: len(labels) - (len(labels) > 1 and labels[-1] == OTHERS)]
    return {"most": sizes.max(), "name": labels[sizes.argmax()]}
