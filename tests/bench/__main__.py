"""The benchmark table, every row measured in one run: ``python -m tests.bench [--events N] [--rounds N]``.

Rounds are interleaved (each measures every row once), because other work on the machine comes and goes; the table shows
medians. Needs root, system call tracepoints, gcc, clang, libbpf's headers, bpftrace and the lab.
"""

import argparse
import json
import os
import shutil
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

from tests.bench import compiles, maps

HERE = Path(__file__).parent
PROJECT = HERE.parents[1]
ROWS = {
    "no_program": "no BPF program",
    "empty_program": "empty BPF program",
    "bcc_callback_tuples": "BCC callback, event(), list of tuples",
    "bcc_callback_bytes": "BCC callback, raw bytes",
    "bpftrace_text": "bpftrace printf, read_csv",
    "libbpf_perf": "C on libbpf, perf_buffer",
    "libbpf_ring": "C on libbpf, ring_buffer",
    "libbpf_perf_tuned": "C on libbpf, perf_buffer, watermark",
    "libbpf_ring_tuned": "C on libbpf, ring_buffer, every 2 ms",
    "perf_output": "PerfOutput",
    "ring_buffer": "RingBuffer",
}
PIPE_ROWS = {
    "trace_fields": "BCC trace_fields()",
    "trace_pipe": "TracePipe",
    "cat": "cat trace_pipe | wc -l, no DataFrame",
}


def build(folder):
    """Compile the producer, and the reader and program for libbpf."""
    subprocess.run(["gcc", "-O2", "-o", folder / "producer", HERE / "producer.c"], check=True)
    subprocess.run(["gcc", "-O2", "-o", folder / "reader", HERE / "reader.c", "-lbpf"], check=True)
    architecture = f"-I/usr/include/{os.uname().machine}-linux-gnu"
    subprocess.run(
        [
            "clang",
            "-O2",
            "-g",
            "-target",
            "bpf",
            architecture,
            "-c",
            HERE / "events.bpf.c",
            "-o",
            folder / "events.bpf.o",
        ],
        check=True,
    )


def measure(row, folder, events, cpus=()):
    command = [sys.executable, "-m", "tests.bench.readers", row, folder, str(events), *map(str, cpus)]
    done = subprocess.run(command, cwd=PROJECT, capture_output=True, text=True)
    if done.returncode:
        sys.exit(f"{row} failed:\n{done.stderr}")
    return json.loads(done.stdout.splitlines()[-1])


def rounds(rows, folder, events, count):
    found = {row: [] for row in rows}
    for number in range(count):
        for row in rows:
            print(f"\rround {number + 1} of {count}: {rows[row]:40}", end="", file=sys.stderr, flush=True)
            found[row].append(measure(row, folder, events))
    print("\r" + " " * 70 + "\r", end="", file=sys.stderr)
    return found


def median(found, row, name):
    return statistics.median(one[name] for one in found[row])


def show(rows, found, base, events):
    """Print one table; speeds are relative to its row `base`."""
    print(f"| {'reader':37} | producer | slow-down | events/s | × BCC | CPU s | lost | memory |")
    print(f"| {'-' * 37} | --- | --- | --- | --- | --- | --- | --- |")
    speed = {row: median(found, row, "rows") / median(found, row, "total") for row in rows}
    for row, title in rows.items():
        lost = [one["lost"] for one in found[row]]
        share = "?" if None in lost else f"{sum(lost) / len(lost) / events:.2%}" if any(lost) else "0"
        slower = (
            f"{median(found, row, 'producer') / median(found, 'no_program', 'producer'):.2f}"
            if "no_program" in found
            else "–"
        )
        got = f"{speed[row] / 1e6:.2f} M | {speed[row] / speed[base]:.1f}" if speed[row] else "– | –"
        print(
            f"| {title:37} | {median(found, row, 'producer'):.2f} s | {slower} | {got} "
            f"| {median(found, row, 'cpu'):.2f} | {share} | {median(found, row, 'memory') / 1e6:.0f} MB |"
        )
    print()


def scale(folder):
    """Cost per event from 10 to 10 million, and whether every event of two CPUs is accounted for.

    The first line's time is mostly that of starting two producers; the other lines' cost is beyond it.
    """
    print("| reader | fired | received | lost | accounted for | time | µs per event | memory / frame |")
    print("| --- | --- | --- | --- | --- | --- | --- | --- |")
    cpus = sorted(os.sched_getaffinity(0))[-2:]
    for row in ("perf_output", "ring_buffer"):
        start = None
        for fired in [10**n for n in range(1, 8)]:
            tries = [measure(row, folder, fired // len(cpus), cpus) for _ in range(5 if fired <= 100_000 else 1)]
            one = sorted(tries, key=lambda one: one["total"])[len(tries) // 2]
            complete = all(one["rows"] + one["lost"] == one["fired"] >= fired for one in tries)
            each = f"{(one['total'] - start) / fired * 1e6:.2f}" if start else "–"
            start = start or one["total"]
            print(
                f"| {ROWS[row]} | {one['fired']:,} | {one['rows']:,} | {one['lost']:,} | {'yes' if complete else 'NO'} "
                f"| {one['total']:.3f} s | {each} | {one['memory'] / one['frame']:.2f} |",
                flush=True,
            )
    print()


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--events", type=int, default=1_000_000, help="for each row and round")
    parser.add_argument("--lines", type=int, default=1_000_000, help="for each trace_pipe row and round")
    parser.add_argument("--rounds", type=int, default=5)
    chosen = parser.parse_args()
    if os.geteuid():
        sys.exit("this loads BPF programs: run it as root")
    if missing := [tool for tool in ("gcc", "clang", "bpftrace") if not shutil.which(tool)]:
        sys.exit(f"this needs {', '.join(missing)}")
    pipe_size = Path("/sys/kernel/tracing/buffer_size_kb")
    before = pipe_size.read_text().split()[0]
    with tempfile.TemporaryDirectory() as folder:
        build(folder := Path(folder))
        print(
            f"{chosen.events:,} events of 40 bytes from one CPU, 1024 pages, "
            f"medians of {chosen.rounds} interleaved rounds, Linux {os.uname().release}, {os.cpu_count()} CPUs\n",
            flush=True,
        )
        show(ROWS, rounds(ROWS, folder, chosen.events, chosen.rounds), "bcc_callback_tuples", chosen.events)
        print(f"{chosen.lines:,} lines of trace_pipe\n", flush=True)
        try:
            show(PIPE_ROWS, rounds(PIPE_ROWS, folder, chosen.lines, chosen.rounds), "trace_fields", chosen.lines)
        finally:
            pipe_size.write_text(before)
        print("From 10 to 10 million events, fired on two CPUs at once\n", flush=True)
        scale(folder)
    maps.table(chosen.rounds)
    compiles.table(chosen.rounds)


if __name__ == "__main__":
    main()
