"""Processes that make system calls when asked: so many, so fast, under the names you choose.

    run_sync(times=5)                                     the real `sync` command, five times
    run("sync", times=20, rate=50, name=["ann", "bob"])   two processes at once, 20 calls each, 50 a second
    run("getppid", times=1_000_000, cpu=0)                one million calls, as fast as CPU 0 can make them

All three wait until the calls are done, and say exactly how many were made, by which process, and when.
"""

import ctypes
import os
import select
import shutil
import signal
import subprocess
import tempfile
import threading
import time
import warnings
from contextlib import suppress
from typing import NamedTuple

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # <linux/prctl.h>
NAME_BYTES = 15  # TASK_COMM_LEN is 16, and the last byte is NUL
_libc = ctypes.CDLL(None)


class Ran(NamedTuple):
    """One process and what it did. Times are ns since boot, by the clock of `bpf_ktime_get_ns()`."""

    name: str
    pid: int
    tid: int
    calls: int
    start_ns: int
    end_ns: int


class Made(list):
    """A list of `Ran`, one for each process; `pandas.DataFrame(made)` makes it a table."""

    @property
    def calls(self):
        """Calls made by all processes together."""
        return sum(ran.calls for ran in self)

    @property
    def pids(self):
        """The process ids, in the order in which the processes started."""
        return [ran.pid for ran in self]

    @property
    def tids(self):
        """The thread ids, in the same order."""
        return [ran.tid for ran in self]

    def __repr__(self):
        names = ", ".join(dict.fromkeys(ran.name for ran in self)) or "nobody"
        seconds = (max(r.end_ns for r in self) - min(r.start_ns for r in self)) / 1e9 if self else 0
        calls = f"{self.calls:,} call{'' if self.calls == 1 else 's'}"
        return f"{calls} by {len(self)} process{'' if len(self) == 1 else 'es'} ({names}) in {seconds:.3g} s"


def run_sync(times=5, rate=None, file=None):
    """Run the `sync` command `times` times, one after the other. Return `Made`.

    Every run is a process of its own, named "sync", that makes the system call sync(2) once, or with a `file` another
    one, for that file only. With `rate`, at most that many runs a second.

    >>> run_sync(times=5)
    5 calls by 5 processes (sync) in 0.0192 s

    Raises FileNotFoundError where there is no `sync` command, ChildProcessError when it fails.
    """
    command = shutil.which("sync")
    if command is None:
        raise FileNotFoundError("there is no `sync` command here (Debian and Ubuntu have it in the package coreutils)")
    made, begin = Made(), time.monotonic()
    for number in range(times):
        _sleep_until(begin + number / rate if rate else 0)
        start_ns = time.monotonic_ns()
        with subprocess.Popen([command, file] if file else [command]) as process:
            status = process.wait()
        if status:
            raise ChildProcessError(f"`sync` ended with status {status}")
        made.append(Ran("sync", process.pid, process.pid, 1, start_ns, time.monotonic_ns()))
    return made


def sync_from_everywhere(times=1):
    """Call sync(2) `times` times from new threads of this Python, and as often by the command. Return `Made`.

    So a PID is not always a TID, nor always this Python's: what a program takes for the PID is seen.
    """
    made = Made()
    for _ in range(times):
        start_ns = time.monotonic_ns()
        thread = threading.Thread(target=os.sync)
        thread.start()
        thread.join()
        made.append(Ran("a second thread", os.getpid(), thread.native_id, 1, start_ns, time.monotonic_ns()))
    made.extend(run_sync(times))
    return made


def run(call="sync", times=1, rate=None, name=None, processes=1, cpu=None):
    """Make a system call `times` times in each of some new processes, and wait for them. Return `Made`.

    `call`: "sync", "getppid", "sched_yield", "fsync" or "fdatasync" (these two write a byte to a temporary file
    first), or any function without arguments. `rate`: at most so many calls a second by each process; None is as fast
    as possible. `name`: what the kernel calls the process (its comm, at most 15 bytes); a list of names starts a
    process for each. `processes`: how many of each name. `cpu`: the CPU to stay on, or a list of CPUs assigned in
    turn. All processes begin together.

    >>> run("sync", times=10, rate=100, name=["ann", "bob"])
    20 calls by 2 processes (ann, bob) in 0.0912 s

    ■ or Ctrl-C ends the processes, and so does the end of this Python, or of the calling thread. Raises ValueError
    for an impossible call, name or CPU, ChildProcessError if a process fails. See prctl(2), sched_setaffinity(2).
    """
    work = _workload(call, times, rate, name, processes, cpu)
    try:
        return work.begin().wait()
    finally:
        work._kill()  # ■ may come at any moment, also between begin() and wait()


def start(call="sync", times=1, rate=None, name=None, processes=1, cpu=None):
    """Like `run`, without waiting: return a `Workload` that goes on while the next lines run.

    >>> with start("sync", times=20, rate=10, name="slow"), start("sync", times=50, rate=100, name="fast"):
    ...     pass                                       # both are running; the block ends when they do
    """
    return _workload(call, times, rate, name, processes, cpu).begin()


