"""Processes that make system calls when asked: so many, so fast, under the names you choose.

    run_sync(times=5)                                     the real `sync` command, five times
    run("sync", times=20, rate=50, name=["ann", "bob"])   two processes at once, 20 calls each, 50 a second
    run("getppid", times=1_000_000, cpu=0)                one million calls, as fast as CPU 0 can make them

All three wait until the calls are done, and say exactly how many were made, by which process, and when.
"""

import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Sequence
from typing import NamedTuple, Self

from helpers.course.child import Child, sleep_until
from helpers.language import tr

NAME_BYTES = 15  # TASK_COMM_LEN is 16, and the last byte is NUL


class Caller(NamedTuple):
    """A process and its calls. Times are ns since boot, by the clock of bpf_ktime_get_ns(), CLOCK_MONOTONIC."""

    name: str
    pid: int
    tid: int
    calls: int
    start_ns: int
    end_ns: int


class Calls(list[Caller]):
    """The system calls that were made: a list of their callers; `pandas.DataFrame(calls)` has a row for each."""

    @property
    def calls(self) -> int:
        """Number of calls made by all processes together."""
        return sum(caller.calls for caller in self)

    @property
    def pids(self) -> list[int]:
        """The process ids, in the order in which the processes started."""
        return [caller.pid for caller in self]

    @property
    def tids(self) -> list[int]:
        """The thread ids, in the same order."""
        return [caller.tid for caller in self]

    def __repr__(self) -> str:
        names = ", ".join(dict.fromkeys(caller.name for caller in self)) or tr("nobody")
        seconds = (max(one.end_ns for one in self) - min(one.start_ns for one in self)) / 1e9 if self else 0
        calls = tr("1 call") if self.calls == 1 else tr("{number:,} calls", number=self.calls)
        processes = tr("1 process") if len(self) == 1 else tr("{number} processes", number=len(self))
        values: dict[str, object] = {"calls": calls, "processes": processes, "names": names, "seconds": seconds}
        return tr("{calls} by {processes} ({names}) in {seconds:.3g} s", **values)


def run_sync(times: int = 5, rate: float | None = None, file: str | os.PathLike[str] | None = None) -> Calls:
    """Run the `sync` command again and again, one run after the other.

    Every run is a process of its own, named "sync", that makes the system call sync(2) once.

    >>> run_sync(times=5)
    5 calls by 5 processes (sync) in 0.0192 s

    Args:
        times: how many runs.
        rate: at most so many runs per second; as fast as possible when None.
        file: call fsync(2) for this file only, in place of sync(2).

    Returns:
        The calls, one by each process.

    Raises:
        ValueError: such a rate is impossible.
        FileNotFoundError: there is no `sync` command.
        ChildProcessError: it failed.
    """
    _check_rate(rate)
    command = shutil.which("sync")
    if command is None:
        raise FileNotFoundError(
            tr("there is no `sync` command here (Debian and Ubuntu have it in the package coreutils)")
        )
    made, begin = Calls(), time.monotonic()
    for number in range(times):
        sleep_until(begin + number / rate if rate else 0)
        start_ns = time.monotonic_ns()
        with subprocess.Popen([command, file] if file else [command]) as process:
            status = process.wait()
        if status:
            raise ChildProcessError(tr("`sync` ended with status {status}", status=status))
        made.append(Caller("sync", process.pid, process.pid, 1, start_ns, time.monotonic_ns()))
    return made


def sync_from_everywhere(times: int = 1) -> Calls:
    """Call sync(2) from new threads of this Python, and as often by the command.

    So a PID is not always a TID, nor always this Python's: what a program takes for the PID is seen.

    Args:
        times: number of calls in each way.

    Returns:
        The calls, of the threads first.
    """
    made = Calls()
    for _ in range(times):
        start_ns = time.monotonic_ns()
        thread = threading.Thread(target=os.sync)
        thread.start()
        thread.join()
        assert thread.native_id is not None  # it has run
        made.append(Caller(tr("a second thread"), os.getpid(), thread.native_id, 1, start_ns, time.monotonic_ns()))
    made.extend(run_sync(times))
    return made


