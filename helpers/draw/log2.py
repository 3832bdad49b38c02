"""What a BPF program counted by powers of two: a histogram that was finished in the kernel."""

from typing import Any

import numpy as np
import pandas as pd
from matplotlib.axes import Axes
from matplotlib.axis import Axis
from matplotlib.patches import Rectangle, StepPatch
from matplotlib.ticker import FuncFormatter, MultipleLocator
from numpy.typing import NDArray

from helpers.draw.histograms import BARS
from helpers.draw.style import SHORT, colour, finish, new_axes, options, say, styled, whole_numbers
from helpers.draw.values import duration, events, find_column, groups
from helpers.language import tr

SLOTS, COUNTS = ("slot", "key"), ("value", "count")
_NANOSECONDS = {"ns": 1, "us": 1_000, "µs": 1_000, "ms": 1_000_000, "s": 1_000_000_000}


@styled()
def log2_histogram(
    df: pd.DataFrame,
    *,
    slot: str | None = None,
    count: str | None = None,
    by: str | None = None,
    unit: str = "ns",
    ax: Axes | None = None,
    **kwargs: Any,
) -> Axes:
    """Draw how many values were in each slot of a BPF_HISTOGRAM, as BCC's bpf_log2l() numbers them.

    Slot n holds the values from 2ⁿ⁻¹ up to but not including 2ⁿ, and slot 1 holds 0, too.

    >>> log2_histogram(read_map(bpf["latencies"]))

    Args:
        df: a row for each slot, or for each slot of each group; rows of the same slot are added up.
        slot: the column of the slots' numbers; slot or key when None.
        count: the column that says how many values were in a slot; value or count when None.
        by: the column with an outline for each of its values; the five with most values are shown, all others as one.
        unit: of the values: "ns", "us", "ms" and "s" are written as times, any other as numbers, such as "bytes".
        ax: where to draw; a new figure when None.
        **kwargs: on to `Axes.bar` (Rectangles), or by groups to `Axes.stairs` (a StepPatch).

    Returns:
        The Axes; slots run along x, 1 wide: slot n ends at n.
    """
    slots, counts, df = counted(df, slot, count)
    rows, labels = groups(df, find_column(df, by, (), "by"), most=5, sizes=counts) if by else (slots * 0, [""])
    ax = new_axes(ax)
    if not len(slots):
        return say(ax, tr("no events"))
    low, high = int(slots.min()), int(slots.max())
    width = high - low + 1
    table = np.bincount(rows * width + slots - low, counts, len(labels) * width).reshape(-1, width)
    if by:
        for row, label in enumerate(labels):
            name = tr("{label}: half under {time}", label=label, time=slot_end(middle(table[row]) + low, unit))
            ours = {"label": name, "color": colour(row, label), "linewidth": 2}
            ax.stairs(table[row], np.arange(low - 1, high + 1), **options(StepPatch, kwargs, **ours))
        ax.legend()
        ax.set_ylim(top=table.max() * (1.15 + 0.14 * len(labels)))  # room for the legend above the steps
    else:
        ours = {"width": 1, "color": BARS, "edgecolor": "white"}
        ax.bar(np.arange(low - 0.5, high), table[0], **options(Rectangle, kwargs, **ours))
    ax.set_ylim(0)
    slot_axis(ax.xaxis, low, high, unit)
    ax.set_xlim(low - 1 - (width < 3), high + (width < 3))  # one bar alone does not fill the plot
    ax.yaxis.set_major_locator(whole_numbers())
    ax.yaxis.set_major_formatter(SHORT)
    half = slot_end(middle(table.sum(axis=0)) + low, unit)
    values = {"events": events(int(counts.sum())), "half": half, "all": slot_end(high, unit)}
    title = tr("{events}, half under {half}, all under {all}", **values)
    label = tr("{what} (each slot twice the one before)", what=_what(unit))
    return finish(ax, title, label, tr("number of events"), grid="y")


def counted(
    df: pd.DataFrame, slot: str | None, count: str | None
) -> tuple[NDArray[np.int64], NDArray[np.int64], pd.DataFrame]:
    """Return slots, their counts, and the rows of `df` that they come from: those that counted anything.

    Args:
        df: a row for each slot.
        slot: the column of the slots' numbers.
        count: the column of the counts.
    """
    counts = df[find_column(df, count, COUNTS, "count")].to_numpy("int64")
    df = df[counts > 0]
    return df[find_column(df, slot, SLOTS, "slot")].to_numpy("int64"), counts[counts > 0], df


def middle(counts: NDArray[Any]) -> int:
    """Return the index of the slot that the median is in."""
    return int(np.searchsorted(counts.cumsum(), counts.sum() / 2))


def slot_end(slot: int, unit: str) -> str:
    """Return in words where a slot ends, which is where the next one begins.

    >>> slot_end(11, "ns")
    '2.05 µs'

    Args:
        slot: number of the slot.
        unit: as for `log2_histogram`.
    """
    value = float(2**slot) if slot > 0 else float(slot == 0)
    if unit in _NANOSECONDS:
        return duration(value * _NANOSECONDS[unit])
    power = min(max(slot, 0) // 10, 6)
    return f"{value / 1024**power:.4g}{('', ' Ki', ' Mi', ' Gi', ' Ti', ' Pi', ' Ei')[power]}"


def slot_axis(axis: Axis, low: int, high: int, unit: str) -> None:
    """Mark on an axis of slots where they begin and end.

    Args:
        axis: where slot n ends at n.
        low: number of the first slot.
        high: number of the last one.
        unit: as for `log2_histogram`.
    """
    begin = low - 1 if low <= 1 else None  # whose slot holds 0
    axis.set_major_locator(MultipleLocator(max(1, -(-(high - low + 1) // 6))))
    axis.set_major_formatter(FuncFormatter(lambda edge, _: slot_end(-1 if edge == begin else round(edge), unit)))


def _what(unit: str) -> str:
    return tr("time taken") if unit in _NANOSECONDS else unit
