"""DataFrames of events to pictures: every function takes a frame and perhaps `ax`, and returns the Axes.

    timeline(df)                 who fired when: a row for each process, or by="cpu" for each CPU
    rate(df)                     events a second over time
    counts(df)                   how many events each process made
    gaps(df)                     how long from one event to the next
    latency(df, "latency_ns")    how long things took, with percentiles
    losses(table)                received against lost
    arrival(df)                  whether events came in the order in which they happened
    live(draw, seconds=10)       draw again and again while events come

A frame may be empty or hold millions of events; what would be too fine to see is counted instead of drawn. Titles say
what there is to see in this frame; `ax.set_title("…")` says it in your own words. Times come from the column `time_ns`
(or time, ts_ns, ts, start_ns) unless `time=` names another. Integers are nanoseconds unless the name ends in _us, _ms
or _s; floats are seconds. A missing column raises KeyError.
"""

import time as clock

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.colors import LinearSegmentedColormap, PowerNorm

from helpers.draw.style import (
    COLOURS,
    PROCESSES,
    SHORT,
    TIMES,
    colour,
    column,
    duration,
    events,
    finish,
    groups,
    left_out,
    log_histogram,
    mark_percentiles,
    nanoseconds,
    new_axes,
    percent,
    row_names,
    say,
    short,
    styled,
    unit,
    whole_numbers,
)

TICKS_AT_MOST = 3000  # a timeline of more events counts them into bins
BINS = 120
BLUES = LinearSegmentedColormap.from_list("blues", ["#D6E9F5", "#0072B2", "#00416B"])


@styled()
def timeline(df, by=None, time=None, ax=None):
    """Draw when each event happened, in one row for each value of the column `by` (default: the process name).

    Many events are counted in bins, and the colour of a bin shows how many there are. The eleven busiest rows are
    shown, all others together in one.

    >>> timeline(df, by="cpu")
    """
    by = column(df, by, PROCESSES, "by")
    times, df = _times(df, time)
    rows, labels = groups(df, by, most=11)
    ax = new_axes(ax, rows=len(labels))
    if not len(times):
        return say(ax, "no events")
    since_first, (size, name) = times - times.min(), unit(np.ptp(times))
    if len(times) <= TICKS_AT_MOST:
        for row, label in enumerate(labels):
            here = since_first[rows == row] / size
            ax.plot(here, np.full(len(here), row), "|", markersize=15, markeredgewidth=1.6, color=colour(row, label))
        ax.margins(x=0.02 if np.ptp(times) else 1)
    else:
        edges = np.linspace(0, max(np.ptp(times), 1) / size, BINS + 1)
        bins = np.minimum(since_first / size / edges[-1] * BINS, BINS - 1).astype(int)
        grid = np.bincount(rows * BINS + bins, minlength=len(labels) * BINS).reshape(-1, BINS)
        norm = PowerNorm(0.5, 0, grid.max())
        for row, line in enumerate(np.ma.masked_equal(grid, 0)):
            mesh = ax.pcolormesh(edges, [row - 0.38, row + 0.38], line[None], cmap=BLUES, norm=norm, rasterized=True)
        label = f"events in {duration(edges[1] * size)}"
        ax.figure.colorbar(mesh, ax=ax, label=label, format=SHORT, pad=0.02, ticks=whole_numbers())
    row_names(ax, labels)
    title = f"{events(len(times))} {f'in {duration(np.ptp(times))}' if np.ptp(times) else 'at one moment'}"
    if len(labels) > 1:
        title += f", {_most(rows, labels, 'by')}"
    return finish(ax, title, f"time since the first event ({name})", by, grid="x")


@styled()
def rate(df, by=None, time=None, ax=None):
    """Draw events per second over time, in about sixty steps; with `by`, one line for each value of that column.

    >>> rate(df, by="comm")
    """
    times, df = _times(df, time)
    rows, labels = groups(df, column(df, by, (), "by"), most=5) if by else (0, ["all"])
    ax = new_axes(ax)
    if not len(times):
        return say(ax, "no events")
    span = int(np.ptp(times))
    if not span:
        return say(ax, f"{events(len(times))} at one moment: no rate to show")
    width = _round_step(span / 60)
    bins = (times - times.min()) // width
    steps = span // width + 1
    per_second = np.bincount(rows * steps + bins, minlength=len(labels) * steps).reshape(-1, steps) * 1e9 / width
    size, name = unit(span)
    edges = np.arange(steps + 1) * width / size
    for row, label in enumerate(labels):
        ax.stairs(per_second[row], edges, label=label, color=colour(row, label), linewidth=2, fill=not by)
    if by:
        ax.legend(title=by, loc="upper left", bbox_to_anchor=(1, 1), fontsize="medium")
    ax.set_ylim(0)
    ax.yaxis.set_major_formatter(SHORT)
    peak = per_second.sum(axis=0).max()
    return finish(
        ax,
        f"{short(len(times) * 1e9 / span)} events a second on average, {short(peak)} at the peak",
        f"time since the first event ({name})",
        f"events per second (in {duration(width)})",
        grid="y",
    )