def run(
    call: str | Callable[[], object] = "sync",
    times: int = 1,
    rate: float | None = None,
    name: str | Sequence[str] | None = None,
    processes: int = 1,
    cpu: int | Sequence[int] | None = None,
) -> Calls:
    """Make a system call in some new processes, which begin together, and wait for them.

    ■ or Ctrl-C ends the processes, and so does the end of this Python, or of the calling thread; prctl(2).

    >>> run("sync", times=10, rate=100, name=["ann", "bob"])
    20 calls by 2 processes (ann, bob) in 0.0912 s

    Args:
        call: "sync", "getppid", "sched_yield", "fsync" or "fdatasync" (these two write a byte to a temporary file
            first), or any function without arguments.
        times: number of calls by each process.
        rate: at most so many calls per second by each process; as fast as possible when None.
        name: what the kernel calls the process (its comm, at most 15 bytes); a list of names starts a process for each.
        processes: number of processes of each name.
        cpu: number of the CPU to stay on, or a list of CPUs assigned in turn; sched_setaffinity(2).

    Returns:
        The calls, with a caller for each process.

    Raises:
        ValueError: such a call, rate, name or CPU is impossible.
        ChildProcessError: a process failed.
    """
    work = _workload(call, times, rate, name, processes, cpu)
    try:
        return work.begin().wait()
    finally:
        work._kill()  # ■ may come at any moment, also between begin() and wait()


def start(
    call: str | Callable[[], object] = "sync",
    times: int = 1,
    rate: float | None = None,
    name: str | Sequence[str] | None = None,
    processes: int = 1,
    cpu: int | Sequence[int] | None = None,
) -> "Workload":
    """Like `run`, without waiting.

    >>> with start("sync", times=20, rate=10, name="slow"), start("sync", times=50, rate=100, name="fast"):
    ...     pass                                       # both are running; the block ends when they do

    Args:
        call: as for `run`.
        times: number of calls by each process.
        rate: at most so many calls per second by each process.
        name: as for `run`.
        processes: number of processes of each name.
        cpu: number of the CPU to stay on, or a list of CPUs.

    Returns:
        The workload, which goes on while the next lines run.

    Raises:
        ValueError: such a call, rate, name or CPU is impossible.
    """
    return _workload(call, times, rate, name, processes, cpu).begin()


