"""An attached program for each test, whatever kind of probe this kernel has."""

import fcntl
import signal
import tempfile
import time
from pathlib import Path

import pytest

from tests.live.probes import SYSCALL, TRACING, fire, kind_of_probe

# The virtual machine's own wire: what breaks a machine is tried there, and never on the host.
if not Path("/dev/virtio-ports/wire").exists():
    collect_ignore = ["test_machine_stress.py"]
    if not Path("/sys/kernel/tracing/kprobe_events").exists():
        # What kprobes can be put on, and what uprobes leave behind beside them: where there are kprobes.
        collect_ignore += ["test_functions.py", "test_uprobes.py"]


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
    size = TRACING / "buffer_size_kb"
    before = size.read_text().split()[0]
    size.write_text("8")
    yield
    size.write_text(before if before != "7" else "1408")


@pytest.fixture(scope="session")
def many():
    """A number of events that takes this machine about half a second: less where the CPU is emulated."""
    begin = time.perf_counter()
    fire(20_000)
    return max(20_000, int(0.1 * 20_000 / (time.perf_counter() - begin)) // 1000 * 1000)
