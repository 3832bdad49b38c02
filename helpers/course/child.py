"""The process that makes the calls of a workload: forked from a notebook's Python, and gone with it."""

import ctypes
import os
import signal
import time
import warnings
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import NamedTuple, Self

PR_SET_PDEATHSIG, PR_SET_NAME = 1, 15  # <linux/prctl.h>
_libc = ctypes.CDLL(None)


class Child(NamedTuple):
    """A process at work, from fork(2), as its parent knows it; `pipe` is the descriptor that its report comes from."""

    name: str
    pid: int
    pipe: int

    @classmethod
    def fork(
        cls,
        function: Callable[[], object],
        times: int,
        rate: float | None,
        name: str,
        cpu: int | None,
        gate: int,
        opener: int,
    ) -> Self:
        """Start a child, which writes a byte to its pipe when it is ready, and then waits at the gate.

        Args:
            function: makes a call.
            times: number of calls.
            rate: at most so many calls per second.
            name: its comm.
            cpu: number of the CPU to stay on.
            gate: descriptor of a pipe from which it reads a byte before it begins.
            opener: descriptor of the pipe's other end, which the child closes.

        Returns:
            The child, in the parent only.
        """
        reader, writer = os.pipe()
        with warnings.catch_warnings():
            # Python 3.12 warns that forking beside threads may deadlock; this child takes no lock that they could hold.
            warnings.simplefilter("ignore", DeprecationWarning)
            pid = os.fork()
        if pid:
            os.close(writer)
            return cls(name, pid, reader)
        try:
            os.close(opener)
            stopped: list[bool] = []
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


def _close_tracing() -> None:
    """In the child: let go of the parent's open files by which it reads trace_pipe and keeps programs attached.

    trace_pipe has one reader at a time, and a program stays attached until every copy of its file is closed; fork(2).
    """
    for fd in os.listdir("/proc/self/fd"):
        with suppress(OSError):
            if os.readlink(f"/proc/self/fd/{fd}").endswith(
                ("/trace_pipe", "[perf_event]", "bpf_link", "[bpf-raw-tracepoint]")
            ):
                os.close(int(fd))


def _work(
    function: Callable[[], object], times: int, rate: float | None, cpu: int | None, stopped: Sequence[bool]
) -> str:
    """Return "calls start_ns end_ns error" for the parent to read, after making the calls in the child."""
    made, error, begin, start_ns = 0, "", time.monotonic(), time.monotonic_ns()
    try:
        if cpu is not None:
            os.sched_setaffinity(0, {cpu})
        while made < times and not stopped:
            if rate and made:
                sleep_until(begin + made / rate, stopped)
                if stopped:
                    break
            function()
            made += 1
    except BaseException as problem:
        error = f"{type(problem).__name__}: {problem}"
    return f"{made} {start_ns} {time.monotonic_ns()} {error}"


def sleep_until(moment: float, stopped: Sequence[bool] = ()) -> None:
    """Sleep until it is time, or something is in `stopped`.

    Args:
        moment: seconds, by time.monotonic().
        stopped: filled by a signal's handler.
    """
    while (left := moment - time.monotonic()) > 0 and not stopped:
        time.sleep(min(left, 0.1))  # short, because a signal does not end Python's sleep
