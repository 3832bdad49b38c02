"""python -m tests [--coverage] [GROUP …]: the project's tests, fastest first, each group where it can really run.

    unit        this machine, no privilege: bytes, frames, plots, the notebooks' files
    host        this machine as root: collectors on tracepoints
    vm          the same tests in the lab's virtual machine: collectors on kernel probes
    lab         the virtual machine and Jupyter's kernel from outside, as an ordinary user
    classroom   JupyterHub as root, with three students; STUDENTS=10 makes it ten, WHOLE=1 all of notebook 01
    notebooks   every notebook: twice, with solutions, with wrong answers
    browser     JupyterLab in a real browser

A summary at the end says what ran where. With --coverage it says which lines of helpers/ were run, inside the virtual
machine too; notebooks and browser are not measured, and neither is lab/guest.py, which runs before there is a project.
"""

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers.lab import cache

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600"]
IN_LAB = [sys.executable, "-m", "helpers.lab", "run", "--timeout", "1800", "--"]
IN_VM = ["env", "EBPF_LAB=vm", *IN_LAB]
GROUPS = {
    "unit": [sys.executable, *PYTEST, "tests/unit"],
    "host": ["unshare", "--mount", "sh", "tests/with_headers.sh", sys.executable, *PYTEST, "tests/live"],
    "vm": [*IN_VM, "python", *PYTEST, "tests/live"],
    "lab": [sys.executable, *PYTEST, "tests/lab"],
    "classroom": [sys.executable, *PYTEST, "-s", "tests/classroom"],
    "notebooks": [sys.executable, *PYTEST, "tests/notebooks"],
    "browser": [sys.executable, *PYTEST, "tests/browser"],
}
# Where each group runs, and how a command gets to the kernel that it traces.
WHERE = {
    "unit": ("this machine", None),
    "host": ("this machine as root", []),
    "vm": ("the lab's virtual machine", IN_VM),
    "lab": ("this machine, lab from outside", None),
    "classroom": ("this machine, lab from outside", None),
    "notebooks": ("this machine, lab from outside", IN_LAB),
    "browser": ("this machine, lab from outside", None),
}


def main(arguments: list[str]) -> int:
    chosen = [word for word in arguments if word != "--coverage"]
    measured = Coverage() if "--coverage" in arguments else None
    unknown = set(chosen) - GROUPS.keys()
    if unknown:
        sys.exit(f"No such group: {', '.join(unknown)}. There are {', '.join(GROUPS)}.")
    rows, counts = [], {"passed": 0, "failed": 0, "skipped": 0}
    for group in chosen or GROUPS:
        where = place(group)
        if group in ("host", "classroom") and os.geteuid() != 0:
            rows.append((group, "needs root: sudo make test", "", where))
            continue
        print(f"\n== {group}: {where}", flush=True)
        start = time.monotonic()
        status, result = run(measured.command(GROUPS[group]) if measured else GROUPS[group])
        if status and not result["failed"]:
            result["failed"] = 1
        for name in counts:
            counts[name] += result[name]
        text = ", ".join(f"{number} {name}" for name, number in result.items() if number)
        rows.append((group, text, f"{time.monotonic() - start:.0f} s", where))
    print()
    for group, text, took, where in rows:
        print(f"{group:<10} {text:<28} {took:>6}   {where}")
    print(f"\n{counts['passed']} passed, {counts['failed']} failed, {counts['skipped']} skipped")
    if measured:
        measured.report()
    return bool(counts["failed"])


class Coverage:
    """Coverage.py around each group and the processes it starts, whoever they run as, inside the VM too."""

    def __init__(self):
        # In the checkout, which is the one directory that the VM shares.
        self.folder = Path(tempfile.mkdtemp(dir=cache.PROJECT, prefix=".coverage-"))
        self.folder.chmod(0o1777)
        os.environ["COVERAGE_FILE"] = str(self.folder / "data")

    def command(self, command):
        at = command.index("pytest")
        inside = ["env", f"COVERAGE_FILE={self.folder}/data"] if "--" in command else []
        start = command.index("--") + 1 if inside else 0
        return [*command[:start], *inside, *command[start:at - 1], "-m", "coverage", "run", *command[at - 1:]]

    def report(self):
        for task in (["combine", "--quiet"], ["report", "--skip-empty", "--show-missing"]):
            subprocess.run([sys.executable, "-m", "coverage", *task], cwd=cache.PROJECT)
        shutil.rmtree(self.folder)


def place(group: str) -> str:
    """Where a group runs, with the kernel that it traces: asked there, because $EBPF_LAB_SUITE may choose another one."""
    where, enter = WHERE[group]
    if enter is None:
        return where
    asked = subprocess.run([*enter, "uname", "-r"], cwd=cache.PROJECT, stdout=subprocess.PIPE, text=True)
    return f"{where}, Linux {asked.stdout.strip() or '(no answer)'}"


def run(command: list[str]) -> tuple[int, dict[str, int]]:
    """Run pytest and pass on what it prints; return its status and the counts of its last line."""
    environment = {**os.environ, "PYTHONPATH": str(cache.PROJECT), "PYTHONUNBUFFERED": "1"}
    process = subprocess.Popen(command, cwd=cache.PROJECT, env=environment, stdout=subprocess.PIPE)
    said = b""
    while data := os.read(process.stdout.fileno(), 1 << 16):
        sys.stdout.buffer.write(data)
        sys.stdout.flush()
        said = (said + data)[-2000:]
    last = ([line for line in said.decode(errors="replace").splitlines() if re.search(r"\d+ (passed|failed|error)", line)] or [""])[-1]
    found = {name: int(number) for number, name in re.findall(r"(\d+) (passed|failed|error|skipped)", last)}
    failed = found.get("failed", 0) + found.get("error", 0)
    return process.wait(), {"passed": found.get("passed", 0), "failed": failed, "skipped": found.get("skipped", 0)}


if __name__ == "__main__":
    os.chdir(Path(__file__).resolve().parents[1])
    sys.exit(main(sys.argv[1:]))
