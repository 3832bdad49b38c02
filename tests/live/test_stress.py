"""Stress: what came is kept, what was lost is counted, nothing stays behind, and the next cell works."""

import ctypes
import gc
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import numpy as np
import pytest

from helpers import PerfOutput, RingBuffer, TracePipe, detach_all
from tests.conftest import REPEATS
from tests.live.probes import TRACING, asleep, finish, fire, fired, producer, two_cpus
from tests.moments import moments, press

pytestmark = [
    pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning"),
    pytest.mark.filterwarnings("ignore::helpers.collect.collection.EventsLost"),
]

# Every event goes into all three channels, and is counted.
PROGRAM = """
struct event { u64 seq; u32 cpu; };
BPF_PERF_OUTPUT(perf);
BPF_RINGBUF_OUTPUT(ring, 64);
BPF_ARRAY(ring_lost, u64, 1);
BPF_ARRAY(fired, u64, 1);
BPF_PERCPU_ARRAY(sequence, u64, 1);
PROBE {
    struct event event = {};
    int zero = 0;
    u64 *seq = sequence.lookup(&zero);
    if (seq) event.seq = (*seq)++;
    event.cpu = bpf_get_smp_processor_id();
    fired.atomic_increment(0);
    perf.perf_submit(ctx, &event, sizeof(event));
    if (ring.ringbuf_output(&event, sizeof(event), 0)) ring_lost.atomic_increment(0);
    bpf_trace_printk("event");
    return 0;
}
"""


COLLECTORS = {
    "perf": lambda bpf: PerfOutput(bpf["perf"]),
    "ring": lambda bpf: RingBuffer(bpf["ring"]),
    "trace_pipe": lambda bpf: TracePipe(),
}
each = pytest.mark.parametrize("name", COLLECTORS)


def held():
    """What this process holds: open files by kind, mapped rings, threads; and the kernel's trace clock."""
    links = []
    for fd in os.listdir("/proc/self/fd"):
        try:
            links.append(os.readlink(f"/proc/self/fd/{fd}"))
        except FileNotFoundError:  # the one that lists them
            pass
    maps = Path("/proc/self/maps").read_text()
    mapped = maps.count("[perf_event]") + maps.count("bpf-map")
    return sorted(links), mapped, threading.active_count(), (TRACING / "trace_clock").read_text()


def in_the_kernel():
    """The BPF programs and maps that the kernel holds, by their ids, and the probes of its lists, by name."""
    from bcc.libbcc import lib

    now, found = ctypes.c_uint32(), set()
    for kind, following in (("program", lib.bpf_prog_get_next_id), ("map", lib.bpf_map_get_next_id)):
        now.value = 0
        while following(now, ctypes.byref(now)) == 0:
            found.add(f"{kind} {now.value}")
    for path in (TRACING / "kprobe_events", TRACING / "uprobe_events"):
        found.update(path.read_text().splitlines() if path.exists() else [])
    return found


def nothing_new(before):
    """Whether the kernel holds nothing that it did not hold before; it takes a moment to let go of a map."""
    gc.collect()
    deadline = time.monotonic() + 10
    while in_the_kernel() - before and time.monotonic() < deadline:
        time.sleep(0.05)
    return not in_the_kernel() - before


@pytest.fixture
def trace_clock():
    """Puts the trace clock back, which a killed Python cannot."""
    path = TRACING / "trace_clock"
    chosen = path.read_text().partition("[")[2].partition("]")[0]
    yield
    path.write_text(chosen)