class Workload:
    """Processes that make system calls. `wait()` for them or `stop()` them early: both return their `Calls`.

    Args:
        function: makes a call.
        times: number of calls by each process.
        rate: at most so many calls per second by each process.
        names: a process for each.
        cpus: numbers of the CPUs to stay on, in turn; any when empty.
    """

    def __init__(
        self, function: Callable[[], object], times: int, rate: float | None, names: Sequence[str], cpus: Sequence[int]
    ) -> None:
        self._plan = function, times, rate, names, cpus
        self._made = Calls()
        self._errors: list[str] = []
        self._children: list[Child] = []

    def begin(self) -> Self:
        """Start the processes, all at the same moment. `run()` and `start()` do this for you.

        Returns:
            This workload.
        """
        function, times, rate, names, cpus = self._plan
        gate, opener = os.pipe()  # the children wait at the gate until all are there
        try:
            for number, name in enumerate(names):
                cpu = cpus[number % len(cpus)] if cpus else None
                self._children.append(Child.fork(function, times, rate, name, cpu, gate, opener))
            for _, _, pipe in self._children:
                os.read(pipe, 1)  # this one is ready, and will die with its parent
            os.write(opener, b"!" * len(names))
        except BaseException:
            self._kill()
            raise
        finally:
            os.close(gate)
            os.close(opener)
        return self

    @property
    def running(self) -> bool:
        """Whether any process still has calls to make."""
        return any(not select.select([pipe], [], [], 0)[0] for _, _, pipe in self._children)

    def wait(self) -> Calls:
        """Wait until every process has made its calls. Interrupted, end them at once.

        Returns:
            The calls.

        Raises:
            ChildProcessError: a process failed.
        """
        try:
            while self._children:
                self._collect(*self._children[0])
        finally:
            self._kill()
        if self._errors:
            raise ChildProcessError("; ".join(self._errors))
        return self._made

    def stop(self) -> Calls:
        """Return the calls, as soon as every process has finished the one it is in."""
        for _, pid, _ in self._children:
            os.kill(pid, signal.SIGTERM)
        return self.wait()

    def _collect(self, name: str, pid: int, pipe: int) -> None:
        report = os.read(pipe, 4096).decode(errors="replace") or "0 0 0 " + tr("it was killed")
        del self._children[0]
        os.close(pipe)
        os.waitpid(pid, 0)
        calls, start_ns, end_ns, error = report.split(" ", 3)
        self._made.append(Caller(name, pid, pid, int(calls), int(start_ns), int(end_ns)))
        if error:
            values = {"name": name, "pid": pid, "calls": calls, "error": error}
            self._errors.append(tr("{name} (pid {pid}) failed after {calls} calls: {error}", **values))

    def _kill(self) -> None:
        while self._children:
            _, pid, pipe = self._children[-1]
            os.kill(pid, signal.SIGKILL)
            self._children.pop()
            os.waitpid(pid, 0)
            os.close(pipe)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, error_type: type[BaseException] | None, *_: object) -> None:
        self.stop() if error_type else self.wait()


def _workload(
    call: str | Callable[[], object],
    times: int,
    rate: float | None,
    name: str | Sequence[str] | None,
    processes: int,
    cpu: int | Sequence[int] | None,
) -> Workload:
    _check_rate(rate)
    names = [name] if isinstance(name, str) or name is None else name
    names = [_valid_name(one, call) for one in names for _ in range(processes)]
    return Workload(_function(call), times, rate, names, _valid_cpus(cpu))


def _check_rate(rate: float | None) -> None:
    if rate is not None and rate <= 0:
        raise ValueError(tr("rate must be above 0 calls a second, not {rate}", rate=rate))


def _function(call: str | Callable[[], object]) -> Callable[[], object]:
    if callable(call):
        return call
    if call in ("fsync", "fdatasync"):
        file, flush = tempfile.TemporaryFile(dir="/var/tmp"), getattr(os, call)

        def write_and_flush() -> None:
            os.pwrite(file.fileno(), b"x", 0)
            flush(file.fileno())

        return write_and_flush
    plain: dict[str, Callable[[], object]] = {"sync": os.sync, "getppid": os.getppid, "sched_yield": os.sched_yield}
    if call not in plain:
        names = ", ".join([*plain, "fsync", "fdatasync"])
        raise ValueError(tr("call must be one of {names} or a function, not {call!r}", names=names, call=call))
    return plain[call]


def _valid_name(name: str | None, call: str | Callable[[], object]) -> str:
    if name is None:
        return call if isinstance(call, str) else getattr(call, "__name__", "function")[:NAME_BYTES]
    size = len(name.encode())
    if not 1 <= size <= NAME_BYTES or "\0" in name:
        words = tr(
            "a process name has 1 to {most} bytes and no NUL; {name!r} has {size} bytes",
            most=NAME_BYTES,
            name=name,
            size=size,
        )
        raise ValueError(words)
    return name


def _valid_cpus(cpu: int | Sequence[int] | None) -> list[int]:
    cpus = [] if cpu is None else [cpu] if isinstance(cpu, int) else list(cpu)
    ours = sorted(os.sched_getaffinity(0))
    for number in cpus:
        if number not in ours:
            there = ", ".join(map(str, ours))
            raise ValueError(tr("there is no CPU {number} here, only {there}", number=number, there=there))
    return cpus
