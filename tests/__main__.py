"""python -m tests [--coverage] [GROUP …]: the project's tests, each group where it can really run.

    unit        this machine, no privilege: bytes, frames, plots, the notebooks' files
    host        this machine as root: collectors on tracepoints
    times       the virtual machine and Jupyter's kernel from outside, as an ordinary user: what measures time
    notebooks   every notebook, run twice, and its exercises answered then
    exercises   every notebook again, its exercises answered wrongly and well on the way
    vm          the tests of host in the lab's virtual machine: collectors on kernel probes
    lab         the same: everything else
    fresh       the README's commands on a machine where nothing has been done, and each thing that can go wrong there;
                EBPF_FRESH_SUITE=bookworm makes it a Debian 12
    book        the book of the notebooks in a real browser, without a network
    browser     JupyterLab in a real browser
    classroom   JupyterHub as root, with three students; STUDENTS=10 makes it ten, WHOLE=1 all of notebook 01

What needs root asks sudo for it, once; where that is refused, it is left out. What they build and write goes to a cache
of their own, in which the image and the frozen machine are those of the person who runs them.
host and times have the machine to themselves, as tests of theirs measure time; then two groups run at once. A summary
says what ran where. With --coverage it says which lines of helpers/ were run, inside the virtual machine too, but not
in notebooks, exercises and browser; and not of lab/guest.py, which runs before there is a project.
"""

import contextlib
import os
import shutil
import subprocess
import sys
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import NamedTuple
from xml.etree import ElementTree

from helpers.lab import cache, serve
from tests.conftest import REPEATS

PYTHON = sys.executable
PYTEST = ["-m", "pytest", "-p", "no:cacheprovider", "--color", "no", "--timeout", str(60 * max(10, REPEATS))]
SLOW = [*PYTEST, "-v", "--no-header", "-o", "console_output_style=times"]
OUTSIDE = "this machine, lab from outside"
FRESH_SUITE = os.environ.get("EBPF_FRESH_SUITE", "trixie")
ON_HOST = ["unshare", "--mount", "sh", "tests/with_headers.sh"]
IN_LAB = [PYTHON, "-m", "helpers.lab", "run", "--timeout", "2400", "--"]
IN_VM = ["env", "EBPF_LAB=vm", *IN_LAB]


class Group(NamedTuple):
    """Tests that run together: the command, where, and how another command gets to the kernel that they trace."""

    command: list[str]
    where: str
    enter: list[str] | None = None
    alone: bool = False


GROUPS = {
    "unit": Group([PYTHON, *PYTEST, "-q", "tests/unit"], "this machine"),
    "host": Group([*ON_HOST, PYTHON, *PYTEST, "-q", "tests/live"], "this machine as root", [], alone=True),
    "times": Group([PYTHON, *SLOW, "tests/lab", "-m", "times"], OUTSIDE, alone=True),
    "notebooks": Group([PYTHON, *SLOW, "tests/notebooks", "-k", "twice"], OUTSIDE, IN_LAB),
    "exercises": Group([PYTHON, *SLOW, "tests/notebooks", "-k", "exercises"], OUTSIDE, IN_LAB),
    "vm": Group([*IN_VM, "python", *SLOW, "tests/live"], "the lab's virtual machine", IN_VM),
    # Of one and the same user, it would take what other groups run for what it left.
    "lab": Group([PYTHON, *SLOW, "tests/lab", "-m", "not times"], OUTSIDE, alone=os.geteuid() != 0),
    "fresh": Group([PYTHON, *SLOW, "tests/fresh"], f"Debian {FRESH_SUITE} entered, as an ordinary user"),
    "book": Group([PYTHON, *SLOW, "tests/book"], "this machine, without a network"),
    "browser": Group([PYTHON, *SLOW, "tests/browser"], OUTSIDE),
    "classroom": Group([PYTHON, *SLOW, "-s", "--exitfirst", "tests/classroom"], OUTSIDE),
}


def main(arguments: list[str]) -> int:
    chosen = [word for word in arguments if word != "--coverage"]
    measured = Coverage() if "--coverage" in arguments else None
    unknown = set(chosen) - GROUPS.keys()
    if unknown:
        sys.exit(f"No such group: {', '.join(unknown)}. There are {', '.join(GROUPS)}.")
    become_root(arguments)
    with own_cache():
        return run(chosen, measured)


def become_root(arguments: list[str]) -> None:
    """Start again as root, if sudo lets us; it may ask for a password."""
    if os.geteuid() == 0 or not shutil.which("sudo"):
        return
    if subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode:
        print("Some tests need root.", flush=True)
        if subprocess.run(["sudo", "-v"]).returncode:
            return
    names = ("PATH", "PYTHONPATH", "REPEATS", "STUDENTS", "WHOLE", "LANG", "TMPDIR")
    given = [f"{name}={value}" for name, value in os.environ.items() if name in names or name.startswith("EBPF_")]
    os.execvp("sudo", ["sudo", "env", *given, sys.executable, "-m", "tests", *arguments])


