"""The probe of all live tests: what fires it, and programs that tell of it by each kind of channel.

It is a tracepoint on the host, a kprobe in the lab's VM; LIVE_PROBES=tracepoint or kprobe insists on one kind. The
probed system call is sched_rr_get_interval(2), which hardly any program calls, so that a test which makes N calls fires
N times, whatever else the machine does.
"""

import os
import subprocess
import sys
from pathlib import Path

import pytest

TRACING = Path("/sys/kernel/tracing")
SYSCALL = "sched_rr_get_interval"
CALLS = f"""
import os, sys
call, n = os.{SYSCALL}, int(sys.argv[1])
if len(sys.argv) > 2:
    os.sched_setaffinity(0, {{int(sys.argv[2])}})
for _ in range(n):
    call(0)
"""

HELLO = """
BPF_ARRAY(fired, u64, 1);
PROBE { fired.atomic_increment(0); bpf_trace_printk("Hello World!"); return 0; }
"""
EVENTS = """
struct event { u64 time_ns; u32 pid; u32 tid; u32 uid; u32 on_cpu; u64 seq; char comm[16]; };
DECLARED
BPF_ARRAY(fired, u64, 1);
BPF_PERCPU_ARRAY(sequence, u64, 1);
PROBE {
    struct event event = {};
    u64 id = bpf_get_current_pid_tgid();
    event.time_ns = bpf_ktime_get_ns();
    event.pid = id >> 32;
    event.tid = id;
    event.uid = bpf_get_current_uid_gid();
    event.on_cpu = bpf_get_smp_processor_id();
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    fired.atomic_increment(0);
    int zero = 0;
    u64 *seq = sequence.lookup(&zero);
    if (seq) event.seq = (*seq)++;
    SUBMITTED
    return 0;
}
"""
PERF = EVENTS.replace("DECLARED", "BPF_PERF_OUTPUT(events);").replace(
    "SUBMITTED", "events.perf_submit(ctx, &event, sizeof(event));"
)


def ring(pages, counter="BPF_ARRAY"):
    """The program with a ring buffer of so many pages; `counter` is the kind of array that counts losses, or None."""
    declared = f"BPF_RINGBUF_OUTPUT(events, {pages});" + (f" {counter}(events_lost, u64, 1);" if counter else "")
    submitted = "events.ringbuf_output(&event, sizeof(event), 0)"
    if counter:
        submitted = f"if ({submitted}) events_lost.atomic_increment(0)"
    return EVENTS.replace("DECLARED", declared).replace("SUBMITTED", submitted + ";")


def kind_of_probe():
    """What this kernel has: "tracepoint" or "kprobe"."""
    if os.geteuid():
        pytest.fail("these tests load BPF programs: run them as root")
    if not (TRACING / "trace_pipe").exists():
        pytest.fail("these tests need tracefs: mount -t tracefs nodev /sys/kernel/tracing")
    asked = os.environ.get("LIVE_PROBES")
    if asked in ("tracepoint", "kprobe"):
        return asked
    if (TRACING / "kprobe_events").exists():
        return "kprobe"
    if (TRACING / "events/syscalls").exists():
        return "tracepoint"
    pytest.fail("this kernel has neither kprobes nor system call tracepoints")


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


def two_cpus():
    """Two CPUs that we may use, or the only one."""
    return sorted(os.sched_getaffinity(0))[:2]


def fired(bpf):
    """How often the program has run."""
    return bpf["fired"][0].value


class asleep:
    """Keeps the thread of a collection from reading."""

    def __init__(self, events):
        self.channel = events._collection.channel
        self.consume = self.channel.consume

    def __enter__(self):
        self.channel.consume = lambda: None

    def __exit__(self, *error):
        self.channel.consume = self.consume
