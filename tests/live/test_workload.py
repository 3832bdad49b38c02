"""The workloads make exactly the calls they say, under the names they say, and leave nothing behind."""

import os
import signal
import subprocess
import sys
import textwrap
import time
from collections import Counter
from pathlib import Path

import pytest

from helpers import TracePipe, detach_all
from helpers.course.workloads import run, run_sync, start, sync_from_everywhere
from tests.live.probes import fire

PROJECT = Path(__file__).parents[2]


@pytest.fixture
def diary(tmp_path):
    """A function for a child to run, and a way to read afterwards who ran it, when and where."""
    path = tmp_path / "diary"
    path.touch()

    def write():
        comm = Path("/proc/self/comm").read_text().strip()
        line = f"{comm} {os.getpid()} {time.monotonic_ns()} {sorted(os.sched_getaffinity(0))[0]}\n"
        with open(path, "a") as file:
            file.write(line)

    write.lines = lambda: [line.split() for line in path.read_text().splitlines()]
    return write


def all_children():
    return [int(pid) for pid in Path(f"/proc/self/task/{os.getpid()}/children").read_text().split()]


@pytest.fixture(autouse=True)
def strangers():
    """Not of these tests: Python 3.14 keeps a process that tracks semaphores, once a progress bar has made one."""
    children.before = all_children()


def children():
    return [pid for pid in all_children() if pid not in children.before]


def is_running(pid):
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except (FileNotFoundError, ProcessLookupError):
        return False


def eventually(condition, seconds=20):
    end = time.monotonic() + seconds
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    return condition()


def test_sync_is_the_command_so_many_times():
    made = run_sync(times=3)
    assert made.calls == len(made) == len(set(made.pids)) == 3
    assert {ran.name for ran in made} == {"sync"}
    assert all(ran.pid == ran.tid and ran.start_ns < ran.end_ns for ran in made)
    assert [ran.start_ns for ran in made] == sorted(ran.start_ns for ran in made)


def test_sync_of_one_file(tmp_path):
    made = run_sync(times=2, file=tmp_path)
    assert made.calls == 2 and made.tids == made.pids and len(set(made.pids)) == 2
    with pytest.raises(ChildProcessError, match="ended with status 1"):
        run_sync(times=1, file=tmp_path / "missing")


def test_sync_by_threads_of_ours_and_by_the_command():
    made = sync_from_everywhere(times=3)
    assert made.calls == 6 and made.pids[:3] == [os.getpid()] * 3 and made.tids[3:] == made.pids[3:]
    assert os.getpid() not in made.tids and all(ran.start_ns < ran.end_ns for ran in made)


def test_sync_at_a_rate():
    before = time.monotonic_ns()
    made = run_sync(times=3, rate=10)
    assert made[2].start_ns - before >= 0.2e9


@pytest.mark.parametrize("rate", [0, -1])
def test_sync_at_no_rate(rate):
    with pytest.raises(ValueError, match="above 0"):
        run_sync(rate=rate)


def test_sync_without_the_command(monkeypatch):
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="coreutils"):
        run_sync()


def test_a_failing_sync_is_not_counted(monkeypatch, tmp_path):
    (tmp_path / "sync").write_text("#!/bin/sh\nexit 3\n")
    (tmp_path / "sync").chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with pytest.raises(ChildProcessError, match="status 3"):
        run_sync()


def test_calls_are_made_by_the_names_and_pids_reported(diary):
    made = run(diary, times=4, name=["ann", "bob", "eve"], processes=2)
    assert made.calls == 24
    assert Counter((name, int(pid)) for name, pid, *_ in diary.lines()) == {(r.name, r.pid): 4 for r in made}
    assert Counter(ran.name for ran in made) == {"ann": 2, "bob": 2, "eve": 2}
    assert repr(made).startswith("24 calls by 6 processes (ann, bob, eve) in ")


def test_times_reported_enclose_the_calls(diary):
    [ran] = run(diary, times=5)
    assert all(ran.start_ns <= int(moment) <= ran.end_ns for _, _, moment, _ in diary.lines())


def test_rate(diary):
    before = time.monotonic_ns()
    run(diary, times=5, rate=20)
    moments = [int(moment) for _, _, moment, _ in diary.lines()]
    assert moments[-1] - before >= 0.2e9


def test_processes_begin_together(tmp_path):
    """The first to begin finds all the others there."""
    seen, siblings = tmp_path / "seen", Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children")

    def look():
        with open(seen, "a") as file:
            file.write(f"{siblings.read_text()}\n")

    made = run(look, processes=16)
    assert set(map(str, made.pids)) <= set(seen.read_text().splitlines()[0].split())


