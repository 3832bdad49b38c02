"""The agent inside the virtual machine, alone in its room: it imports nothing from this project.

Before the machine is frozen it is a complete Jupyter kernel that has already answered requests, plotted, and compiled,
attached and read a BPF program, so that nothing of this has to be loaded or set up after the thaw. It then waits on the
wire for one request, which says who it is for, and either goes on as that notebook's kernel or runs one command.
"""

import base64
import ctypes
import faulthandler
import fcntl
import gc
import json
import os
import random
import resource
import shlex
import signal
import struct
import subprocess
import sys
import threading
import time
import traceback
import uuid
from io import FileIO as Wire
from typing import IO, Any

Request = dict[str, Any]

WIRE = "/dev/virtio-ports/wire"
PORTS = {"shell_port": 5001, "iopub_port": 5002, "stdin_port": 5003, "control_port": 5004, "hb_port": 5005}

# Run in the kernel before the freeze, through its sockets, as a notebook would.
WARM_UP = '''
import sqlite3, subprocess, warnings
import numpy, pandas, matplotlib.pyplot as plt, tqdm
from bcc import BPF
from pygments import highlight
from pygments.formatters import HtmlFormatter
from pygments.lexers import CLexer
PROGRAM = """
BPF_PERF_OUTPUT(events);
BPF_HASH(start, u32, u64);
struct data_t { u64 time_ns; u32 pid; char comm[16]; };
int warm_up(struct pt_regs *ctx) {
    struct data_t data = {};
    u32 tid = bpf_get_current_pid_tgid();
    data.time_ns = bpf_ktime_get_ns();
    start.update(&tid, &data.time_ns);
    bpf_get_current_comm(&data.comm, sizeof(data.comm));
    events.perf_submit(ctx, &data, sizeof(data));
    bpf_trace_printk("warm up");
    return 0;
}
"""
highlight(PROGRAM, CLexer(), HtmlFormatter(linenos="inline"))
for header in ("linux/sched.h", "uapi/linux/ptrace.h"):
    BPF(text=f"#include <{header}>\\n" + PROGRAM).cleanup()
bpf = BPF(text=PROGRAM)
bpf.attach_kprobe(event=bpf.get_syscall_fnname("sync"), fn_name="warm_up")
rows = []
bpf["events"].open_perf_buffer(lambda cpu, data, size: rows.append(bpf["events"].event(data).time_ns))
subprocess.run(["sync"])
bpf.perf_buffer_poll(1000)
bpf.trace_fields()
bpf.cleanup()
frame = pandas.DataFrame({"time": numpy.array(rows), "comm": pandas.Categorical(["sync"] * len(rows))})
display(frame, frame.groupby("comm", observed=True).time.count())
figure, axes = plt.subplots()
axes.plot(frame.time, "o", label="warm up")
axes.set(title="warm up", xlabel="time (s)")
axes.legend()
plt.show()
plt.uninstall_repl_displayhook()  # it draws each figure once more, which the notebook then draws again to show it
'''


def main() -> None:
    """Be the kernel, frozen and thawed, until it is shut down or the command has ended."""
    wire = open(WIRE, "r+b", buffering=0)
    send(wire, hello=True)
    # The root file system is read-only until the thaw.
    os.environ.update(MPLCONFIGDIR="/tmp/matplotlib", IPYTHONDIR="/tmp/ipython", JUPYTER_RUNTIME_DIR="/run/jupyter")
    app = kernel_app()
    # Where Python was when a library crashed is said where the machine's last words are kept.
    faulthandler.enable(open("/dev/console", "w"), all_threads=False)
    threading.Thread(target=prepare, args=(app, wire), daemon=True).start()
    app.start()
    send(wire, exit=0)


def send(wire: Wire, **message: Any) -> None:
    """Tell this machine's outside something, as a line of JSON."""
    line = json.dumps(message).encode() + b"\n"
    # The port takes 32 KiB at a time.
    while line:
        line = line[wire.write(line) :]


def kernel_app() -> Any:
    """Return ipykernel's application, which listens at PORTS and does not run yet."""
    from ipykernel.kernelapp import IPKernelApp
    from traitlets.config import Config

    # The ports can be the same in every machine, because each has its own network; the launcher maps them.
    config = Config()
    config.Application.log_level = 50
    config.HistoryManager.hist_file = ":memory:"
    config.Session.key = b"until the thaw"
    app = IPKernelApp.instance(ip="0.0.0.0", connection_file="/run/kernel.json", config=config, **PORTS)
    app.initialize([])  # type: ignore[no-untyped-call]
    return app


def prepare(app: Any, wire: Wire) -> None:
    """Warm the kernel up, then have it wait for the thaw between two of its messages."""
    try:
        warm_up()
    except Exception:
        send(wire, failure=traceback.format_exc())
    app.kernel.io_loop.add_callback(wait_for_thaw, app, wire)


