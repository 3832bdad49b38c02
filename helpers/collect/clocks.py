"""From nanoseconds since boot, as the kernel counts, to the time on the wall."""

import time

import pandas as pd


def realtime_offset_ns():
    """Nanoseconds to add to CLOCK_MONOTONIC to get CLOCK_REALTIME (int), right to about a microsecond.

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


def wall_clock(times):
    """Wall-clock time of events: nanoseconds since boot to ``datetime64[ns]`` in UTC.

    >>> df["when"] = wall_clock(df["ts"])

    ``times`` is a Series (or array, or list) of nanoseconds since boot by CLOCK_MONOTONIC, or a frame of a collector
    that has the column ``time_ns``. CLOCK_MONOTONIC is what ``bpf_ktime_get_ns()`` tells a BPF program (bpf-helpers(7))
    and what `TracePipe` asks the kernel to stamp its lines with, so frames of all collectors fit on one axis.

    The result is a Series (with the same index and name) without a time zone; its hours are UTC. When ``times`` still
    carries the ``attrs`` of its collector, the offset measured at the end of the collection is used, so that setting the
    wall clock afterwards does not move the events; else the offset is measured now. A wall clock that was set during the
    collection tells all its events as if it had been right from the beginning.

    Raises KeyError for a frame without ``time_ns``.
    """
    if isinstance(times, pd.DataFrame):
        if "time_ns" not in times:
            raise KeyError(f"no column time_ns: give the column that holds the time, one of {list(times.columns)}")
        times = times["time_ns"]
    if not isinstance(times, pd.Series):
        times = pd.Series(times)
    offset = times.attrs.get("realtime_offset_ns")
    if offset is None:
        offset = realtime_offset_ns()
    return (times.astype("int64") + offset).astype("datetime64[ns]")
