"""python -m tests [GROUP …]: the project's tests, fastest first, each group where it can really run; a summary at the end.

    unit        this machine, no privilege: bytes, frames, plots, the notebooks' files
    host        this machine as root: collectors on tracepoints
    vm          the same tests in the lab's virtual machine: collectors on kernel probes
    lab         the virtual machine and Jupyter's kernel from outside, as an ordinary user
    classroom   JupyterHub as root, with three students; STUDENTS=10 makes it ten, WHOLE=1 all of notebook 01
    notebooks   every notebook: twice, with solutions, with wrong answers
    browser     JupyterLab in a real browser
"""

import os
import platform
import re
import subprocess
import sys
import time
from pathlib import Path

from helpers.lab import cache

PYTEST = ["-m", "pytest", "-q", "-p", "no:cacheprovider", "--timeout", "600"]
IN_VM = [sys.executable, "-m", "helpers.lab", "run", "--timeout", "1800", "--", "python"]
GROUPS = {
    "unit": [sys.executable, *PYTEST, "tests/unit"],
    "host": ["unshare", "--mount", "sh", "tests/with_headers.sh", sys.executable, *PYTEST, "tests/live"],
    "vm": [*IN_VM, *PYTEST, "tests/live"],
    "lab": [sys.executable, *PYTEST, "tests/lab"],
    "classroom": [sys.executable, *PYTEST, "-s", "tests/classroom"],
    "notebooks": [sys.executable, *PYTEST, "tests/notebooks"],
    "browser": [sys.executable, *PYTEST, "tests/browser"],
}
WHERE = {"host": f"this machine, Linux {platform.release()}, as root", "vm": "the lab's virtual machine"}


def main(chosen: list[str]) -> int:
    unknown = set(chosen) - GROUPS.keys()
    if unknown:
        sys.exit(f"No such group: {', '.join(unknown)}. There are {', '.join(GROUPS)}.")
    rows, counts = [], {"passed": 0, "failed": 0, "skipped": 0}
    for group in chosen or GROUPS:
        outside = group in ("lab", "classroom", "notebooks", "browser")
        where = WHERE.get(group, "this machine, lab from outside" if outside else "this machine")
        if group in ("host", "classroom") and os.geteuid() != 0:
            rows.append((group, "needs root: sudo make test", "", where))
            continue
        print(f"\n== {group}: {where}", flush=True)
        start = time.monotonic()
        status, result = run(GROUPS[group])
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
    return bool(counts["failed"])


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