class Workload:
    """Processes at work. `wait()` for them or `stop()` them early: both return `Made`."""

    def __init__(self, function, times, rate, names, cpus):
        self._plan = function, times, rate, names, cpus
        self._made, self._errors, self._children = Made(), [], []

    def begin(self):
        """Start the processes, all at the same moment. `run()` and `start()` do this for you."""
        function, times, rate, names, cpus = self._plan
        gate, opener = os.pipe()  # the children wait at the gate until all are there
        try:
            for number, name in enumerate(names):
                cpu = cpus[number % len(cpus)] if cpus else None
                self._children.append(_fork(function, times, rate, name, cpu, gate, opener))
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
    def running(self):
        """Whether any process still has calls to make."""
        return any(not select.select([pipe], [], [], 0)[0] for _, _, pipe in self._children)

    def wait(self):
        """Wait until every process has made its calls. Interrupted, end them at once."""
        try:
            while self._children:
                self._collect(*self._children[0])
        finally:
            self._kill()
        if self._errors:
            raise ChildProcessError("; ".join(self._errors))
        return self._made

    def stop(self):
        """Let every process finish the call it is in, and return what was made."""
        for _, pid, _ in self._children:
            os.kill(pid, signal.SIGTERM)
        return self.wait()

    def _collect(self, name, pid, pipe):
        report = os.read(pipe, 4096).decode(errors="replace") or "0 0 0 it was killed"
        del self._children[0]
        os.close(pipe)
        os.waitpid(pid, 0)
        calls, start_ns, end_ns, error = report.split(" ", 3)
        self._made.append(Ran(name, pid, pid, int(calls), int(start_ns), int(end_ns)))
        if error:
            self._errors.append(f"{name} (pid {pid}) failed after {calls} calls: {error}")

    def _kill(self):
        while self._children:
            _, pid, pipe = self._children[-1]
            os.kill(pid, signal.SIGKILL)
            self._children.pop()
            os.waitpid(pid, 0)
            os.close(pipe)

    def __enter__(self):
        return self

    def __exit__(self, error_type, *_):
        self.stop() if error_type else self.wait()


def _workload(call, times, rate, name, processes, cpu):
    if rate is not None and rate <= 0:
        raise ValueError(f"rate must be above 0 calls a second, not {rate}")
    names = [name] if isinstance(name, str) or name is None else name
    names = [_valid_name(one, call) for one in names for _ in range(processes)]
    return Workload(_function(call), times, rate, names, _valid_cpus(cpu))


def _fork(function, times, rate, name, cpu, gate, opener):
    """Start one child; return its name, its pid and the pipe its report will come through."""
    reader, writer = os.pipe()
    with warnings.catch_warnings():
        # Python 3.12 warns that forking beside threads may deadlock; this child takes no lock that they could hold.
        warnings.simplefilter("ignore", DeprecationWarning)
        pid = os.fork()
    if pid:
        os.close(writer)
        return name, pid, reader
    try:
        os.close(opener)
        stopped = []
        signal.set_wakeup_fd(-1)  # shared with the parent: Jupyter's event loop must not hear the child's signals
        signal.signal(signal.SIGINT, signal.SIG_IGN)  # a terminal's Ctrl-C comes here too, but the parent decides
        signal.signal(signal.SIGTERM, lambda *_: stopped.append(True))
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
        _libc.prctl(PR_SET_NAME, name.encode())
        _close_tracing()
        os.write(writer, b"!")
        if os.read(gate, 1):  # nothing to read: the parent has gone
            os.write(writer, _work(function, times, rate, cpu, stopped).encode()[:4000])
    finally:
        os._exit(0)


def _close_tracing():
    """In the child: let go of the parent's open files by which it reads trace_pipe and keeps programs attached.

    trace_pipe has one reader at a time, and a program stays attached until every copy of its file is closed; fork(2).
    """
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fd}").endswith(
                ("/trace_pipe", "[perf_event]", "bpf_link", "[bpf-raw-tracepoint]")
            ):
                os.close(int(fd))


def _work(function, times, rate, cpu, stopped):
    """Make the calls, in the child. Return "calls start_ns end_ns error" for the parent to read."""
    made, error, begin, start_ns = 0, "", time.monotonic(), time.monotonic_ns()
    try:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        while made < times and not stopped:
            if rate and made:
                _sleep_until(begin + made / rate, stopped)
                if stopped:
                    break
            function()
            made += 1
    except BaseException as problem:
        error = f"{type(problem).__name__}: {problem}"
    return f"{made} {start_ns} {time.monotonic_ns()} {error}"


def _sleep_until(moment, stopped=()):
    while (left := moment - time.monotonic()) > 0 and not stopped:
        time.sleep(min(left, 0.1))  # short, because a signal does not end Python's sleep


def _function(call):
    if callable(call):
        return call
    if call in ("fsync", "fdatasync"):
        file, flush = tempfile.TemporaryFile(dir="/var/tmp"), getattr(os, call)

        def write_and_flush():
            os.pwrite(file.fileno(), b"x", 0)
            flush(file.fileno())

        return write_and_flush
    plain = {"sync": os.sync, "getppid": os.getppid, "sched_yield": os.sched_yield}
    if call not in plain:
        raise ValueError(f"call must be one of {', '.join([*plain, 'fsync', 'fdatasync'])} or a function, not {call!r}")
    return plain[call]


def _valid_name(name, call):
    if name is None:
        return call if isinstance(call, str) else getattr(call, "__name__", "function")[:NAME_BYTES]
    size = len(name.encode())
    if not 1 <= size <= NAME_BYTES or "\0" in name:
        raise ValueError(f"a process name has 1 to {NAME_BYTES} bytes and no NUL; {name!r} has {size} bytes")
    return name


def _valid_cpus(cpu):
    cpus = [] if cpu is None else [cpu] if isinstance(cpu, int) else list(cpu)
    ours = sorted(os.sched_getaffinity(0))
    for number in cpus:
        if number not in ours:
            raise ValueError(f"there is no CPU {number} here, only {', '.join(map(str, ours))}")
    return cpus
