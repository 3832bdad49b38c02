"""Used by the lab's tests, as an ordinary user: where Jupyter finds the kernel `ebpf`, and what is run in it."""

import contextlib
import os

from helpers.lab import serve
from tests.jupyter import LocalKernel

__all__ = ["COLLECTING", "HELLO", "LocalKernel", "jupyter"]

HELLO = """
from bcc import BPF
import subprocess
bpf = BPF(text='int hello(void *ctx) { bpf_trace_printk("Hello World!"); return 0; }')
bpf.attach_kprobe(event=bpf.get_syscall_fnname("sync"), fn_name="hello")
subprocess.run(["sync"])
task, pid, cpu, flags, seconds, message = bpf.trace_fields()
print(task.decode(), message.decode())
"""

# Events as fast as they can be made, and nobody ends it.
COLLECTING = """
import os
from bcc import BPF
from helpers import PerfOutput
bpf = BPF(text='''
struct event { u64 time_ns; };
BPF_PERF_OUTPUT(events);
int on_call(struct pt_regs *ctx) {
    struct event event = { bpf_ktime_get_ns() };
    events.perf_submit(ctx, &event, sizeof(event));
    return 0;
}''')
bpf.attach_kprobe(event=bpf.get_syscall_fnname("getppid"), fn_name="on_call")
with PerfOutput(bpf["events"]) as events:
    print("collecting", flush=True)
    while True:
        os.getppid()
"""


@contextlib.contextmanager
def jupyter():
    """Let Jupyter find the kernel `ebpf` in this process."""
    with serve.environment() as environment:
        os.environ.update(environment)
        yield
