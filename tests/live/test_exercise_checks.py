"""The checks that look at the kernel: right programs pass, and each way to be wrong is named."""

import os
import threading
import time

import IPython.display
import pandas as pd
import pytest

from helpers import exercise, run, start
from helpers.course.workloads import Caller, Calls
from tests.live.probes import fire

PERF = """
BPF_PERF_OUTPUT(events);
BPF_ARRAY(fired, u64, 1);
struct data_t { u32 pid; char comm[16]; };
PROBE {
    struct data_t data = {.pid = bpf_get_current_pid_tgid() >> 32};
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    events.perf_submit(ctx, &data, sizeof(data));
    if (data.comm[0] == 'a' && data.comm[1] == 's')
        fired.atomic_increment(0);
    bpf_trace_printk("Hello World!");
    return 0;
}
"""
RING = """
BPF_RINGBUF_OUTPUT(events, 8);
struct data_t { u32 pid; };
PROBE {
    struct data_t data = {.pid = bpf_get_current_pid_tgid() >> 32};
    events.ringbuf_output(&data, sizeof(data), 0);
    return 0;
}
"""

NAMELESS = """
BPF_PERF_OUTPUT(events);
struct data_t { u64 number; };
PROBE {
    struct data_t data = {.number = 7};
    for (int i = 0; i < TIMES; i++)
        events.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
"""


def calls(times):
    return run(fire, times=times, name="asker")


@pytest.fixture
def told(monkeypatch):
    """Words of the latest check."""
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    return lambda: repr(shown[-1])


def test_a_program_that_works(load, told):
    bpf = load(PERF)
    with exercise(1) as check:
        df = check.hears(bpf, by=calls)
        check.has_columns(df, "pid", "comm")
        check.that(set(df["pid"]) == set(check.made.pids), "pids")
        check.that((df["comm"] == "asker").all(), "comm")
        check.counts(lambda: bpf["fired"][0].value, by=calls)
        check.prints(bpf, "Hello World!", by=calls)
        check.prints(bpf, "Good bye", each=0, by=calls)
    assert told() == "✓ Exercise 1: done." and check.passed


def test_a_ring_buffer_is_heard_too(load, told):
    with exercise(1) as check:
        check.hears(load(RING), by=calls)
    assert check.passed, told()


def test_bystanders_who_make_the_same_call_do_not_count(load, told):
    bpf = load(PERF)
    noise = start(fire, times=10**9, rate=3000, name="bystander")
    try:
        with exercise(1) as check:
            df = check.hears(bpf, by=calls)
            check.that(set(df["comm"]) == {"asker"}, "comm")
            check.prints(bpf, "Hello", by=calls)
        assert check.passed, told()
        with exercise(1) as check:
            check.hears(bpf, each=2, by=calls)
        assert not check.passed
    finally:
        assert noise.stop().calls > 0


def test_bystanders_whom_nothing_tells_apart_are_few(load, told):
    once, twice = load(NAMELESS.replace("TIMES", "1")), load(NAMELESS.replace("TIMES", "2"))
    noise = start(fire, times=10**9, rate=300, name="bystander")
    try:
        for bpf, right in ((once, True), (twice, False)):
            with exercise(1) as check:
                check.hears(bpf, by=lambda times: run(fire, times=1000 * times, name="asker"))
            assert check.passed == right, told()
    finally:
        assert noise.stop().calls > 0


def test_threads_that_call_are_told_from_bystanders(load, told):
    def from_a_thread(times):
        thread = threading.Thread(target=fire, args=[times])
        thread.start()
        thread.join()
        return Calls([Caller("a thread", os.getpid(), thread.native_id, times, 0, 0)])

    bpf = load(PERF)
    noise = start(fire, times=10**9, rate=3000, name="bystander")
    try:
        with exercise(1) as check:
            check.hears(bpf, by=from_a_thread)
            check.prints(bpf, "Hello", by=from_a_thread)
        assert check.passed, told()
    finally:
        noise.stop()


