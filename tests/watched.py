"""A process that works when it is told to, of which the tests know when, and how often it left its CPU."""

import subprocess
import sys
import time
from pathlib import Path

CHILD = """
import sys, time
{before}
for line in sys.stdin:
    for _ in range(20):
        {work}
    print(time.monotonic_ns(), flush=True)
"""


class Watched:
    """A Python that runs `work` twenty times when it is told to, after it has run `before`; and sleeps otherwise."""

    def __init__(self, work, before=""):
        code = CHILD.format(work=work, before=before)
        self.process = subprocess.Popen(
            [sys.executable, "-S", "-c", code], stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        self.pid = self.process.pid
        self.until_it_waits()

    def until_it_waits(self):
        """Return when the process sleeps in read(2), for its next line."""
        while not (self.state() == "S" and Path(f"/proc/{self.pid}/wchan").read_text().endswith("pipe_read")):
            assert self.process.poll() is None
            time.sleep(0.001)

    def state(self):
        return Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()[0]

    def switches(self):
        """How often it has left its CPU, as the kernel counts it: proc_pid_status(5)."""
        words = Path(f"/proc/{self.pid}/status").read_text().split()
        return sum(
            int(words[words.index(name) + 1]) for name in ("voluntary_ctxt_switches:", "nonvoluntary_ctxt_switches:")
        )

    def work(self):
        """Have it work once; return when it was done, and a moment (ns) when it has gone to sleep after that."""
        self.process.stdin.write(b"go\n")
        self.process.stdin.flush()
        done = int(self.process.stdout.readline())
        self.until_it_waits()
        return done, time.monotonic_ns()

    def __enter__(self):
        return self

    def __exit__(self, *error):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()
