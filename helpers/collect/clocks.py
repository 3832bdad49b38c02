"""From nanoseconds since boot, as the kernel counts, to the time on the wall."""

import time
from typing import Any

import pandas as pd

from helpers.language import tr

# What ``df.attrs["clock"]`` says of events whose program takes their time.
BPF_CLOCK = tr("CLOCK_MONOTONIC, as bpf_ktime_get_ns() tells it: nanoseconds since boot, time asleep left out")


def realtime_offset_ns() -> int:
    """Return the nanoseconds to add to CLOCK_MONOTONIC to get CLOCK_REALTIME, right to about a microsecond.

    Both clocks are read by clock_gettime(2), one between two readings of the other; of eight tries the one with the
    least time between those two readings counts.
    """
    tries = []
    for _ in range(8):
        before = time.monotonic_ns()
        wall = time.time_ns()
        after = time.monotonic_ns()
        tries.append((after - before, wall - (before + after) // 2))
    return min(tries)[1]


def wall_clock(times: Any) -> "pd.Series[Any]":
    """Wall-clock time of events.

    >>> df["when"] = wall_clock(df["ts"])

    CLOCK_MONOTONIC is what ``bpf_ktime_get_ns()`` tells a BPF program (bpf-helpers(7)) and what `TracePipe` asks the
    kernel to stamp its lines with, so frames of all collectors fit on one axis.

    When ``times`` still carries the ``attrs`` of its collector, the offset measured at the end of the collection is
    used, so that setting the wall clock afterwards does not move the events; else the offset is measured now. A wall
    clock that was set during the collection tells all its events as if it had been right from the beginning.

    Args:
        times: Series (or array, or list) of nanoseconds since boot by CLOCK_MONOTONIC, or a frame of a collector that
            has the column ``time_ns``.

    Returns:
        Series of ``datetime64[ns]`` without a time zone, its hours UTC, with the index and name of ``times``.

    Raises:
        KeyError: a frame without ``time_ns``.
    """
    if isinstance(times, pd.DataFrame):
        if "time_ns" not in times:
            names = list(times.columns)
            raise KeyError(tr("no column time_ns: give the column that holds the time, one of {names}", names=names))
        times = times["time_ns"]
    if not isinstance(times, pd.Series):
        times = pd.Series(times)
    offset = times.attrs.get("realtime_offset_ns")
    if offset is None:
        offset = realtime_offset_ns()
    realtime_ns: pd.Series = times.astype("int64") + offset
    return realtime_ns.astype("datetime64[ns]")
