"""The rows of the table: each a way to get the producer's events to a finished DataFrame.

``python -m tests.bench.readers ROW BUILT EVENTS`` measures one row once, in a process of its own, and prints JSON:

- ``producer``: wall seconds of the producer's loop; ``total``: from its start to the finished frame
- ``cpu``: CPU seconds of everything but the producer; ``memory``: peak of resident memory above the start, in bytes,
  helpers included
- ``fired``: events by a count kept in the kernel (PerfOutput, RingBuffer); ``rows`` in the frame, its size ``frame``,
  ``lost`` by the reader's own account (null: it cannot say)
"""

import ctypes
import json
import os
import resource
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pandas as pd

SYSCALL = "sched_get_priority_max"
PAGES = 1024
PRODUCER_CPU = max(os.sched_getaffinity(0))
TRACING = Path("/sys/kernel/tracing")

PROBE = f"TRACEPOINT_PROBE(syscalls, sys_enter_{SYSCALL})"
EVENT = (
    """
struct event { u64 time_ns; u32 pid; u32 tid; u64 seq; char comm[16]; };
BPF_PERCPU_ARRAY(sequence, u64, 1);
OUTPUT
"""
    + PROBE
    + """ {
    struct event event = {};
    int zero = 0;
    u64 id = bpf_get_current_pid_tgid(), *seq = sequence.lookup(&zero);
    event.time_ns = bpf_ktime_get_ns();
    event.pid = id >> 32;
    event.tid = id;
    event.seq = seq ? (*seq)++ : 0;
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    SUBMIT
    return 0;
}
"""
)
PERF = EVENT.replace("OUTPUT", "BPF_PERF_OUTPUT(events);").replace(
    "SUBMIT", "events.perf_submit(args, &event, sizeof(event));"
)
RING = EVENT.replace("OUTPUT", f"BPF_RINGBUF_OUTPUT(events, {PAGES});\nBPF_ARRAY(events_lost, u64, 1);").replace(
    "SUBMIT", "if (events.ringbuf_output(&event, sizeof(event), 0)) events_lost.atomic_increment(0);"
)
PRINTK = PROBE + ' { bpf_trace_printk("Hello World! %d", 42); return 0; }'
NAMES = ["time_ns", "pid", "tid", "seq", "comm"]
RECORD = np.dtype([("time_ns", "u8"), ("pid", "u4"), ("tid", "u4"), ("seq", "u8"), ("comm", "S16")])


class Producer:
    """The producer, running; `wait` for its wall and CPU seconds."""

    def __init__(self, built, events, cpus=(PRODUCER_CPU,)):
        command = [str(Path(built) / "producer"), str(events)]
        self.processes = [subprocess.Popen([*command, str(cpu)], stdout=subprocess.PIPE, text=True) for cpu in cpus]

    def running(self):
        return any(process.poll() is None for process in self.processes)

    def wait(self):
        said = [process.communicate()[0].split() for process in self.processes]
        return max(float(wall) for wall, _ in said), sum(float(cpu) for _, cpu in said)


def frame_of(records):
    """A frame as the helpers make it, for the readers that have an array of records."""
    from helpers.collect.columns import Columns

    columns = Columns.of(RECORD)
    columns.append(records)
    return columns.to_frame()


# Each row is a generator: it prepares, yields, is given the running producer, and yields its frame (or only the number
# of rows), the lost events, the producer's times, and where the kernel counts, the events fired.


def no_program(built):
    producer = yield
    yield 0, 0, producer.wait()


def empty_program(built):
    from bcc import BPF

    bpf = BPF(text=PROBE + " { return 0; }")
    producer = yield bpf
    yield 0, 0, producer.wait()


def bcc_poll(bpf, producer):
    while producer.running():
        bpf.perf_buffer_poll(timeout=50)
    bpf.perf_buffer_poll(timeout=0)


def bcc_callback_tuples(built):
    from bcc import BPF

    bpf, rows, lost = BPF(text=PERF), [], [0]

    def handle_event(cpu, data, size):
        event = bpf["events"].event(data)
        rows.append((event.time_ns, event.pid, event.tid, event.seq, event.comm.decode()))

    def count(n):
        lost[0] += n

    bpf["events"].open_perf_buffer(handle_event, page_cnt=PAGES, lost_cb=count)
    producer = yield
    bcc_poll(bpf, producer)
    df = pd.DataFrame(rows, columns=NAMES)
    yield len(df), lost[0], producer.wait()


def bcc_callback_bytes(built):
    from bcc import BPF

    bpf, parts, lost = BPF(text=PERF), [], [0]

    def handle_event(cpu, data, size):
        parts.append(ctypes.string_at(data, 40))

    def count(n):
        lost[0] += n

    bpf["events"].open_perf_buffer(handle_event, page_cnt=PAGES, lost_cb=count)
    producer = yield
    bcc_poll(bpf, producer)
    df = frame_of(np.frombuffer(b"".join(parts), RECORD))
    yield len(df), lost[0], producer.wait()