def test_attached_twice(load, told):
    load(PERF)
    bpf = load(PERF)
    with exercise(1) as check:
        check.prints(bpf, "Hello", by=calls)
    assert "detach_all()" in told()
    with exercise(1) as check:
        check.hears(bpf, by=calls)
    assert check.passed, told()  # two programs, two tables: nothing mixes


def test_other_calls_than_asked_for(load, told):
    bpf = load(PERF)
    with exercise(1) as check:
        check.hears(bpf, by=lambda times: run("sched_yield", times=times, name="other"))
    assert "fresh calls by other gave no events. Is the program attached" in told()
    with exercise(1) as check:
        check.prints(bpf, "World!", by=lambda times: run("sched_yield", times=times))
    assert "gave no lines with 'World!'" in told()


def test_no_such_table_no_program_and_one_cleaned_up(load, told):
    bpf = load(PERF)
    with exercise(1) as check:
        check.hears(bpf, "evnets", by=calls)
    assert "The program has no table `evnets`." in told()
    with exercise(1) as check:
        check.hears(bpf, "fired", by=calls)
    assert "`fired` was not declared by BPF_PERF_OUTPUT or" in told()
    with exercise(1) as check:
        check.hears("int hello() {}", by=calls)
    assert "This should be what `BPF(text=…)` returns" in told() and "str" in told()
    bpf.cleanup()
    with exercise(1) as check:
        check.hears(bpf, by=calls)
    assert "has been cleaned up" in told()


def test_fresh_syncs_are_the_default(told):
    counter = iter(range(1000))
    with exercise(1) as check:
        check.counts(lambda: next(counter), each=0)
    assert "should give 0 counts, but 1 came" in told() and check.made[0].name == "sync"


COUNTED = """
    if (events.SUBMIT)
        dropped.atomic_increment(0);
    return 0;
}
"""


@pytest.mark.parametrize(
    "text, submit",
    [(PERF, "perf_submit(ctx, &data, sizeof(data))"), (RING, "ringbuf_output(&data, sizeof(data), 0)")],
    ids=["perf", "ring"],
)
def test_losses_are_counted(load, told, text, submit):
    declared = text.replace("struct data_t {", "BPF_ARRAY(dropped, u64, 1);\nstruct data_t {")
    none = load(declared)
    some = load(declared.partition(f"events.{submit}")[0].rstrip() + COUNTED.replace("SUBMIT", submit))
    for bpf, passes in ((none, False), (some, True), (some, True)):
        with exercise(1) as check:
            check.counts_losses(bpf, "dropped", by=calls)
        assert check.passed == passes, told()
    with exercise(1) as check:
        check.counts_losses(none, "dropped", by=calls)
    assert "events that nobody read, " in told() and "but `dropped` grew by 0." in told()
    with exercise(1) as check:
        check.counts_losses(load(text), "dropped", by=calls)
    assert "The program has no array `dropped`." in told()
    a_hash = load(declared.replace("BPF_ARRAY(dropped, u64, 1)", "BPF_HASH(dropped, u32, u64)"))
    with exercise(1) as check:
        check.counts_losses(a_hash, "dropped", by=calls)
    assert "The program has no array `dropped`." in told()


def test_which_helpers_a_program_calls(load, told):
    with exercise(1) as check:
        check.uses(load(RING), "ringbuf_output")
    assert check.passed, told()
    with exercise(1) as check:
        check.uses(load(RING), "ringbuf_output", "ringbuf_reserve")
    assert "The program does not call `ringbuf_reserve`." in told()


def test_files_written_while_calls_were_made(tmp_path, told):
    def call(path):
        begin = time.monotonic_ns()
        path.write_text("x")  # its stamp may be older than `begin` by a tick of the kernel's clock
        time.sleep(0.02)
        return pd.DataFrame({"time_ns": [begin, begin + 1], "took_ns": [time.monotonic_ns() - begin, 0]})

    (tmp_path / "folder").mkdir()
    before, first, second = (tmp_path / name for name in ("before", "first", "folder/second"))
    before.write_text("x")
    time.sleep(0.02)
    frames = [call(first), call(second)]
    with exercise(1) as check:
        assert [check.files_written(tmp_path, frame) for frame in frames] == [[first], [second]]
    assert check.passed, told()