@each
def test_stop_at_every_moment(load, name, happened):
    """One ■ at each place where Python looks for one, from the first line of the cell to its last."""
    bpf = load(PROGRAM)
    events = COLLECTORS[name](bpf)

    def cell():
        with events:
            fire(3)
        events.to_dataframe()

    cell()
    before = held()
    found = moments(cell)
    found = found[:: max(1, len(found) // REPEATS)]
    through = 0
    for moment in found:
        start = fired(bpf)
        interrupted = press(cell, moment)
        through += interrupted
        assert held() == before, moment
        if interrupted and fired(bpf) > start:
            assert len(events.to_dataframe()) + events.lost == fired(bpf) - start
        with events:
            fire(2)
        assert len(events.to_dataframe()) == 2 and events.lost == 0
    assert through == len(found)
    happened(
        f"■ at {len(found)} places of a cell with {name}", f"{through} came through; kept what had fired; left nothing"
    )


@each
def test_stop_in_a_flood(load, name, happened):
    """■ by the clock, from another process, while the thread is busy reading."""
    bpf = load(PROGRAM)
    events = COLLECTORS[name](bpf)
    with events:
        fire()
    before = held()
    received = lost = 0
    for delay in np.linspace(0, 0.1, REPEATS):
        start = fired(bpf)
        script = f"input(); time.sleep({delay}); os.kill({os.getpid()}, signal.SIGINT)"
        command = [sys.executable, "-S", "-E", "-c", f"import os, signal, time; {script}"]
        with subprocess.Popen(command, stdin=subprocess.PIPE) as presser:
            try:
                with events:
                    presser.stdin.write(b"\n")
                    presser.stdin.flush()
                    while True:
                        fire()
            except KeyboardInterrupt:
                pass
        assert held() == before
        assert events.received + events.lost == fired(bpf) - start
        received, lost = received + events.received, lost + events.lost
    happened(
        f"■ in a flood of events, {REPEATS} times, {name}",
        f"fired {received + lost:,} = received {received:,} + lost {lost:,}",
    )


@pytest.mark.parametrize("how", ["bpf.cleanup()", "detach_all()"])
def test_cleaned_up_in_a_flood(load, how, happened):
    """The BPF object goes while events come on every CPU and all three collectors read."""
    kernel = in_the_kernel()
    bpf = load(PROGRAM)
    collectors = {name: make(bpf) for name, make in COLLECTORS.items()}
    producers = [producer(100_000, cpu) for cpu in two_cpus()]
    before = held()
    with collectors["perf"] as perf, collectors["ring"] as ring, collectors["trace_pipe"]:
        perf.collect(until=100, seconds=20)
        bpf.cleanup() if how == "bpf.cleanup()" else detach_all()
        ring.collect(seconds=20)  # it ends by itself
    for process in producers:
        process.kill()
        process.wait()
    assert held()[1:] == (0, *before[2:])
    for name in ("perf", "ring"):
        df, lost = collectors[name].to_dataframe(), collectors[name].lost
        meanwhile = sum(rows["seq"].max() - rows["seq"].min() + 1 for _, rows in df.groupby("cpu"))
        assert len(df) >= 100 and len(df) <= meanwhile <= len(df) + lost, name
    del bpf, perf, ring
    collectors.clear()
    assert nothing_new(kernel)
    bpf = load(PROGRAM)
    with PerfOutput(bpf["perf"]) as events:
        fire(2)
    assert events.received == 2
    happened(
        f"{how} under three collectors in a flood",
        f"{len(df):,} kept, {lost:,} lost; no program or map stayed in the kernel",
    )


def test_detached_again_and_again_in_a_flood(load, happened):
    """The kernel changes a function's first instruction while two CPUs run into it."""
    producers = [producer(10**12, cpu) for cpu in two_cpus()]
    try:
        for _ in range(REPEATS):
            bpf = load(PROGRAM)
            deadline = time.monotonic() + 60
            while not fired(bpf):
                assert time.monotonic() < deadline
            detach_all()
    finally:
        alive = [process.poll() is None for process in producers]
        for process in producers:
            process.kill()
            process.wait()
    assert alive == [True, True]
    happened(f"{REPEATS} probes attached and detached in a flood", "each fired, and the kernel lives")


def test_a_reader_that_sleeps(load, small_buffer, happened):
    """A million events, and nobody reads: fired = received + lost in every channel, exactly."""
    million, bpf = 1_000_000, load(PROGRAM)
    cpus = two_cpus()
    with PerfOutput(bpf["perf"]) as perf, RingBuffer(bpf["ring"]) as ring, TracePipe() as lines:
        with asleep(perf), asleep(ring), asleep(lines):
            finish(*[producer(million // len(cpus), cpu) for cpu in cpus])
    assert fired(bpf) == million
    for events in (perf, ring, lines):
        assert 0 < events.received < million and events.received + events.lost == million
        assert len(events.to_dataframe()) == events.received
        happened(
            f"{type(events).__name__}: asleep while {million:,} fired",
            f"received {events.received:,} + lost {events.lost:,}",
        )
    with perf, ring, lines:
        fire(2)
    assert [events.received for events in (perf, ring, lines)] == [2, 2, 2]


def test_killed_in_mid_collection(load, trace_clock, happened):
    """Python is killed while all three collectors read, again and again: the kernel takes everything back."""
    kernel = in_the_kernel()
    times = max(2, REPEATS // 5)
    for _ in range(times):
        reader, writer = os.pipe()
        pid = os.fork()
        if not pid:
            try:
                bpf = load(PROGRAM)
                with PerfOutput(bpf["perf"]) as perf, RingBuffer(bpf["ring"]), TracePipe():
                    while True:
                        fire(10)
                        if perf.received:
                            os.write(writer, b"!")
            finally:
                os._exit(1)
        os.close(writer)
        assert os.read(reader, 1) == b"!"
        os.kill(pid, signal.SIGKILL)
        assert os.waitpid(pid, 0)[1] == signal.SIGKILL
        os.close(reader)
    assert nothing_new(kernel)
    bpf = load(PROGRAM)
    with PerfOutput(bpf["perf"]) as perf, RingBuffer(bpf["ring"]) as ring, TracePipe() as lines:
        fire(2)
    assert [events.received for events in (perf, ring, lines)] == [2, 2, 2]
    happened(f"Python killed in mid-collection, {times} times", "programs, maps and probes in the kernel as before")
