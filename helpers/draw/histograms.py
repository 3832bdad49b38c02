"""How many of what size: histograms on a log axis, with percentiles marked."""

from collections.abc import Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import StepPatch
from matplotlib.ticker import LogLocator, NullFormatter
from numpy.typing import NDArray

from helpers.draw.style import DURATION, SHORT, colour, options, whole_numbers
from helpers.draw.values import duration
from helpers.language import tr

BARS = "#8FC1E3"


def log_histogram(ax: Axes, parts: Sequence[NDArray[np.int64]], labels: Sequence[str | None], **kwargs: Any) -> None:
    """Draw ten bins a decade; zero and negative values have no place on a log axis.

    Args:
        ax: where to draw.
        parts: nanoseconds, an array for each histogram; one of them has a value above 0.
        labels: a label for each outline, or None for bars.
        **kwargs: on to `Axes.stairs` (a StepPatch).
    """
    logs = [np.log10(part[part > 0]) for part in parts]
    both = [(log.min(), log.max()) for log in logs if len(log)]
    low, high = int(np.floor(min(both)[0] * 10)) - 3, int(np.floor(max(end for _, end in both) * 10)) + 4
    edges = 10 ** (np.arange(low, high + 1) / 10)
    for number, (log, label) in enumerate(zip(logs, labels)):
        bins = np.bincount(np.floor(log * 10).astype(int) - low, minlength=high - low)
        ours = (
            {"color": colour(number, label), "linewidth": 2, "label": label} if label else {"color": BARS, "fill": True}
        )
        ax.stairs(bins, edges, **options(StepPatch, kwargs, **ours))
    ax.set_xscale("log")
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high - low < 20 else (1,), numticks=8))
    ax.xaxis.set_major_formatter(DURATION)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(whole_numbers())
    ax.yaxis.set_major_formatter(SHORT)
    ax.set_ylim(0)


def mark_percentiles(ax: Axes, values: NDArray[np.int64]) -> None:
    """Mark percentiles of nanoseconds: lines with words beside them, as far as there are events enough to tell."""
    low, high = ax.get_xlim()
    for level, (percentile, least) in enumerate(((50, 2), (90, 10), (99, 100))):
        value = np.percentile(values, percentile)
        if len(values) < least or value <= max(0, values.min()):
            continue
        height = 0.97 - 0.11 * level
        ax.axvline(value, ymax=height, color="black", linewidth=1.4)
        ax.annotate(
            tr("{percentile} % under {time}", percentile=percentile, time=duration(value)),
            (value, height),
            xycoords=("data", "axes fraction"),
            xytext=(5, 0),
            textcoords="offset points",
            va="top",
            bbox={"facecolor": "white", "edgecolor": "none", "alpha": 0.8, "pad": 1},
        )
        high = max(high, low * (value / low) ** 1.55)  # room for the words
    ax.set_xlim(low, high)
    ax.set_ylim(top=ax.get_ylim()[1] * 1.15)  # and for the first of them above the bars


def left_out(values: NDArray[np.int64]) -> str:
    """Return a second line for the x axis of `log_histogram`: how many values it could not show."""
    return not_shown(int((values <= 0).sum()))


def not_shown(missing: int) -> str:
    """Return a second line for an axis: how many values of zero or less a log axis could not show."""
    return "\n" + tr("{missing:,} of zero or less not shown", missing=missing) if missing else ""