def test_cpu_is_kept(diary):
    cpus = sorted(os.sched_getaffinity(0))[:2]
    run(diary, times=2, name=["ann", "bob"], cpu=cpus)
    assert {name: int(cpu) for name, _, _, cpu in diary.lines()} == {"ann": cpus[0], "bob": cpus[-1]}


@pytest.mark.parametrize("call", ["sync", "getppid", "sched_yield", "fsync", "fdatasync"])
def test_named_calls(call):
    made = run(call, times=2)
    assert made.calls == 2 and made[0].name == call


def test_name_has_15_bytes_of_utf8(diary):
    run(diary, name="ä" * 7 + "x")
    assert diary.lines()[0][0] == "ä" * 7 + "x"


@pytest.mark.parametrize(
    "arguments, words",
    [
        ({"call": "reboot"}, "one of sync, getppid"),
        ({"name": "x" * 16}, "16 bytes"),
        ({"name": "ä" * 8}, "16 bytes"),
        ({"name": ""}, "0 bytes"),
        ({"name": "a\0b"}, "no NUL"),
        ({"cpu": 100_000}, "no CPU 100000 here, only 0"),
        ({"cpu": [0, -1]}, "no CPU -1"),
        ({"rate": 0}, "above 0"),
    ],
)
def test_what_cannot_be_is_refused_in_words(arguments, words):
    with pytest.raises(ValueError, match=words):
        run(**arguments)
    assert children() == []


def test_an_error_in_the_function_is_told():
    with pytest.raises(ChildProcessError, match="bad .* failed after 0 calls: ZeroDivisionError"):
        run(lambda: 1 / 0, name=["bad", "worse"])
    assert children() == []


def test_a_killed_child_is_told():
    with pytest.raises(ChildProcessError, match="it was killed"):
        run(lambda: os.kill(os.getpid(), signal.SIGKILL))


def test_stop_counts_what_was_made(diary):
    work = start(diary, times=1_000_000, rate=50)
    assert eventually(diary.lines)
    made = work.stop()
    assert 0 < made.calls == len(diary.lines()) < 1_000_000
    assert work.wait() is made and children() == []


def test_a_block_waits_and_a_broken_block_stops(diary):
    with start(diary, times=3, name="one"), start(diary, times=4, name="two"):
        pass
    assert Counter(name for name, *_ in diary.lines()) == {"one": 3, "two": 4}
    with pytest.raises(RuntimeError, match="enough"), start("getppid", times=10**12):
        raise RuntimeError("enough")
    assert children() == []


def test_interrupt_leaves_nothing(diary, request):
    # Whoever started the tests in the background had them ignore SIGINT.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    request.addfinalizer(lambda: signal.signal(signal.SIGINT, before))

    def interrupt_parent():
        diary()
        if diary.lines()[0][1] == str(os.getpid()):  # the first to come here, and nobody else
            os.kill(os.getppid(), signal.SIGINT)

    with pytest.raises(KeyboardInterrupt):
        run(interrupt_parent, times=10**9, rate=0.01, processes=3)
    assert children() == []
    assert not any(is_running(int(pid)) for _, pid, *_ in diary.lines())


def test_ctrl_c_in_a_terminal_is_the_parents_to_answer():
    """It comes to the children too, and they go on."""
    assert run(lambda: os.kill(os.getpid(), signal.SIGINT), times=3).calls == 3


def test_open_files_do_not_grow():
    before = len(os.listdir("/proc/self/fd"))
    run("getppid", times=2, processes=3)
    with pytest.raises(ChildProcessError):
        run(lambda: 1 / 0)
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM])
def test_children_die_with_their_parent(death):
    script = textwrap.dedent("""
        from helpers.course.workloads import start
        work = start("sched_yield", times=10**12, rate=5, name=["ann", "bob"])
        print(*[pid for _, pid, _ in work._children], flush=True)
        work.wait()
    """)
    with subprocess.Popen([sys.executable, "-c", script], cwd=PROJECT, stdout=subprocess.PIPE, text=True) as parent:
        pids = [int(pid) for pid in parent.stdout.readline().split()]
        assert len(pids) == 2 and all(map(is_running, pids))
        parent.send_signal(death)
    assert eventually(lambda: not any(map(is_running, pids)))


def test_running_until_the_last_call(diary):
    work = start(diary, times=3, rate=1)
    assert work.running
    assert eventually(lambda: not work.running)
    assert len(diary.lines()) == 3 and work.wait().calls == 3 and not work.running


def test_keeps_no_program_attached(load):
    load('PROBE { bpf_trace_printk("old"); return 0; }')
    with start("getppid", times=10**9) as work:
        detach_all()
        with TracePipe() as lines:
            fire(3)
        assert work.running
        work.stop()
    df = lines.to_dataframe()
    assert not (df["message"] == "old").any()
