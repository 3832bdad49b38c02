"""python -m tests.fresh [SUITE] [own | user]: rehearse the course on a Debian that boots, emulated (as root).

    own     `sudo make lab` on the machine's own kernel, what notebook 14 asks for, and all notebooks from top to bottom
    user    `make lab` as an ordinary user, with late deadlines for a machine in the machine; then 01

SUITE is trixie or bookworm. Each line says how many seconds after the boot something happened, how much CPU QEMU had
taken until then, and how much that is without emulation: a piece of work that both do tells how much slower it is.
"""

import re
import resource
import subprocess
import sys
import tempfile
from pathlib import Path

from helpers.lab import cache
from tests.fresh import boot

ALL = " ".join(f"notebooks/{path.name}" for path in sorted(cache.PROJECT.glob("notebooks/[0-9]*.ipynb")))
ASKED_FOR = re.search(r"`(sudo apt install [^`]+)`", cache.PROJECT.joinpath(ALL.split()[-1]).read_text())[1]
FIRST = "first notebooks/01_hello_trace_pipe.ipynb"
# The command, the cache that it fills, what is typed then, and what is opened.
TRIALS = {
    "own": ("sudo make lab", "/root/.cache/first-ebpf", f"yes | {ASKED_FOR}", f"all {ALL}"),
    "user": ("export EBPF_LAB_DEADLINE=1200; make lab", "~/.cache/first-ebpf", "true", FIRST),
}


def seconds_of_work() -> float:
    """Return the seconds of CPU that Python takes for a piece of work on this machine."""
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    subprocess.run(["/usr/bin/python3", "-c", boot.WORK], check=True)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime


def rehearse(suite: str, trial: str) -> bool:
    """Boot a machine and print what its trial says; return whether all went well."""
    command, directory, then, notebooks = TRIALS[trial]
    fill = {"command": command, "cache": directory, "then": then, "notebooks": notebooks, "work": boot.WORK}
    print(f"{suite}, {trial}: making the machine", flush=True)
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        boot.make(suite, Path(folder), boot.TRIAL.format(**fill))
        console, result, began, slower = [], "", 0.0, 1.0
        for line, used in boot.run(Path(folder)):
            console.append(line)
            if found := re.search(r"TRIAL (\d+) (.*)", line):
                clock, result = int(found[1]), found[2]
                if result == "work begins":
                    began = used
                elif result == "work ends":
                    slower = (used - began) / seconds_of_work()
                    result = f"emulation takes {slower:.0f} times the CPU"
                here = used / slower
                print(f"{suite}, {trial}: {clock:5} s, {used:5.0f} s of CPU, here {here:4.0f} s  {result}", flush=True)
        if result != "result 0":
            print(*console[-60:], sep="")
        return result == "result 0"


def main(suite: str = "trixie", *chosen: str) -> int:
    return not all([rehearse(suite, trial) for trial in chosen or TRIALS])


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
