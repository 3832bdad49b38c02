"""What the three collectors promise, on this kernel: rows are calls, fired = received + lost, and nothing is left."""

import os
import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import NamedTuple

import pytest

from helpers import PerfOutput, RingBuffer, TracePipe, wall_clock
from tests.live.probes import HELLO, PERF, finish, fire, fired, producer, ring, two_cpus

pytestmark = pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning")


class Kind(NamedTuple):
    program: str
    large_program: str
    collector: Callable  # of a BPF object, and options
    large: Callable  # with room for all that `large_program` fires, however late the reader comes
    source: str
    cpu: str  # the column that has it
    dtypes: dict[str, str]
    macro: str = ""


def of_events(collector, bpf, table="events", **options):
    return collector(bpf[table], **options)


# fmt: off
EVENT = {
    "time_ns": "uint64", "pid": "uint32", "tid": "uint32", "uid": "uint32", "on_cpu": "uint32", "seq": "uint64",
    "comm": "category",
}
LINE = {
    "task": "category", "tid": "int32", "cpu": "int16", "flags": "category", "time_ns": "int64", "function": "category",
    "message": "str",
}
# fmt: on
KINDS = {
    "PerfOutput": Kind(
        *(PERF, PERF, partial(of_events, PerfOutput), partial(of_events, PerfOutput, pages=1024)),
        *("perf buffer events", "cpu", EVENT | {"cpu": "int16"}, "BPF_PERF_OUTPUT"),
    ),
    "RingBuffer": Kind(
        *(ring(8), ring(1024), partial(of_events, RingBuffer), partial(of_events, RingBuffer)),
        *("ring buffer events", "on_cpu", EVENT, "BPF_RINGBUF_OUTPUT"),
    ),
    "TracePipe": Kind(HELLO, HELLO, lambda bpf: TracePipe(), lambda bpf: TracePipe(), "trace_pipe", "cpu", LINE),
}
each = pytest.mark.parametrize("kind", KINDS.values(), ids=KINDS)
each_with_a_table = pytest.mark.parametrize("kind", list(KINDS.values())[:2], ids=list(KINDS)[:2])


@each
@pytest.mark.parametrize("calls", [0, 1, 5, 100])
def test_calls_are_rows(load, kind, calls):
    bpf = load(kind.program)
    fire(7)
    before = time.monotonic_ns()
    with kind.collector(bpf) as events:
        fire(calls)
    after = time.monotonic_ns()
    fire(3)
    df = events.to_dataframe()
    assert len(df) == events.received == calls and events.lost == 0
    assert {name: str(dtype) for name, dtype in df.dtypes.items()} == kind.dtypes
    comm = Path("/proc/self/comm").read_text().strip()
    ours = {"pid": os.getpid(), "tid": threading.get_native_id(), "uid": os.getuid(), "comm": comm}
    for name, value in (ours | {"function": "bpf_trace_printk", "message": "Hello World!"}).items():
        assert name not in df or df[name].eq(value).all()
    assert df[kind.cpu].isin(os.sched_getaffinity(0)).all()
    assert df["time_ns"].between(before - 1000, after).all()  # trace_pipe has microseconds
    assert df.groupby(kind.cpu)["time_ns"].apply(lambda times: times.is_monotonic_increasing).all()
    if kind.collector is not KINDS["PerfOutput"].collector:
        assert df["time_ns"].is_monotonic_increasing
    if calls:
        assert abs(wall_clock(df).iloc[0].timestamp() - time.time()) < 5


@each
def test_attrs(load, kind):
    bpf = load(kind.program)
    with kind.collector(bpf) as events:
        fire()
    attrs = events.to_dataframe().attrs
    assert (attrs["source"], attrs["lost"], attrs["kernel"]) == (kind.source, 0, os.uname().release)
    assert attrs["clock"].startswith("CLOCK_MONOTONIC")
    assert all(isinstance(value, (str, int)) for value in attrs.values())


@each
def test_what_waited_before_is_thrown_away(load, kind):
    bpf = load(kind.program)
    fire(1000)
    events = kind.collector(bpf)
    for _ in range(3):
        with events:
            fire(2)
        assert len(events.to_dataframe()) == 2 and events.lost == 0
        fire(100)