@styled()
def counts(df, by=None, ax=None):
    """Draw how many events there are for each value of the column `by` (default: the process name), most first."""
    by = column(df, by, PROCESSES, "by")
    rows, labels = groups(df, by, most=11)
    ax = new_axes(ax, rows=len(labels))
    if not len(df):
        return say(ax, "no events")
    sizes = np.bincount(rows)
    bars = ax.barh(range(len(labels)), sizes, height=0.7, color=[colour(0, label) for label in labels])
    ax.bar_label(bars, [f"{size:,}" for size in sizes], padding=4)
    row_names(ax, labels)
    ax.margins(x=0.14)
    ax.xaxis.set_major_locator(whole_numbers())
    ax.xaxis.set_major_formatter(SHORT)
    return finish(ax, f"{events(len(df))}, {_most(rows, labels, 'from')}", "number of events", by, grid="x")


@styled()
def gaps(df, time=None, ax=None):
    """Draw how long it is from one event to the next, sorted by time, on a log axis that separates bursts from pauses."""
    times, _ = _times(df, time)
    ax = new_axes(ax)
    if len(times) < 2:
        return say(ax, f"{events(len(times)) if len(times) else 'no events'}: no gaps to show")
    between = np.diff(np.sort(times))
    if not between.any():
        return say(ax, f"{events(len(times))} at one moment: no gaps to show")
    log_histogram(ax, [between], [None])
    return finish(
        ax,
        f"Half the gaps are under {duration(np.median(between))}, the longest {duration(between.max())}",
        "from one event to the next (log scale)" + left_out(between),
        "number of gaps",
        grid="y",
    )


@styled()
def latency(df, column_name="latency_ns", by=None, ax=None):
    """Draw how long things took, as a histogram on a log axis with the 50th, 90th and 99th percentiles marked.

    With `by`, an outline for each value of that column, with its median in the legend.

    >>> latency(df, "latency_ns")
    """
    times, present = nanoseconds(df, column(df, column_name, (), "column_name"))
    ax = new_axes(ax)
    if not (times > 0).any():
        return say(ax, f"{events(len(times))}, none longer than 0 ns" if len(times) else "no events")
    if by:
        rows, labels = groups(df[present], column(df, by, (), "by"), most=5)
        parts = [times[rows == row] for row in range(len(labels))]
        log_histogram(ax, parts, [f"{label}: half under {duration(np.median(p))}" for label, p in zip(labels, parts)])
        ax.legend()
        ax.set_ylim(top=ax.get_ylim()[1] * (1.15 + 0.14 * len(parts)))  # room for the legend above the steps
    else:
        log_histogram(ax, [times], [None])
        mark_percentiles(ax, times)
    if np.ptp(times):
        title = f"Half took under {duration(np.median(times))}, the slowest {duration(times.max())}"
    else:
        title = f"{events(len(times))}, {'each' if len(times) > 1 else 'it'} took {duration(times[0])}"
    return finish(ax, title, "time taken (log scale)" + left_out(times), "number of events", grid="y")


