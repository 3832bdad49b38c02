"""Nanoseconds since boot to the time on the wall."""

import time

import numpy as np
import pandas as pd
import pytest

from helpers import wall_clock
from helpers.collect.clocks import realtime_offset_ns


def test_now_is_now():
    before = time.time_ns()
    wall = wall_clock([time.monotonic_ns()])
    assert wall.dtype == np.dtype("datetime64[ns]")
    assert before - 1_000_000 <= wall.astype("int64").iloc[0] <= time.time_ns() + 1_000_000


def test_differences_are_kept_to_the_nanosecond():
    wall = wall_clock(np.array([5, 6, 1_000_000_005], "uint64"))
    assert wall.diff().iloc[1:].astype("int64").tolist() == [1, 999_999_999]


def test_index_and_name_are_kept():
    times = pd.Series([1, 2], index=["a", "b"], name="ts")
    assert wall_clock(times).index.tolist() == ["a", "b"] and wall_clock(times).name == "ts"


def test_the_offset_of_the_collection_counts():
    frame = pd.DataFrame({"time_ns": [0, 10], "other": [1, 2]})
    frame.attrs["realtime_offset_ns"] = 1_700_000_000_000_000_000
    for times in (frame, frame["time_ns"], frame[frame["other"] > 0]["time_ns"], frame.head(2)):
        assert wall_clock(times).iloc[0] == pd.Timestamp("2023-11-14 22:13:20")


def test_empty():
    assert wall_clock(pd.Series([], dtype="uint64")).dtype == np.dtype("datetime64[ns]")


def test_frame_without_time_ns():
    with pytest.raises(KeyError, match="'ts'"):
        wall_clock(pd.DataFrame({"ts": [1]}))


def test_offset_is_steady():
    assert abs(realtime_offset_ns() - realtime_offset_ns()) < 1_000_000
