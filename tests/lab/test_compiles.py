"""With precompiled headers BPF(…) gives what BCC gives without, error for error, in a fraction of the time.

`python -m tests.compiles` tries very many more programs, on every Debian release.
"""

import json
import statistics

import pytest

from tests.compiles.programs import BROKEN, GOOD

PRECOMPILED = ["hello", "perf", "tracepoint", "task", "a function named wake_up"]
LEFT_ALONE = ["a macro from the command line", "not optimized", "a flag that is none"]
WRONG = [
    "no semicolon",
    "a name nobody declared",
    "task_struct without its header",
    "a tracepoint that is not there",
    "a table nobody declared",
    "a type defined again",
    "task_struct on an #include's own line",
]


@pytest.fixture(scope="module")
def compared(person):
    """What tests/compiles/compare.py says of each program, by its name."""
    chosen = [program for program in GOOD + BROKEN if program.name in PRECOMPILED + LEFT_ALONE + WRONG]
    file = person.project / "programs.json"
    file.write_text(json.dumps(chosen))
    try:
        done = person.lab("run", "--", "python", "-m", "tests.compiles.compare", str(file), timeout=600)
    finally:
        file.unlink()
    said = [json.loads(line) for line in done.stdout.splitlines()]
    assert len(said) == len(chosen), done.stderr
    return {one["name"]: one for one in said}


def test_nothing_else_changes(compared):
    assert [one for one in compared.values() if one["differ"] or one["numbers"]] == []
    assert [name for name in PRECOMPILED + LEFT_ALONE if not compared[name]["compiles"]] == []
    assert [name for name in WRONG if compared[name]["compiles"]] == []
    assert [name for name in LEFT_ALONE if compared[name]["precompiled"]] == []


def test_a_heavy_header_is_precompiled_too(compared):
    assert "linux/sched.h" in compared["task"]["precompiled"]


@pytest.mark.times
def test_many_times_faster(person):
    """In a process that has compiled before, as most of a learner's programs are."""
    names = ["hello", "perf", "tracepoint", "`<linux/sched.h>`"]
    done = person.lab("run", "--", "python", "-m", "tests.bench.compiles", "3", *names, timeout=600)
    rounds = [json.loads(line) for line in done.stdout.splitlines()]
    for name, *times in zip(names, *rounds, strict=True):
        stock, ours = (statistics.median(side) for side in zip(*times))
        assert stock > 4 * ours, name  # 8 to 12 on a quiet machine


def test_kernel_symbols_are_looked_up_as_before(person):
    """libbcc no longer reads /proc/kallsyms to compile; whoever asks for an address still gets it."""
    said = person.in_guest(
        """python -c '
from bcc import BPF
bpf = BPF(text="int f(void *ctx) { return 0; }")
for name in (b"bpf_probe_read_kernel", b"bpf_probe_read_user", b"vfs_read", b"no_such_function"):
    lines = (line.split() for line in open("/proc/kallsyms", "rb"))
    known = next((int(address, 16) for address, _, symbol, *_ in lines if symbol == name), -1)
    found = BPF.ksymname(name)
    print(found == known, known < 0 or BPF.ksym(found) == name, known > 0)
'"""
    )
    assert said.splitlines() == ["True True True"] * 3 + ["True True False"]
