"""The table of compiles: CPU seconds of one BPF(…) in a process that has compiled before.

By BCC alone (stock) and with the lab's precompiled headers (ours), in the lab's image: on this machine's processor and
in the virtual machine. Rounds are interleaved; the table shows medians.
"""

import json
import os
import statistics
import subprocess
import sys
import time

from tests.compiles.compare import STOCK
from tests.compiles.programs import GOOD, Program, body, including

HELLO = 'bpf_trace_printk("Hello World!");'
PROGRAMS = [
    *(program for program in GOOD if program.name in ("hello", "perf", "tracepoint")),
    *(
        Program(" and ".join(f"`<{name}>`" for name in headers), body(HELLO, "", including(*headers)))
        for headers in (
            ["linux/sched.h"],
            ["linux/fs.h"],
            ["linux/blkdev.h"],
            ["linux/blkdev.h", "linux/blk-mq.h"],
            ["net/sock.h"],
        )
    ),
]


def table(rounds: int):
    """Measure and print. Takes root; the lab's virtual machine has to be built."""
    from helpers.lab import image, session, template  # which the image itself does not have all for

    suite = session.suite()
    places = {
        "this machine": ["unshare", "--mount", "sh", "tests/in_image.sh", str(image.target(suite))],
        "the VM": ["env", "EBPF_LAB=vm", sys.executable, "-m", "helpers.lab", "run", "--"],
    }
    found = {
        place: measured([*enter, "python", "-m", "tests.bench.compiles", str(rounds)])
        for place, enter in places.items()
    }
    kind = json.loads((template.find(suite) / "made.json").read_text())["accelerator"]
    print(
        f"CPU seconds of one BPF(…), Debian {suite}, medians of {rounds} interleaved rounds; the VM runs with {kind}\n"
    )
    print(f"| {'program':42} | " + " | ".join(f"{place}: stock | ours | ×" for place in places) + " |")
    print(f"| {'-' * 42} | " + " | ".join("--- | --- | ---" for _ in places) + " |")
    for number, program in enumerate(PROGRAMS):
        cells = []
        for place in places:
            stock, ours = (statistics.median(times) for times in zip(*(one[number] for one in found[place])))
            cells.append(f"{stock:.2f} | {ours:.2f} | {stock / ours:.1f}")
        print(f"| {program.name:42} | " + " | ".join(cells) + " |")
    print()


def measured(command: list[str]) -> list[list[tuple[float, float]]]:
    done = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True)
    return [json.loads(line) for line in done.stdout.splitlines() if line.startswith("[[")]


class Compiler:
    """A process that compiles with a library of the folder *libraries*, and says how long each took."""

    def __init__(self, libraries: str | None):
        environment = dict(os.environ, **({"LD_LIBRARY_PATH": libraries} if libraries else {}))
        self.process = subprocess.Popen(
            [sys.executable, "-m", "tests.bench.compiles"],
            env=environment,
            text=True,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )

    def seconds(self, text: str) -> float:
        print(json.dumps(text), file=self.process.stdin, flush=True)
        return float(self.process.stdout.readline())


def compile_what_is_told():
    from bcc import BPF

    BPF(text="")
    for line in sys.stdin:
        start = time.process_time()
        BPF(text=json.loads(line)).cleanup()
        print(time.process_time() - start, flush=True)


def main(rounds: int, *names: str):
    """Print a line for each round: for each program (of these names, or all) the seconds of stock and ours."""
    chosen = [program for program in PROGRAMS if program.name in names or not names]
    compilers = Compiler(str(STOCK)), Compiler(None)
    for _ in range(rounds):
        print(json.dumps([[one.seconds(program.text) for one in compilers] for program in chosen]), flush=True)


if __name__ == "__main__":
    main(int(sys.argv[1]), *sys.argv[2:]) if sys.argv[1:] else compile_what_is_told()
