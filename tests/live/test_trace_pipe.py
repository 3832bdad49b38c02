"""`TracePipe` on this kernel: odd task names, long stories, loss, and one clock for all."""

import ctypes
import os
import re
from pathlib import Path

import numpy as np
import pytest

from helpers import EventsLost, PerfOutput, TracePipe, detach_all, start
from tests.live.probes import HELLO, TRACING, finish, fire, fired, producer, two_cpus

pytestmark = pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning")


@pytest.fixture
def named():
    """Runs the probed call under a name of the test's choice."""
    prctl, PR_SET_NAME, before = ctypes.CDLL(None).prctl, 15, Path("/proc/self/comm").read_text().rstrip("\n")

    def run(name):
        prctl(PR_SET_NAME, os.fsencode(name) if isinstance(name, str) else name)
        fire()

    yield run
    prctl(PR_SET_NAME, before.encode())


NAMES = ["a b c", "x-12", "we:ird: 1", "[0] -7", "<...>", "-", "a-1 [000] d..", "naïve", "16 characters ab"]


@pytest.mark.parametrize("name", NAMES)
def test_task_names(load, named, name):
    load(HELLO)
    with TracePipe() as lines:
        named(name)
    df = lines.to_dataframe()
    # The kernel prints the name it noted when it last switched to the task: maybe an older one, maybe none.
    known = {old[:15] for old in NAMES} | {"<...>", "python", "python3", "pytest"}
    assert len(df) == 1 and df["task"].iloc[0] in known and df["message"].iloc[0] == "Hello World!"


def test_names_that_were_read_too_early(load):
    """A thread that never leaves its CPU has no name yet when its first lines are read."""
    load(HELLO)
    with TracePipe() as lines:
        process = producer(2000, cpu=0)
        finish(process)
    df = lines.to_dataframe()
    assert set(df["task"][df["tid"] == process.pid]) <= {"python", "python3"} and len(df) == 2000


def test_names_that_the_kernel_forgot(load):
    load(HELLO)
    names = TRACING / "saved_cmdlines_size"
    with TracePipe() as lines:
        process = producer(5)
        finish(process)
        names.write_text("128")  # empties the list
    df = lines.to_dataframe()
    assert len(df) == 5 and set(df["task"]) <= {"<...>", "python", "python3"}


def test_messages_of_several_lines(load):
    load(r"""PROBE {
        bpf_trace_printk("one\ntwo\n\nfour"); bpf_trace_printk("ends\n"); bpf_trace_printk("a: b: c");
        return 0;
    }""")
    with TracePipe() as lines:
        fire(2)
    messages = [text.rstrip("\n") for text in lines.to_dataframe()["message"]]
    assert messages == ["one\ntwo\n\nfour", "ends", "a: b: c"] * 2


def test_who_wrote_a_line(load):
    load(HELLO)
    with TracePipe() as lines:
        fire()
        (TRACING / "trace_marker").write_text("from user space\n")
    df = lines.to_dataframe()
    assert df["function"].tolist() == ["bpf_trace_printk", "tracing_mark_write"]
    assert df["message"].iloc[1] == "from user space"


def test_two_programs_mix(load):
    load(HELLO)
    load('PROBE { bpf_trace_printk("Second"); return 0; }')
    with TracePipe() as lines:
        fire(4)
    assert lines.to_dataframe()["message"].value_counts().to_dict() == {"Hello World!": 4, "Second": 4}


@pytest.mark.filterwarnings("ignore::helpers.collect.collection.EventsLost")
def test_fired_is_received_and_lost(load, many, small_buffer):
    bpf = load(HELLO)
    with pytest.warns(EventsLost, match="were lost"):
        with TracePipe() as lines:
            finish(*[producer(many, cpu) for cpu in two_cpus()])
    assert lines.lost > 0 and fired(bpf) == len(lines.to_dataframe()) + lines.lost


def test_many_lines_none_lost(load, many):
    load(HELLO)
    lines = TracePipe()
    with lines:
        for _ in range(10):
            finish(producer(min(many, 20_000) // 20))
    assert lines.lost == 0 and len(lines.to_dataframe()) == min(many, 20_000) // 20 * 10


def test_one_clock_for_both_sources(load):
    bpf = load("""
        struct event { u64 time_ns; };
        BPF_PERF_OUTPUT(events);
        PROBE {
            struct event event = { bpf_ktime_get_ns() };
            bpf_trace_printk("now");
            events.perf_submit(ctx, &event, sizeof(event));
            return 0;
        }""")
    with TracePipe() as lines, PerfOutput(bpf["events"]) as events:
        fire(50)
    by_pipe, by_perf = (
        frame.to_dataframe()["time_ns"].astype("int64").sort_values().to_numpy() for frame in (lines, events)
    )
    # trace_pipe rounds to the microsecond; a busy machine may take the CPU away between the two, but not each time.
    assert len(by_pipe) == len(by_perf) == 50 and np.median(abs(by_pipe - by_perf)) < 200_000


def test_the_trace_clock_is_put_back(load):
    before = (TRACING / "trace_clock").read_text()
    with TracePipe():
        assert "[mono]" in (TRACING / "trace_clock").read_text()
    assert (TRACING / "trace_clock").read_text() == before


def test_processes_at_work_do_not_keep_the_pipe(load):
    load(HELLO)
    with TracePipe():
        work = start("getppid", times=1000, rate=10)
    with work, TracePipe() as lines:
        fire(3)
        work.stop()
    assert lines.received == 3


def test_another_reader_is_told_of(load):
    bpf = load(HELLO)
    bpf.trace_fields(nonblocking=True)
    try:
        with TracePipe() as lines:
            fire()
    except OSError as error:
        assert "detach_all()" in str(error)
    else:
        release = tuple(map(int, re.findall(r"\d+", os.uname().release)[:2]))
        assert release < (6, 6) and len(lines.to_dataframe()) <= 1, "those let several read, and share the lines out"
    detach_all()
    with TracePipe():
        pass


def test_running_the_cell_twice(load):
    """The trap, and the way out of it."""
    load(HELLO)
    load(HELLO)
    lines = TracePipe()
    with lines:
        fire()
    assert len(lines.to_dataframe()) == 2
    assert detach_all() == 2 and detach_all() == 0
    load(HELLO)
    with lines:
        fire()
    assert len(lines.to_dataframe()) == 1
