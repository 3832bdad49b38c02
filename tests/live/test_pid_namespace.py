"""In a PID namespace of its own, such as a container's, events carry other numbers than the notebook sees."""

import subprocess
import sys
from pathlib import Path

from helpers import PerfOutput

WHO = """
BPF_PERF_OUTPUT(events);
struct data_t { u32 pid; };
PROBE {
    struct data_t data = {.pid = bpf_get_current_pid_tgid() >> 32};
    events.perf_submit(ctx, &data, sizeof(data));
    return 0;
}
"""
ASK = """
import os
from helpers.lab import machine
from helpers.lab import LabError, choose
from tests.live.probes import fire
fire()
os.environ.pop("EBPF_LAB", None)
print(os.getpid(), "PIDs" in [check.name for check in machine.missing_for_kprobes()], choose.mode())
os.environ["EBPF_LAB"] = "host"
try:
    choose.mode()
except LabError as error:
    print(error)
"""
IN_A_NAMESPACE = ["unshare", "--pid", "--fork", "--mount-proc"]


def test_numbers_differ_and_the_report_says_so(load):
    bpf = load(WHO)

    def ask(*enter):
        command = [*enter, sys.executable, "-c", ASK]
        with PerfOutput(bpf["events"]) as events:
            done = subprocess.run(command, cwd=Path(__file__).parents[2], text=True, capture_output=True)
        assert done.returncode == 0, done.stderr
        [pid] = events.to_dataframe()["pid"]
        return pid, *done.stdout.split(maxsplit=3)

    kernel_says, python_says, missing, *_ = ask()
    assert kernel_says == int(python_says) and missing == "False"
    kernel_says, python_says, missing, place, said = ask(*IN_A_NAMESPACE)
    assert int(python_says) == 1 != kernel_says
    assert (missing, place) == ("True", "vm")
    assert said.startswith("Host mode cannot trace here: PIDs: a PID namespace of its own") and "--pid=host" in said
