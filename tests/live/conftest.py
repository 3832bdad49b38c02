"""One probe for all live tests, of whichever kind this kernel has: a tracepoint on the host, a kprobe in the lab's VM.

The probed system call is sched_rr_get_interval(2), which hardly any program calls, so that a test which makes N calls
fires N times, whatever else the machine does. Set LIVE_PROBES=tracepoint or kprobe to insist on one kind.
"""

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import pytest

# The virtual machine's own wire: what breaks a machine is tried there, and never on the host.
if not Path("/dev/virtio-ports/wire").exists():
    collect_ignore = ["test_machine_knocks.py"]

SYSCALL = "sched_rr_get_interval"
CALLS = f"""
import os, sys
call, n = os.{SYSCALL}, int(sys.argv[1])
if len(sys.argv) > 2:
    os.sched_setaffinity(0, {{int(sys.argv[2])}})
for _ in range(n):
    call(0)
"""


@pytest.fixture(scope="session", autouse=True)
def alone():
    """Only one run of these tests at a time: there is one trace_pipe on a machine."""
    with open(Path(tempfile.gettempdir()) / "first-ebpf-live-tests.lock", "w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


@pytest.fixture(autouse=True)
def interruptible():
    """A shell starts its background jobs with SIGINT ignored; a notebook's kernel never has it so."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def kind_of_probe():
    tracefs = Path("/sys/kernel/tracing")
    if os.geteuid():
        pytest.fail("these tests load BPF programs: run them as root")
    if not (tracefs / "trace_pipe").exists():
        pytest.fail("these tests need tracefs: mount -t tracefs nodev /sys/kernel/tracing")
    asked = os.environ.get("LIVE_PROBES")
    if asked in ("tracepoint", "kprobe"):
        return asked
    if (tracefs / "kprobe_events").exists():
        return "kprobe"
    if (tracefs / "events/syscalls").exists():
        return "tracepoint"
    pytest.fail("this kernel has neither kprobes nor system call tracepoints")


@pytest.fixture
def load():
    """A function: C text in which ``PROBE { … }`` is the program and ``ctx`` its context, to an attached BPF object."""
    from bcc import BPF

    from helpers import detach_all

    kind = kind_of_probe()

    def load(text):
        if kind == "tracepoint":
            head = f"TRACEPOINT_PROBE(syscalls, sys_enter_{SYSCALL})"
            return BPF(text=text.replace("PROBE", head).replace("ctx", "args"))
        bpf = BPF(text=text.replace("PROBE", "int on_call(struct pt_regs *ctx)"))
        bpf.attach_kprobe(event=bpf.get_syscall_fnname(SYSCALL), fn_name="on_call")
        return bpf

    yield load
    detach_all()


@pytest.fixture
def small_buffer():
    """The smallest trace buffer, so that it overruns; and what it was, afterwards."""
    size = Path("/sys/kernel/tracing/buffer_size_kb")
    before = size.read_text().split()[0]
    size.write_text("8")
    yield
    size.write_text(before if before != "7" else "1408")


def fire(times=1):
    """Make the probed system call from this process."""
    for _ in range(times):
        os.sched_rr_get_interval(0)


def producer(times, cpu=None):
    """Start a process that makes the call `times` times as fast as it can (on one CPU); returns the Popen."""
    arguments = [str(times)] + ([] if cpu is None else [str(cpu)])
    return subprocess.Popen([sys.executable, "-S", "-E", "-c", CALLS, *arguments])


def finish(*processes):
    for process in processes:
        assert process.wait(timeout=120) == 0


@pytest.fixture(scope="session")
def many():
    """A number of events that takes this machine about half a second: less where the CPU is emulated."""
    begin = time.perf_counter()
    fire(20_000)
    return max(20_000, int(0.1 * 20_000 / (time.perf_counter() - begin)) // 1000 * 1000)


class asleep:
    """Keeps the drain of a collection waiting."""

    def __init__(self, events):
        self.channel, self.real = events._drain.channel, events._drain.channel.drain

    def __enter__(self):
        self.channel.drain = lambda: None

    def __exit__(self, *error):
        self.channel.drain = self.real