def warm_up() -> None:
    """Talk to our own kernel through its sockets, as Jupyter does; the deadline is that of whoever waits for us."""
    from jupyter_client.blocking.client import BlockingKernelClient

    client = BlockingKernelClient()
    connection: Any = {"ip": "127.0.0.1", "transport": "tcp", "key": b"until the thaw", **PORTS}
    client.load_connection_info(connection)
    client.start_channels()
    client.wait_for_ready()

    def watch(message: Request) -> None:
        if message["msg_type"] == "error":
            raise RuntimeError("\n".join(message["content"]["traceback"]))

    for code in ("print('warm up')", WARM_UP, WARM_UP):
        client.execute_interactive(code, store_history=False, allow_stdin=False, output_hook=watch)
    for ask in (client.complete, client.inspect):
        ask("plt.plo", 7)
        client.get_shell_msg()
    client.stop_channels()


def wait_for_thaw(app: Any, wire: Wire) -> None:
    """Say that the machine can be frozen; go on, thawed, as what the request on the wire asks for."""
    app.shell.reset(new_session=False)
    app.shell.execution_count = 1
    # What is alive now is never looked at by the collector again: its pages stay shared with the template.
    gc.collect()
    gc.freeze()
    send(wire, ready=True)
    request = json.loads(wire.readline())

    app.session.key = request.get("key", "").encode()
    app.session.session = str(uuid.uuid4())
    become(request)
    send(wire, started=True)
    if "news" in request:
        say_in_first_cell(app.shell, request["news"])
    if "command" in request:
        run(request["command"], wire)
    else:
        limit_memory()


def become(request: Request) -> None:
    """Take from the thaw what a copy of a frozen machine must not share or cannot know."""
    time.clock_settime_ns(time.CLOCK_REALTIME, request["time_ns"])
    reseed(base64.b64decode(request["seed"]))
    mount("-o", "remount,rw", "/")
    project = request["project"]
    os.makedirs(project, exist_ok=True)
    mount("-t", "9p", "-o", "trans=virtio,version=9p2000.L,msize=262144,access=any", "project", project)
    for name in ("MPLCONFIGDIR", "IPYTHONDIR", "JUPYTER_RUNTIME_DIR"):
        del os.environ[name]
    os.environ.update(request["environment"])
    time.tzset()
    sys.path.insert(0, project)
    os.chdir(request["directory"])


def say_in_first_cell(shell: Any, text: str) -> None:
    """Have the next cell that runs print a text first."""

    def say(info: object) -> None:
        shell.events.unregister("pre_run_cell", say)
        print(text, file=sys.stderr, flush=True)

    shell.events.register("pre_run_cell", say)


def limit_memory() -> None:
    """Have Python raise MemoryError before the kernel, out of pages, kills it; RLIMIT_DATA in getrlimit(2)."""

    def kilobytes(path: str, name: str) -> int:
        return next(int(line.split()[1]) for line in open(path) if line.startswith(name))

    room = kilobytes("/proc/self/status", "VmData:") + kilobytes("/proc/meminfo", "MemAvailable:") * 9 // 10
    resource.setrlimit(resource.RLIMIT_DATA, (room * 1024, resource.RLIM_INFINITY))


def mount(*arguments: str) -> None:
    """Mount a file system, with arguments of the program mount."""
    subprocess.run(["mount", *arguments], check=True)


def reseed(seed: bytes) -> None:
    """Give the kernel's and Python's random number generators bytes that no other copy has; see random(4)."""
    RNDADDENTROPY, RNDRESEEDCRNG = 0x40085203, 0x5207
    with open("/dev/random", "wb") as device:
        fcntl.ioctl(device, RNDADDENTROPY, struct.pack("ii", len(seed) * 8, len(seed)) + seed)
        fcntl.ioctl(device, RNDRESEEDCRNG)
    random.seed()
    sys.modules["numpy"].random.seed()


def run(command: list[str], wire: Wire) -> None:
    """Run a command, send what it prints while it runs and then its exit status, and end the machine."""
    lock = threading.Lock()
    # A kernel ignores SIGINT between its cells, and a child would inherit that.
    signal.signal(signal.SIGINT, signal.SIG_DFL)

    def relay(pipe: IO[bytes] | None, name: str) -> None:
        assert pipe
        while data := os.read(pipe.fileno(), 1 << 16):
            with lock:
                send(wire, **{name: base64.b64encode(data).decode()})

    try:
        child = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, start_new_session=True
        )
    except OSError as error:
        text = f"{shlex.join(command)}: {error.strerror}\n".encode()
        send(wire, stderr=base64.b64encode(text).decode())
        send(wire, exit=127 if isinstance(error, FileNotFoundError) else 126)
        return
    relays = [
        threading.Thread(target=relay, args=(child.stdout, "stdout")),
        threading.Thread(target=relay, args=(child.stderr, "stderr")),
    ]
    for thread in relays:
        thread.start()
    for thread in relays:
        thread.join()
    status = child.wait()
    ctypes.CDLL(None).sync()
    send(wire, exit=status if status >= 0 else 128 - status)


if __name__ == "__main__":
    main()
