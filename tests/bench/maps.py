"""How fast the entries of a map reach Python: ``python -m tests.bench.maps ROW ENTRIES`` measures one row once."""

import ctypes
import json
import statistics
import subprocess
import sys
import time
from pathlib import Path

ROWS = {
    "items": "{k.value: v.value for k, v in table.items()}",
    "batch": "the same by table.items_lookup_batch()",
    "read_map": "read_map(table)",
}


def measure(row, entries):
    from bcc import BPF

    from helpers import read_map

    bpf = BPF(text=f"BPF_HASH(counts, u64, u64, {entries + entries // 10});\nint unused(void *ctx) {{ return 0; }}")
    table = bpf["counts"]
    numbers = (ctypes.c_uint64 * entries)(*range(entries))
    table.items_update_batch(numbers, numbers)
    read = {
        "items": lambda: {k.value: v.value for k, v in table.items()},
        # Plain numbers with one version of BCC, ctypes' own with another.
        "batch": lambda: {getattr(k, "value", k): getattr(v, "value", v) for k, v in table.items_lookup_batch()},
        "read_map": lambda: read_map(table),
    }[row]
    begin = time.perf_counter()
    found = read()
    seconds = time.perf_counter() - begin
    assert len(found) == entries
    return seconds


def table(rounds, entries=1_000_000):
    """Print the table: medians of interleaved rounds, each in a process of its own."""
    found = {row: [] for row in ROWS}
    for _ in range(rounds):
        for row in ROWS:
            command = [sys.executable, "-m", "tests.bench.maps", row, str(entries)]
            done = subprocess.run(command, cwd=Path(__file__).parents[2], check=True, capture_output=True, text=True)
            found[row].append(json.loads(done.stdout.splitlines()[-1]))
    print(f"A hash of {entries:,} keys and values of 8 bytes\n\n| read by | time | entries/s | × items() |")
    print("| --- | --- | --- | --- |")
    seconds = {row: statistics.median(times) for row, times in found.items()}
    for row, title in ROWS.items():
        rate, times = entries / seconds[row], seconds["items"] / seconds[row]
        print(f"| `{title}` | {seconds[row]:.2f} s | {rate / 1e6:.2f} M | {times:.1f} |", flush=True)
    print()


if __name__ == "__main__":
    print(json.dumps(measure(sys.argv[1], int(sys.argv[2]))))
