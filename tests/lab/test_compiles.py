"""With precompiled headers BPF(…) gives what BCC gives without, error for error, in a fraction of the time.

`python -m tests.compiles` tries very many more programs, on every Debian release.
"""

import json

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
    # Those whose time counts twice: what is run for the first time by software emulation takes longer.
    rounds = PRECOMPILED, PRECOMPILED + LEFT_ALONE + WRONG
    chosen = [program for names in rounds for program in GOOD + BROKEN if program.name in names]
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


def test_many_times_faster(compared):
    assert "linux/sched.h" in compared["task"]["precompiled"]
    stock, ours = zip(*(compared[name]["cpu"] for name in PRECOMPILED))
    assert sum(stock) > 4 * sum(ours)  # 10 and more on a quiet machine


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
