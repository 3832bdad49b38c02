"""python -m tests.fresh [SUITE] [own | user]: rehearse the course on a Debian that boots, by software emulation (as root).

    own     `sudo make lab` on the machine's own kernel, and all notebooks from top to bottom
    user    `make lab` as an ordinary user, whose notebooks run in a virtual machine in the virtual machine, and 01

SUITE is trixie or bookworm. What is emulated takes about ten times as long; the lines say seconds since the boot.
"""

import re
import sys
import tempfile
from pathlib import Path

from helpers.lab import cache
from tests.fresh import boot

TRIALS = {
    "own": ("sudo make lab", "/root/.cache/first-ebpf", [f"notebooks/{p.name}" for p in sorted(cache.PROJECT.glob("notebooks/0*"))]),
    "user": ("make lab", "~/.cache/first-ebpf", ["notebooks/01_hello_trace_pipe.ipynb"]),
}


def main(suite: str = "trixie", *chosen: str) -> int:
    failed = False
    for trial in chosen or TRIALS:
        command, directory, notebooks = TRIALS[trial]
        script = boot.TRIAL.format(command=command, cache=directory, notebooks=" ".join(notebooks))
        with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
            print(f"{suite}, {trial}: making the machine", flush=True)
            boot.boots(suite, Path(folder), script)
            console, result = [], None
            for line in boot.run(Path(folder)):
                console.append(line)
                if found := re.search(r"TRIAL (\d+) (.*)", line):
                    print(f"{suite}, {trial}: {int(found[1]):5} s  {found[2]}", flush=True)
                    result = found[2] if found[2].startswith("result") else result
        if result != "result 0":
            failed = True
            print(*console[-60:], sep="")
    return failed


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