@contextlib.contextmanager
def own_cache():
    """Use a cache of our own, in which the images and frozen machines are links to what has been built."""
    built = cache.directory()
    for leftover in built.glob("first-ebpf-tests-[0-9]*"):
        if not Path("/proc", leftover.name.removeprefix("first-ebpf-tests-")).exists():
            shutil.rmtree(leftover, ignore_errors=True)
    ours = built / f"first-ebpf-tests-{os.getpid()}"
    ours.mkdir(mode=0o700)
    try:
        for made in cache.ours(built):
            if made.name.startswith(("image-", "template-", "kvm-fails-")) and made.suffix != ".partial":
                subprocess.run(["cp", "-al", made, ours], check=True)
        os.environ["EBPF_LAB_CACHE"] = str(ours)
        os.environ.pop("EBPF_LAB_NOTEBOOK_DIR", None)
        yield
    finally:
        shutil.rmtree(ours, ignore_errors=True)
        serve.give_back()


def run(chosen: list[str], measured: "Coverage | None") -> int:
    groups = [group for group in GROUPS if group in (chosen or GROUPS)]
    start = time.monotonic()
    results = [test(group, measured) for group in groups if GROUPS[group].alone]
    with ThreadPoolExecutor(2) as two:
        results += two.map(lambda group: test(group, measured), [group for group in groups if not GROUPS[group].alone])
    print()
    for failure in (line for result in results for line in result.failures):
        print(failure)
    for result in results:
        words = ", ".join(f"{number} {name}" for name, number in result.counts.items()) or result.excuse
        print(f"{result.group:<10} {words:<28} {result.seconds:>6.0f} s   {result.where}")
    total = {name: sum(result.counts.get(name, 0) for result in results) for name in ("passed", "failed", "skipped")}
    words = ", ".join(f"{number} {name}" for name, number in total.items())
    print(f"\n{words}, in {(time.monotonic() - start) / 60:.0f} minutes")
    if measured:
        measured.report()
    return bool(total["failed"])


class Result(NamedTuple):
    """What came of a group: how many tests passed, failed and were skipped, and a line on each that failed."""

    group: str
    where: str
    seconds: float = 0
    counts: dict[str, int] = {}
    failures: list[str] = []
    excuse: str = ""


def test(group: str, measured: "Coverage | None") -> Result:
    """Run a group and pass on what it prints, line by line, with its name in front."""
    where = traced(group)
    if group in ("host", "classroom", "fresh") and os.geteuid() != 0:
        return Result(group, where, excuse="needs root")
    print(f"{group:<10} {where}", flush=True)
    start, command = time.monotonic(), GROUPS[group].command
    # In the checkout, because that is all that the virtual machine shares.
    with tempfile.TemporaryDirectory(dir=cache.PROJECT, prefix=".tests-") as folder:
        report = Path(folder, "report.xml")
        process = subprocess.Popen(
            [*(measured.command(command) if measured else command), f"--junit-xml={report.relative_to(cache.PROJECT)}"],
            cwd=cache.PROJECT,
            env={**os.environ, "PYTHONPATH": str(cache.PROJECT), "PYTHONUNBUFFERED": "1"},
            stdout=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        for line in process.stdout:
            print(f"{group:<10} {line}", end="", flush=True)
        status = process.wait()
        cases = ElementTree.parse(report).findall(".//testcase") if report.exists() else []
    outcomes = [({part.tag for part in case} & {"failure", "error", "skipped"} or {"passed"}).pop() for case in cases]
    counts = {
        "passed": outcomes.count("passed"),
        "failed": outcomes.count("failure") + outcomes.count("error"),
        "skipped": outcomes.count("skipped"),
    }
    failures = [
        f"FAILED {case.get('classname')}::{case.get('name')}: {why(part.get('message', ''))!r}"
        for case in cases
        for part in case
        if part.tag in ("failure", "error")
    ]
    if status and not counts["failed"]:
        counts["failed"] = 1
        failures.append(f"FAILED {group}: ended with status {status}, see above")
    return Result(group, where, time.monotonic() - start, {name: n for name, n in counts.items() if n}, failures)


def why(message: str) -> str:
    """The beginning and the end of what a failed test says: an error in a notebook names its cause last."""
    return message if len(message) < 400 else f"{message[:100]} … {message[-300:]}"


class Coverage:
    """Coverage.py around each group and the processes it starts, whoever they run as, inside the VM too."""

    def __init__(self):
        # The VM shares nothing but the checkout, and the tests' ordinary users may not reach that.
        self.inside = tempfile.mkdtemp(dir=cache.PROJECT, prefix=".coverage-")
        self.outside = tempfile.mkdtemp(prefix="coverage-")
        os.chmod(self.outside, 0o1777)
        os.environ["COVERAGE_FILE"] = f"{self.outside}/data"

    def command(self, command):
        at = command.index("pytest")
        inside = ["env", f"COVERAGE_FILE={self.inside}/data"] if "--" in command else []
        start = command.index("--") + 1 if inside else 0
        return [*command[:start], *inside, *command[start : at - 1], "-m", "coverage", "run", *command[at - 1 :]]

    def report(self):
        for task in (["combine", "--quiet", self.inside, self.outside], ["report", "--skip-empty", "--show-missing"]):
            subprocess.run([sys.executable, "-m", "coverage", *task], cwd=cache.PROJECT)
        for folder in (self.inside, self.outside):
            shutil.rmtree(folder)


def traced(group: str) -> str:
    """Where a group runs, with the kernel that it traces: asked there, because $EBPF_LAB_SUITE may choose another."""
    of = GROUPS[group]
    if of.enter is None:
        return of.where
    asked = subprocess.run([*of.enter, "uname", "-r"], cwd=cache.PROJECT, stdout=subprocess.PIPE, text=True)
    return f"{of.where}, Linux {asked.stdout.strip() or '(no answer)'}"


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])
    sys.exit(main(sys.argv[1:]))
