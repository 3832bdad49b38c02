"""python -m tests.lab.switches TOOL PROGRAMS: BCC's offcputime (a file) and notebook 11's programs watch one process.

Prints JSON: microseconds off the CPU by stack of the kernel, as each of them says; and how often the process left its
CPU, as says notebook 11, a probe where BCC's example task_switch has its own, and the kernel's account of the process.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from helpers import fold_stacks, read_map
from tests.watched import Watched

PROBES = Path("/sys/kernel/debug/kprobes/list")
WORK = (
    "time.sleep(0.03); sum(range(20_000)); os.sched_yield(); os.waitpid(os.posix_spawn('/bin/true', ['true'], {}), 0)"
)
TASK_SWITCH = """
#include <linux/sched.h>
BPF_HASH(switches, u32, u64);

int on_finish(struct pt_regs *ctx, struct task_struct *prev) {
    u32 tid = prev->pid;
    switches.atomic_increment(tid);
    return 0;
}
"""


def main(tool: str, file: str) -> None:
    from bcc import BPF

    programs = json.loads(Path(file).read_text())
    where, counting = BPF(text=programs["where"]), BPF(text=programs["counting"])
    with Watched(WORK, "import os") as watched, tempfile.TemporaryFile("w+") as said:
        command = [sys.executable, tool, "--folded", "--kernel-stacks-only", "-p", str(watched.pid)]
        with subprocess.Popen(command, stdout=said) as offcputime:
            while "finish_task_switch" not in PROBES.read_text():
                if offcputime.poll() is not None:
                    sys.exit(f"{tool} ended with status {offcputime.returncode}")
                time.sleep(0.05)
            [function] = {
                line.split()[2].partition("+")[0] for line in PROBES.read_text().splitlines() if "finish_task" in line
            }
            task_switch = BPF(text=TASK_SWITCH)
            task_switch.attach_kprobe(event=function, fn_name="on_finish")
            where["watched"][ctypes.c_uint32(watched.pid)] = where["watched"].Leaf()

            def counts():
                ours, theirs = read_map(counting["switches"]), read_map(task_switch["switches"])
                return (
                    int(ours.loc[ours["prev"] == watched.pid, "value"].sum()),
                    int(theirs.loc[theirs["key"] == watched.pid, "value"].sum()),
                    watched.switches(),
                )

            before = counts()
            watched.work()
            switches = [after - at_first for after, at_first in zip(counts(), before)]
            off = read_map(where["off_ns"]).query("pid == @watched.pid")
            ours = fold_stacks(off, where["stacks"], "value", user=None)
            offcputime.send_signal(signal.SIGINT)
        said.seek(0)
        theirs = [line.rpartition(" ") for line in said.read().splitlines() if ";" in line]
    print(
        json.dumps(
            {
                "ours": summed((stack.replace("_[k]", "").split(";"), ns / 1000) for stack, ns in ours.values.tolist()),
                "theirs": summed((stack.split(";")[1:], int(us)) for stack, _, us in theirs),
                "switches": switches,
            }
        ),
        flush=True,
    )
    os._exit(0)


def summed(stacks) -> dict[str, float]:
    """Add up by stack, without its innermost function, which is the probe's own."""
    sums: dict[str, float] = {}
    for functions, us in stacks:
        key = ";".join(functions[:-1])
        sums[key] = sums.get(key, 0) + us
    return sums


if __name__ == "__main__":
    main(*sys.argv[1:])
