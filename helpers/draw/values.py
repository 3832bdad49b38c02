"""What plots find in a DataFrame, and how they say it: columns, times and groups; numbers and units in words."""

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers.language import tr

TIMES = ("time_ns", "time", "ts_ns", "ts", "start_ns")
PROCESSES = ("comm", "task", "name")
OTHERS = tr("others")


def find_column(df: pd.DataFrame, name: str | None, among: tuple[str, ...], argument: str) -> str:
    """Return `name`, or the first of `among` that `df` has.

    Raises:
        KeyError: `df` has no such column; the words name `argument`, by which the caller can give one.
    """
    if name is None:
        name = next((one for one in among if one in df), None)
        if name is None:
            words = tr(
                "none of the columns {among} is here, only {columns}: give {argument}=",
                among=", ".join(among),
                columns=list(df.columns),
                argument=argument,
            )
            raise KeyError(words)
    if name not in df:
        raise KeyError(tr("no column {name!r} here, only {columns}", name=name, columns=list(df.columns)))
    return name


def nanoseconds(df: pd.DataFrame, name: str) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """Return the times or durations of a column in nanoseconds, and which rows have one (missing values do not).

    Integers are nanoseconds unless the column's name ends in _us, _ms or _s; floats are seconds unless it ends in _ns,
    _us or _ms; datetime64 and timedelta64 are what they say.

    Raises:
        ValueError: one has more nanoseconds than 64 bits can hold, as when it had been nanoseconds and not seconds.
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
    scaled = np.rint(numbers.astype("float64") * factor)
    if (abs(scaled) >= 2**63).any():
        raise ValueError(
            tr(
                "{name!r} has times of more than 292 years. If they are nanoseconds, which became floats where a value "
                "was missing, let the column's name end in _ns",
                name=name,
            )
        )
    return scaled.astype("int64"), present


def groups(
    df: pd.DataFrame, name: str, most: int, sizes: NDArray[np.int64] | None = None
) -> tuple[NDArray[np.int64], list[str]]:
    """Return the number of each row's group, from 0, and the groups' labels.

    Args:
        df: the events.
        name: the column whose values are the groups.
        most: number of groups; all but the most frequent ones are `OTHERS`.
        sizes: how many events each row stands for; one when None.
    """
    codes, values = pd.factorize(df[name], use_na_sentinel=False)
    totals = np.bincount(codes, sizes, minlength=len(values))
    ranks = np.lexsort((np.array([str(value) for value in values]), -totals)).tolist()
    shown = ranks if len(values) <= most + 1 else ranks[:most]
    if df[name].dtype.kind in "iuf":  # CPU numbers and the like read best in their own order
        shown = sorted(shown, key=lambda rank: values[rank])
    new = np.full(len(values), len(shown))
    new[shown] = np.arange(len(shown))
    prefix = "CPU " if name == "cpu" else ""
    labels = [f"{prefix}{values[rank]}" for rank in shown] + [OTHERS] * (len(shown) < len(values))
    return new[codes], [label[:24] for label in labels]


def _rounded(value: float) -> float:
    """Return it to three digits, as it will be shown: 999,600 ns are 1 ms, and not 1e+03 µs."""
    return float(f"{value:.3g}")


def unit(span_ns: float) -> tuple[float, str]:
    """Return the unit for an axis: nanoseconds in one, and its name.

    Args:
        span_ns: length of the axis in nanoseconds.
    """
    return next((u for u in ((1e9, "s"), (1e6, "ms"), (1e3, "µs")) if span_ns >= u[0]), (1, "ns"))


def duration(ns: float) -> str:
    """Return a time in words.

    >>> duration(12_300)
    '12.3 µs'

    Args:
        ns: nanoseconds.
    """
    shown = _rounded(abs(ns))
    size, name = unit(shown)
    return f"{ns / size:.3g} {name}" if shown < 1e12 else f"{ns / 1e9:,.0f} s"


def short(value: float) -> str:
    """Return a number short enough for an axis.

    >>> short(1_500_000)
    '1.5 M'

    Args:
        value: a number of anything.
    """
    for size, letter in ((1e9, " G"), (1e6, " M"), (1e3, " k")):
        if _rounded(abs(value)) >= size:
            return f"{value / size:.3g}{letter}"
    return f"{value:.3g}"


def percent(share: float) -> str:
    """Return a share in words.

    >>> percent(0.286)
    '28.6 %'

    Args:
        share: a share of 1.
    """
    rest = 1 - share
    if 0 < rest < 0.001:  # not all, however little is left
        return f"{100 - float(f'{rest * 100:.1g}'):.10g} %"
    return f"{share * 100:.3g} %"


def events(number: int) -> str:
    """Return "1 event" or "1,234 events".

    Args:
        number: how many events.
    """
    return tr("1 event") if number == 1 else tr("{number:,} events", number=number)


def at_one_moment(number: str) -> str:
    """Return "5 events at one moment".

    Args:
        number: how many events, as `events` says it.
    """
    return tr("{events} at one moment", events=number)
