"""Stress that only a machine of one's own may get: in the lab's virtual machine, and never on the host."""

import time
from pathlib import Path

import pandas as pd
import pytest

from helpers import PerfOutput, RingBuffer, TracePipe, wall_clock
from tests.live.probes import finish, fire, fired, producer
from tests.live.test_stress import PROGRAM

pytestmark = [
    pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::helpers.collect.collection.EventsLost"),
]


@pytest.fixture
def cpu1():
    """A function that switches CPU 1 on or off; it is on afterwards."""
    switch = Path("/sys/devices/system/cpu/cpu1/online")
    yield lambda on: switch.write_text(str(int(on)))
    switch.write_text("1")


def wait_until(condition):
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("seen", [True, False])
def test_a_cpu_goes_and_comes_back(load, cpu1, happened, monkeypatch, seen):
    """Seen by the collector's look for CPUs each second, or too quick for it: the loss is said to be unknown."""
    monkeypatch.setattr("helpers.collect.perf_output.LOOK_FOR_CPUS_SECONDS", 0.2 if seen else 1000)
    bpf = load(PROGRAM)
    with PerfOutput(bpf["perf"]) as perf, RingBuffer(bpf["ring"]) as ring, TracePipe() as lines:
        finish(producer(100, cpu=1))
        cpu1(False)
        fire(10)
        wait_until(lambda: not seen or 1 not in perf._collection.channel._rings)
        cpu1(True)
        finish(producer(100, cpu=1))
        wait_until(lambda: not seen or 1 in perf._collection.channel._rings)
        finish(producer(100, cpu=1))
    assert fired(bpf) == 310
    assert ring.received == lines.received == 310 and ring.lost == lines.lost == 0
    assert perf.lost is None and (210 if seen else 110) <= perf.received <= 310
    assert "CPU 1 came online" in perf._collection.channel.advice
    happened(
        f"CPU 1 off and on, {'seen' if seen else 'unseen'}",
        f"of 310: perf buffers {perf.received}, lost: unknown; the others all",
    )
    with perf:
        finish(producer(100, cpu=1))
    assert perf.received == 100 and perf.lost == 0


def test_what_waits_in_the_ring_of_a_cpu_that_goes(load, cpu1):
    bpf = load(PROGRAM)
    with PerfOutput(bpf["perf"]).new_channel() as rings:
        finish(producer(100, cpu=1))
        cpu1(False)
        rings._follow_cpus()
        assert rings.columns.rows == 100


def test_the_wall_clock_jumps(load, happened):
    """An hour ahead in mid-collection: times since boot stay, and `wall_clock` tells all by the clock as it is now."""
    bpf = load(
        PROGRAM.replace("u64 seq; u32 cpu;", "u64 time_ns; u64 seq; u32 cpu;").replace(
            "int zero = 0;", "int zero = 0; event.time_ns = bpf_ktime_get_ns();"
        )
    )
    hour = 3600 * 10**9
    begin = time.monotonic_ns()
    try:
        with PerfOutput(bpf["perf"]) as perf, RingBuffer(bpf["ring"]) as ring, TracePipe() as lines:
            fire(5)
            time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() + hour)
            fire(5)
        end, now = time.monotonic_ns(), pd.Timestamp(time.time_ns())
        for events in (perf, ring, lines):
            df = events.to_dataframe()
            times = df["time_ns"].astype("int64")
            assert events.received == 10 and events.lost == 0
            assert times.sort_values().between(begin - 1000, end).all()
            when = wall_clock(df)
            assert (when.diff().dropna().astype("int64") == times.diff().dropna()).all()
            assert when.between(now - pd.Timedelta(nanoseconds=end - begin + 10**7), now + pd.Timedelta("1ms")).all()
    finally:
        time.clock_settime_ns(time.CLOCK_REALTIME, time.time_ns() - hour)
    happened(
        "the wall clock jumps by an hour",
        "time_ns does not move; wall_clock() gives all 10 events by the clock at the end",
    )
