"""Used by the lab's tests, as an ordinary user: start the kernel `ebpf` as Jupyter does and talk to it."""

import contextlib
import os
import time

from jupyter_client.manager import KernelManager

from helpers.lab import cache, serve

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


class Kernel:
    """A running kernel: ``execute`` returns the text a cell printed and raises RuntimeError with what went wrong."""

    def __init__(self, patience=60, **options):
        start = time.monotonic()
        self.manager = KernelManager(kernel_name="ebpf")
        self.manager.start_kernel(cwd=str(cache.PROJECT / "notebooks"), **options)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=patience)
        self.ready_after = time.monotonic() - start

    def execute(self, code: str, timeout: float = 100) -> str:
        printed, failure = [], []

        def hook(message):
            content = message["content"]
            if message["msg_type"] == "stream":
                printed.append(content["text"])
            elif message["msg_type"] == "error":
                failure.append(f"{content['ename']}: {content['evalue']}")

        start = time.monotonic()
        self.client.execute_interactive(code, output_hook=hook, timeout=timeout)
        self.took = time.monotonic() - start
        if failure:
            raise RuntimeError(failure[0])
        return "".join(printed)

    def launcher(self) -> int:
        return self.manager.provisioner.process.pid

    def shutdown(self):
        self.client.stop_channels()
        self.manager.shutdown_kernel()

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.shutdown()