@styled()
def losses(table, received="received", lost="lost", ax=None):
    """Draw received against lost: a bar for each row of a table, or for each frame of a dict of them.

    >>> losses({"8 pages": small.to_dataframe(), "64 pages": large.to_dataframe()})

    A table has the columns `received` and `lost`, and its index names the bars. A collector's frame has its
    number in `attrs["lost"]`; where that is None, nobody knows, and the bar says so.
    """
    if isinstance(table, dict):
        table = pd.DataFrame(
            {received: [len(df) for df in table.values()], lost: [df.attrs.get("lost") for df in table.values()]},
            index=list(table),
        )
    got = table[column(table, received, (), "received")].to_numpy("float64")
    unknown = table[column(table, lost, (), "lost")].isna().to_numpy()
    gone = table[lost].fillna(0).to_numpy("float64")
    ax = new_axes(ax, rows=len(table) + 1)
    if not len(table) or not (got + gone).any():
        return say(ax, "no events")
    rows = range(len(table))
    ax.barh(rows, got, height=0.7, color=COLOURS[0], label="received")
    bars = ax.barh(rows, gone, left=got, height=0.7, color=COLOURS[1], hatch="///", edgecolor="white", label="lost")
    share = gone / np.maximum(got + gone, 1)
    ax.bar_label(
        bars, ["loss unknown" if dark else f"{percent(part)} lost" for dark, part in zip(unknown, share)], padding=4
    )
    row_names(ax, [str(label) for label in table.index])
    ax.set_xlim(0, (got + gone).max() * 1.35)
    ax.xaxis.set_major_locator(whole_numbers())
    ax.xaxis.set_major_formatter(SHORT)
    ax.legend(loc="upper left", bbox_to_anchor=(1, 1))
    worst, index = share.argmax(), table.index.name or ""
    title = (
        f"{percent(share[worst])} lost with {table.index[worst]} {index}"
        if share[worst]
        else "Nobody knows how much was lost"
        if unknown.any()
        else f"Nothing lost of {events(int(got.sum()))}"
    )
    return finish(ax, title, "number of events fired", index, grid="x")


@styled()
def arrival(df, time=None, ax=None):
    """Draw each event's time against its row in the frame, with events that came after a later one in another colour."""
    times, _ = _times(df, time)
    ax = new_axes(ax)
    if not len(times):
        return say(ax, "no events")
    late = times < np.maximum.accumulate(times)
    size, name = unit(np.ptp(times))
    for chosen, label, paint in ((~late, "in order", COLOURS[0]), (late, "after a later one", COLOURS[1])):
        where = np.flatnonzero(chosen)
        where = where[:: max(1, len(where) // TICKS_AT_MOST)]
        since_first = (times[where] - times.min()) / size
        ax.plot(where, since_first, ".", markersize=5, color=paint, label=label, rasterized=True)
    if late.any():
        ax.legend(markerscale=2.5)
    ax.xaxis.set_major_formatter(SHORT)
    title = (
        f"{late.sum():,} of {events(len(times))} came after a later one"
        if late.any()
        else f"All {events(len(times))} came in the order they happened"
    )
    return finish(ax, title, "row in the frame (order of arrival)", f"time of the event ({name})", grid="both")


@styled()
def live(draw, seconds=None, until=None, every=0.5):
    """Draw a picture again and again in the same place, until `seconds` have passed, `until()` is true or ■ is pressed.

    `draw` gets an Axes. It is called every `every` seconds, or less often if drawing is slow. Returns the last Axes.

    >>> with PerfOutput(bpf["events"]) as events, start("fsync", times=500, rate=100) as work:
    ...     live(lambda ax: plots.rate(events.to_dataframe(), ax=ax), until=lambda: not work.running)
    """
    from IPython.display import display

    begin = clock.monotonic()
    figure = plt.figure(figsize=(5.8, 3.4), layout="constrained")
    plt.close(figure)  # or the notebook would show it once more at the end of the cell
    handle, last = None, False
    while not last:
        drawn = clock.monotonic()
        last = bool(until and until()) or (seconds is not None and drawn - begin >= seconds)
        try:
            figure.clear()
            draw(figure.add_subplot())
            handle = handle or display(display_id=True)
            if handle:  # None where there is no notebook
                handle.update(figure)
            took = clock.monotonic() - drawn
            clock.sleep(0 if last else max(every - took, took))
        except KeyboardInterrupt:
            last = True
    return figure.axes[0] if figure.axes else figure.add_subplot()


def _times(df, time):
    """Times as int64 ns, and the rows of `df` that have one."""
    times, present = nanoseconds(df, column(df, time, TIMES, "time"))
    return times, df if present.all() else df[present]


def _round_step(ns):
    """The next of 1, 2, 5, 10, 20, … nanoseconds."""
    power = 10 ** int(np.floor(np.log10(max(ns, 1))))
    return next(int(step * power) for step in (1, 2, 5, 10) if step * power >= ns)


def _most(rows, labels, word):
    """Say which row has the most events: "109 of them by sync". The row "others" does not count."""
    sizes = np.bincount(rows, minlength=len(labels))[: len(labels) - ("others" in labels[-1:])]
    return f"{sizes.max():,} of them {word} {labels[sizes.argmax()]}"
