"""What all plots share: a white Axes, colours, columns found in a frame, readable units, histograms on a log axis."""

import textwrap
from contextlib import contextmanager

import matplotlib.pyplot as plt
import numpy as np
import pandas as pd
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullFormatter

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that white paper swallows.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
OTHERS = "#8C8C8C"
TIMES = ("time_ns", "time", "ts_ns", "ts", "start_ns")
PROCESSES = ("comm", "task", "name")
STYLE = {
    "font.size": 11.5,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": "black",
    "axes.labelcolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#444444",
}
# Not in STYLE: `ax.set_title()` asks for these when it is called, in a notebook long after `styled` has ended.
plt.rcParams.update({"axes.titlesize": 11.5, "axes.titleweight": "bold"})


@contextmanager
def styled():
    """Decorates a plotting function: black words on white, whatever the theme of JupyterLab.

    Not `plt.rc_context`, which would also undo what a notebook's backend sets when the first figure loads it.
    """
    before = {key: plt.rcParams[key] for key in STYLE}
    plt.rcParams.update(STYLE)
    try:
        yield
    finally:
        plt.rcParams.update(before)


def new_axes(ax, rows=None):
    """`ax`, or the Axes of a new white figure: 5.8 inches wide, as high as `rows` horizontal bars need."""
    if ax is None:
        height = 3.4 if rows is None else 1.4 + 0.34 * max(rows, 3)
        _, ax = plt.subplots(figsize=(5.8, height), layout="constrained")
    return ax


def finish(ax, title, x, y, grid):
    """Title, axis labels and a pale grid along `grid`; return `ax`."""
    ax.set_title("\n".join(textwrap.wrap(title, 54)))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.8)
    return ax