# fmt: off
@pytest.mark.parametrize("program, collector", [
    (PERF, partial(of_events, PerfOutput, pages=1)),
    (PERF, partial(of_events, PerfOutput, pages=4)),
    (ring(1), partial(of_events, RingBuffer)),
    (ring(1, "BPF_PERCPU_ARRAY"), partial(of_events, RingBuffer)),
    (ring(4), partial(of_events, RingBuffer)),
    (ring(16), partial(of_events, RingBuffer)),
], ids=["perf-1-page", "perf-4-pages", "ring-1-page", "ring-1-page-per-cpu", "ring-4-pages", "ring-16-pages"])
# fmt: on
@pytest.mark.filterwarnings("ignore::helpers.collect.collection.EventsLost")
def test_under_overload_fired_is_received_and_lost(load, many, program, collector):
    bpf, cpus = load(program), two_cpus()
    with collector(bpf) as events:
        finish(*[producer(many, cpu) for cpu in cpus])
    df = events.to_dataframe()
    assert fired(bpf) == many * len(cpus) == len(df) + events.lost
    assert df.attrs["lost"] == events.lost
    for _, rows in df.groupby("on_cpu"):
        assert rows["seq"].is_monotonic_increasing and rows["seq"].is_unique


@each_with_a_table
def test_many_events_none_lost(load, many, kind):
    bpf = load(kind.large_program)
    with kind.large(bpf) as events:
        finish(producer(many := min(many, 60_000)))
    df = events.to_dataframe()
    assert len(df) == many and events.lost == 0
    for _, rows in df.groupby("on_cpu"):
        assert rows["seq"].diff().dropna().eq(1).all()


@each
def test_collect(load, kind):
    bpf = load(kind.program)
    events = kind.collector(bpf)

    def fire_when_it_is_open():
        while not events._collection.is_open:
            time.sleep(0.01)
        fire(7)

    thread = threading.Thread(target=fire_when_it_is_open)
    thread.start()
    df = events.collect(until=7, seconds=60)
    thread.join()
    assert len(df) == 7
    assert len(events.collect(seconds=0.1)) == 0


@each
def test_frames_while_it_runs(load, kind):
    bpf = load(kind.program)
    with kind.collector(bpf) as events:
        for n in range(1, 4):
            fire()
            df = events.collect(until=n, seconds=20)
            assert len(df) == n and df.attrs["lost"] == 0 and "realtime_offset_ns" in df.attrs


@each
@pytest.mark.filterwarnings("ignore::helpers.collect.collection.EventsLost")
def test_stop_keeps_what_came(load, many, kind):
    bpf = load(kind.large_program)
    events = kind.large(bpf)
    with pytest.raises(KeyboardInterrupt):
        with events:
            finish(producer(many))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    assert len(events.to_dataframe()) + events.lost == many == fired(bpf)


@each_with_a_table
def test_cleaned_up_while_collecting(load, capsys, kind):
    bpf = load(kind.program)
    with kind.collector(bpf) as events:
        fire(3)
        bpf.cleanup()
        assert len(events.collect(seconds=20)) == 3
    assert "cleaned up" in capsys.readouterr().out
    assert len(events.to_dataframe()) == 3 and events.lost == 0
    with pytest.raises(ValueError, match="run the cell that makes it again"):
        with events:
            pass


@each_with_a_table
def test_one_collection_of_a_table_at_a_time(load, kind):
    """A second one would take the events of the first, which would not know."""
    bpf = load(kind.program)
    with kind.collector(bpf) as events:
        with pytest.raises(ValueError, match=f"another collection reads {kind.source}"):
            kind.collector(bpf).collect(seconds=1)
        fire(3)
    assert events.received == 3 and events.lost == 0
    with kind.collector(bpf) as events:
        fire()
    assert events.received == 1


@each
def test_nothing_leaks(load, kind):
    bpf = load(kind.program)

    def held():
        maps = Path("/proc/self/maps").read_text()
        rings = maps.count("perf_event"), maps.count("bpf")
        return sorted(os.listdir("/proc/self/fd")), rings, threading.active_count()

    events = kind.collector(bpf)
    before = held()
    for _ in range(100):
        with events:
            fire()
        assert len(events.to_dataframe()) == 1
    assert held() == before


@each_with_a_table
def test_another_kind_of_table(load, kind):
    with pytest.raises(TypeError, match=f"{kind.macro} table"):
        kind.collector(load(kind.program), table="fired")