def bpftrace_text(built):
    text, ready = Path(built) / "bpftrace.csv", Path(built) / "bpftrace.ready"
    ready.unlink(missing_ok=True)
    script = (
        f'BEGIN {{ system("touch {ready}"); }} tracepoint:syscalls:sys_enter_{SYSCALL} '
        r'{ printf("%llu,%d,%d,%s\n", nsecs, pid, tid, comm); }'
    )
    reader = subprocess.Popen(
        ["bpftrace", "--unsafe", "-o", str(text), "-e", script],
        stderr=subprocess.PIPE,
        text=True,
        env={**os.environ, "BPFTRACE_PERF_RB_PAGES": str(PAGES)},
    )
    while not ready.exists():
        time.sleep(0.01)
        assert reader.poll() is None, reader.stderr.read()
    producer = yield
    times = producer.wait()
    reader.send_signal(signal.SIGINT)
    said = reader.communicate()[1]
    lost = sum(int(line.split()[1]) for line in said.splitlines() if line.startswith("Lost "))
    df = pd.read_csv(text, names=["time_ns", "pid", "tid", "comm"], skiprows=1, dtype={"comm": "category"})
    yield len(df), lost, times


def libbpf(built, kind):
    binary = Path(built) / "libbpf.bin"
    reader = subprocess.Popen(
        [Path(built) / "reader", kind, Path(built) / "events.bpf.o", str(PAGES), binary],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert reader.stdout.readline() == "ready\n"
    producer = yield
    times = producer.wait()
    lost = int(reader.communicate()[0])
    df = frame_of(np.fromfile(binary, RECORD))
    yield len(df), lost, times


def libbpf_perf(built):
    yield from libbpf_row(libbpf(built, "perf"))


def libbpf_perf_tuned(built):
    yield from libbpf_row(libbpf(built, "perf-tuned"))


def libbpf_ring(built):
    yield from libbpf_row(libbpf(built, "ring"))


def libbpf_ring_tuned(built):
    yield from libbpf_row(libbpf(built, "ring-tuned"))


def libbpf_row(row):
    next(row)
    producer = yield
    yield row.send(producer)


def perf_output(built):
    from bcc import BPF

    from helpers import PerfOutput

    bpf = BPF(text=PERF)
    with PerfOutput(bpf["events"], pages=PAGES) as events:
        producer = yield
        times = producer.wait()
        fired = bpf["sequence"].sum(0).value
    yield events.to_dataframe(), events.lost, times, fired


def ring_buffer(built):
    from bcc import BPF

    from helpers import RingBuffer

    bpf = BPF(text=RING)
    with RingBuffer(bpf["events"]) as events:
        producer = yield
        times = producer.wait()
        fired = bpf["sequence"].sum(0).value
    yield events.to_dataframe(), events.lost, times, fired


def large_trace_buffer():
    (TRACING / "buffer_size_kb").write_text("65536")
    (TRACING / "trace").write_text("")


def cat(built):
    """The least that reading this text takes: the kernel writes the lines out, and they are only counted."""
    from bcc import BPF

    bpf = BPF(text=PRINTK)
    large_trace_buffer()
    reader = subprocess.Popen(["cat", str(TRACING / "trace_pipe")], stdout=subprocess.PIPE)
    count = subprocess.Popen(["wc", "-l"], stdin=reader.stdout, stdout=subprocess.PIPE)
    reader.stdout.close()
    try:
        producer = yield bpf
        times = producer.wait()
        while any("entries: 0\n" not in file.read_text() for file in TRACING.glob("per_cpu/cpu*/stats")):
            time.sleep(0.005)
    finally:
        reader.terminate()
        lines = int(count.communicate()[0])
        reader.wait()
    yield lines, None, times


def trace_fields(built):
    from bcc import BPF

    bpf, rows = BPF(text=PRINTK), []
    large_trace_buffer()
    producer = yield
    while True:
        was_running = producer.running()
        fields = bpf.trace_fields(nonblocking=True)
        if fields[0] is not None:
            rows.append(fields)
        elif not was_running:
            break
    df = pd.DataFrame(rows, columns=["task", "tid", "cpu", "flags", "time", "message"])
    yield len(df), None, producer.wait()


def trace_pipe(built):
    from bcc import BPF

    from helpers import TracePipe

    bpf = BPF(text=PRINTK)
    large_trace_buffer()
    with TracePipe() as lines:
        producer = yield bpf
        times = producer.wait()
    yield lines.to_dataframe(), lines.lost, times


def resident(which):
    status = Path("/proc/self/status").read_text()
    return int(status.split(which + ":")[1].split()[0]) * 1024


def cpu_seconds():
    used = [resource.getrusage(who) for who in (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN)]
    return sum(one.ru_utime + one.ru_stime for one in used)


def measure(row, built, events, cpus=(PRODUCER_CPU,)):
    run = globals()[row](built)
    keep = next(run)
    Path("/proc/self/clear_refs").write_text("5")
    before, base = cpu_seconds(), resident("VmRSS")
    begin = time.perf_counter()
    found, lost, (wall, producer_cpu), *fired = run.send(Producer(built, events, cpus))
    total = time.perf_counter() - begin
    cpu = cpu_seconds() - before - producer_cpu
    children = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss * 1024
    memory = resident("VmHWM") - base
    result = {"producer": wall, "total": total, "cpu": cpu, "memory": memory, "lost": lost}
    if isinstance(found, pd.DataFrame):
        result |= {"rows": len(found), "frame": int(found.memory_usage().sum()), "fired": fired[0] if fired else events}
    else:
        result["rows"] = found
    if row.startswith(("libbpf", "bpftrace")):
        result["memory"] += children
    del keep
    return result


if __name__ == "__main__":
    row, built, events, *cpus = sys.argv[1:]
    import warnings

    warnings.simplefilter("ignore")
    print(json.dumps(measure(row, built, int(events), [int(cpu) for cpu in cpus] or (PRODUCER_CPU,))), flush=True)