def say(ax, words):
    """An Axes with nothing to draw says why."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="#555555", fontsize=13)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def row_names(ax, labels):
    """Name the rows 0, 1, … of a picture from top to bottom; one or two rows do not fill the height of three."""
    ax.set_yticks(range(len(labels)), labels)
    room = 0.5 + max(0, 3 - len(labels)) / 2
    ax.set_ylim(len(labels) - 1 + room, -room)


def colour(number, label=""):
    """The colour of the `number`-th group; grey for the rest."""
    return OTHERS if label == "others" else COLOURS[number % len(COLOURS)]


def column(df, name, among, argument):
    """`name`, or the first of `among` that `df` has. KeyError in words when there is none."""
    if name is None:
        name = next((one for one in among if one in df), None)
        if name is None:
            raise KeyError(f"none of the columns {', '.join(among)} is here, only {list(df.columns)}: give {argument}=")
    if name not in df:
        raise KeyError(f"no column {name!r} here, only {list(df.columns)}")
    return name


def nanoseconds(df, name):
    """A column of times or durations as int64 nanoseconds, and which rows have one (missing values do not).

    Integers are nanoseconds unless the column's name ends in _us, _ms or _s; floats are seconds unless it ends in _ns,
    _us or _ms; datetime64 and timedelta64 are what they say.
    """
    values = df[name]
    present = values.notna().to_numpy()
    values = values[present]
    if values.dtype.kind in "mM":
        return values.dt.as_unit("ns").astype("int64").to_numpy(), present
    suffix = str(name).rpartition("_")[2]
    default = 1e9 if values.dtype.kind == "f" else 1
    factor = {"ns": 1, "us": 1e3, "ms": 1e6, "s": 1e9}.get(suffix, default)
    numbers = pd.to_numeric(values).to_numpy()
    if factor == 1 and numbers.dtype.kind in "iu":
        return numbers.astype("int64"), present
    return np.rint(numbers.astype("float64") * factor).astype("int64"), present


def groups(df, name, most):
    """Number the values of a column: (int array, labels). After the `most` frequent ones all are "others"."""
    codes, values = pd.factorize(df[name], use_na_sentinel=False)
    sizes = np.bincount(codes, minlength=len(values))
    ranks = np.lexsort((np.array([str(value) for value in values]), -sizes))
    shown = ranks if len(values) <= most + 1 else ranks[:most]
    if df[name].dtype.kind in "iuf":  # CPU numbers and the like read best in their own order
        shown = sorted(shown, key=lambda rank: values[rank])
    new = np.full(len(values), len(shown))
    new[shown] = np.arange(len(shown))
    prefix = "CPU " if name == "cpu" else ""
    labels = [f"{prefix}{values[rank]}" for rank in shown] + ["others"] * (len(shown) < len(values))
    return new[codes], [label[:24] for label in labels]


def rounded(value):
    """To three digits, as it will be shown: 999,600 ns are 1 ms, and not 1e+03 µs."""
    return float(f"{value:.3g}")


def unit(span_ns):
    """The unit for an axis that is so long: (nanoseconds in one, name)."""
    return next((u for u in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")) if span_ns >= u[0]), (1, "ns"))


def duration(ns):
    """Nanoseconds in words.

    >>> duration(12_300)
    '12.3 µs'
    """
    shown = rounded(abs(ns))
    size, name = unit(shown)
    return f"{ns / size:.3g} {name}" if shown < 1e12 else f"{ns / 1e9:,.0f} s"


def short(value):
    """A number short enough for an axis.

    >>> short(1_500_000)
    '1.5 M'
    """
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if rounded(abs(value)) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(share):
    """0.286 → '28.6 %'."""
    return f"{share * 100:.3g} %"


def events(number):
    """'1 event', '1,234 events'."""
    return f"{number:,} event{'' if number == 1 else 's'}"


def whole_numbers():
    """Ticks at about five whole, round numbers."""
    return MaxNLocator(5, integer=True, steps=[1, 2, 5, 10])


def log_histogram(ax, parts, labels):
    """Ten bins a decade; zero and negative values have no place on a log axis."""
    logs = [np.log10(part[part > 0]) for part in parts]
    both = [(log.min(), log.max()) for log in logs if len(log)]
    low, high = int(np.floor(min(both)[0] * 10)) - 3, int(np.floor(max(end for _, end in both) * 10)) + 4
    edges = 10 ** (np.arange(low, high + 1) / 10)
    for number, (log, label) in enumerate(zip(logs, labels)):
        bins = np.bincount(np.floor(log * 10).astype(int) - low, minlength=high - low)
        if label:
            ax.stairs(bins, edges, color=colour(number, label), linewidth=2, label=label)
        else:
            ax.stairs(bins, edges, fill=True, color="#8FC1E3")
    ax.set_xscale("log")
    ax.set_xlim(edges[0], edges[-1])
    ax.xaxis.set_major_locator(LogLocator(10, subs=(1, 2, 5) if high - low < 20 else (1,), numticks=8))
    ax.xaxis.set_major_formatter(DURATION)
    ax.xaxis.set_minor_formatter(NullFormatter())
    ax.yaxis.set_major_locator(whole_numbers())
    ax.yaxis.set_major_formatter(SHORT)
    ax.set_ylim(0)


def mark_percentiles(ax, values):
    """Steps down to the right: lines with words beside them, as far as there are events enough to tell."""
    low, high = ax.get_xlim()
    for level, (percentile, least) in enumerate(((50, 2), (90, 10), (99, 100))):
        value = np.percentile(values, percentile)
        if len(values) < least or value <= max(0, values.min()):
            continue
        height = 0.97 - 0.11 * level
        ax.axvline(value, ymax=height, color="black", linewidth=1.4)
        ax.annotate(
            f"{percentile} % under {duration(value)}",
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


def left_out(values):
    """A second line for the x axis of `log_histogram`: how many values it could not show."""
    missing = int((values <= 0).sum())
    return f"\n{missing:,} of zero or less not shown" if missing else ""


SHORT = FuncFormatter(lambda value, _: short(value))
DURATION = FuncFormatter(lambda value, _: duration(value))
