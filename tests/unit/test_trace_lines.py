"""Lines of trace_pipe, written by the test as the kernel writes them, taken apart by `helpers.collect.trace_pipe`."""

import os
import time

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.collect import trace_pipe
from helpers.collect.trace_pipe import Pipe, parse

CPU_LOST = b"CPU:0 [LOST 123 EVENTS]\n"


USUAL = {
    "task": b"bash", "tid": 1234, "cpu": 1, "flags": b"d..21", "time_ns": 5678_901234_000,
    "function": b"bpf_trace_printk", "message": b"Hello World!",
}  # fmt: skip


def line(tgid=None, **changed):
    """An entry as kernel/trace/trace_output.c prints it."""
    task, tid, cpu, flags, time_ns, function, message = (USUAL | changed).values()
    group = b"(%7s) " % tgid if tgid else b""
    head = b"%16s-%-7d %s[%03d] %s" % (task, tid, group, cpu, flags)
    return b"%s %5d.%06d: %s: %s\n" % (head, *divmod(time_ns // 1000, 10**6), function, message)


def rows(text):
    found = parse(text)
    names = list(USUAL)[:-1]
    fields = [dict(zip(names, row)) for row in found.fields[names].tolist()]
    return [{**row, "task": row["task"].lstrip(b" "), "message": text} for row, text in zip(fields, found.messages)]


def expected(**changed):
    return USUAL | changed


def test_one_line():
    assert rows(line()) == [expected()]


def test_no_lines():
    assert rows(b"") == [] and parse(b"").lost == 0


ODD = {
    "task": [
        b"<...>", b"a b", b"x-12", b"k: [001]", b"-", b"a-1 [000] d..", b"15 characters !", b"\xff\xfe",
        b"two\nlines", b"\nfirst", b"last\n",
    ],
    "tid": [1, 4194304],
    "cpu": [0, 127, 1023],
    "flags": [b"....", b"d.h2.."],
    "time_ns": [0, 99999_999999_000, 123456_000001_000],
    "function": [b"0", b"0x00000001", b"tracing_mark_write", b"sched_switch"],
    "message": [
        b"", b"a: b: c", b"one\ntwo", b"ends\n", b"\n", b"\n\n\nfar", b"caf\xc3\xa9 \xff", b" indented", b"x" * 1000,
        b"looks like a line -12 [001] d..21 1.5: no",
        b"a line but for its number:\n" + line(tid=12)[:-1].replace(b"-12", b"-1x"),
    ],
}  # fmt: skip


@pytest.mark.parametrize("changed", [{name: value} for name, values in ODD.items() for value in values], ids=str)
@pytest.mark.parametrize("place", [0, 1, 40])
def test_odd_ones_among_usual_ones(changed, place):
    """Also when it is the first, from which the reader learns what lines look like."""
    usual = [line(tid=n, message=b"Hello %d" % n) for n in range(80)]
    odd = line(**changed)
    found = rows(b"".join(usual[:place]) + odd + b"".join(usual[place:]))
    assert found.pop(place) == expected(**changed)
    assert found == [expected(tid=n, message=b"Hello %d" % n) for n in range(80)]


def test_thread_group_column():
    assert rows(line(tgid=b"1200") + line(tgid=b"-----", tid=7)) == [expected(), expected(tid=7)]


def test_function_tracer():
    text = line().replace(b"bpf_trace_printk: Hello World!", b"vfs_read <-ksys_read")
    assert rows(text) == [expected(function=b"vfs_read", message=b"<-ksys_read")]


def test_a_first_line_that_names_no_function():
    """As tracepoints of system calls write it."""
    text = line().replace(b"bpf_trace_printk: Hello World!", b"sys_sync()")
    assert rows(text + line() + text) == [
        expected(function=b"", message=b"sys_sync()"),
        expected(),
        expected(function=b"", message=b"sys_sync()"),
    ]


def test_no_flags_without_irq_info():
    assert rows(line().replace(b"d..21 ", b"")) == [expected(flags=b"")]


def test_lost_events_are_counted():
    found = parse(CPU_LOST + line() + CPU_LOST.replace(b"0", b"11") + line())
    assert found.lost == 246 and len(found.messages) == 2


def test_lost_events_of_unknown_number():
    assert parse(line() + b"CPU:3 [LOST EVENTS]\n" + line() + CPU_LOST).lost is None


def test_the_rest_of_a_line_that_somebody_else_began():
    assert rows(b"second half\n" + line()) == [expected()]


def test_an_unfinished_line_is_left_out():
    assert rows(line() + b"            bash-12") == [expected()]


names = st.binary(min_size=1, max_size=15).filter(lambda name: not {0, 10} & {*name} and name[:1] != b" ")
texts = st.lists(st.text(alphabet="abc :-[]01.é", max_size=12).map(str.encode), min_size=1, max_size=3).map(b"\n".join)
entries = st.fixed_dictionaries(
    {
        "task": names,
        "tid": st.integers(0, 4194304),
        "cpu": st.integers(0, 300),
        "flags": st.sampled_from([b"d..21", b"....", b"dNh31"]),
        "time_ns": st.integers(0, 10**9).map(lambda micros: micros * 1000),
        "function": st.sampled_from([b"bpf_trace_printk", b"0", b"main"]),
        "message": texts,
    }
)


@settings(max_examples=300, deadline=None)
@given(st.lists(entries, max_size=20))
def test_any_entries(wanted):
    assert rows(b"".join(line(**entry) for entry in wanted)) == wanted


@settings(max_examples=500, deadline=None)
@given(st.lists(st.one_of(st.binary(max_size=80), entries.map(lambda entry: line(**entry)), st.just(CPU_LOST))))
def test_any_bytes_do_no_harm(parts):
    found = parse(b"".join(parts))
    assert len(found.fields) == len(found.messages)


def test_into_columns():
    pipe = Pipe()
    found = parse(line(task="naïve".encode()) + line(message=b"\xff"))
    pipe.columns.append(found.fields, message=found.messages)
    df = pipe.columns.to_frame()
    assert df["task"].tolist() == ["naïve", "bash"] and df["message"].tolist() == ["Hello World!", "\\xff"]
    assert df["time_ns"].dtype == "int64" and df["function"].cat.categories.tolist() == ["bpf_trace_printk"]


@pytest.mark.parametrize("text", [b"  bash-1234    0...1. 5678901234us : main: Hi\n", b"main: Hi\n"])
@pytest.mark.parametrize("read_bytes", [1 << 18, 1])
def test_lines_of_another_format_are_not_passed_over(monkeypatch, text, read_bytes):
    """By options/latency-format, and without options/context-info."""
    monkeypatch.setattr(trace_pipe, "READ_BYTES", read_bytes)
    pipe = Pipe()
    pipe._fd, end = os.pipe2(os.O_NONBLOCK)
    os.write(end, text * 2)
    pipe.finish()
    os.close(pipe._fd), os.close(end)
    assert pipe.columns.rows == 0 and pipe.lost is None and "latency-format" in pipe.advice


def test_names_that_were_read_too_early(tmp_path):
    """The kernel notes one only when its thread leaves the CPU, and not each: then it stays without."""
    pipe = Pipe()
    pipe._tracefs = tmp_path
    (tmp_path / "saved_cmdlines").write_bytes(b"12 python\n13 a b\n")
    found = parse(b"".join(line(task=b"<...>", tid=tid) for tid in (12, 13, 14)) + line())
    pipe._ask_for_names(found.fields)
    assert [name.lstrip(b" ") for name in found.fields["task"].tolist()] == [b"python", b"a b", b"<...>", b"bash"]


def test_time_in_proportion():
    def cost(count):
        text = line() * count
        begin = time.process_time()
        parse(text)
        return (time.process_time() - begin) / count

    cost(1000)
    assert min(cost(100_000) for _ in range(3)) < 5 * min(cost(5_000) for _ in range(5))
