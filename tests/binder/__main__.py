"""python -m tests.binder build | rehearse: what Binder does with this project, on this machine (as root).

    build      the image, from binder/Dockerfile
    rehearse   a container of it, in a network of its own: the command that Binder starts, notebooks 01 and 04 through
               Jupyter's HTTP interface, both open at a time; and the times and the memory that a learner would meet
"""

import os
import secrets
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import nbformat

from helpers.lab import cache
from tests.binder import build, container
from tests.jupyter import Kernel, Server
from tests.lab.kernels import HELLO

PORT = 8888
KERNEL_READY, FIRST_EVENT = 5, 12  # seconds that may pass on a quiet machine
BUSY = 2  # how many times longer a busy one may take
# BinderHub asks Python which Jupyter there is, and becomes that one.
LAUNCHER = "import os, sys, jupyterlab.labapp; os.execvp('jupyter-lab', sys.argv)"


def binders_command(base_url: str, token: str) -> list[str]:
    options = [f"base_url={base_url}", f"token={token}", "trust_xheaders=True", "default_url=/lab", "allow_origin=*"]
    both = [f"--{application}.{option}" for application in ("NotebookApp", "ServerApp") for option in options]
    return ["python3", "-c", LAUNCHER, "--ip=0.0.0.0", f"--port={PORT}", *both]


class Rehearsal:
    """What was seen, a line at a time, and what of it was too slow or wrong."""

    def __init__(self):
        self.failures = []

    def say(self, what: str, value: str, good: bool = True):
        print(f"  {what:<50} {value}{'' if good else '   FAILED'}", flush=True)
        if not good:
            self.failures.append(what)

    def seconds(self, what: str, value: float, limit: float | None = None):
        wanted = f" (at most {limit} s, or {limit * BUSY} s on a busy machine)" if limit else ""
        self.say(what, f"{value:6.1f} s{wanted}", limit is None or value <= limit * BUSY)

    def memory(self, what: str, memory: container.Memory):
        self.say(what, f"{memory.most / 2**20:6.0f} MiB of {container.MEMORY // 2**20}", memory.killed() == 0)


def answering(server: Server, said: Path) -> None:
    """Wait until JupyterLab's page comes."""
    for _ in range(1200):
        try:
            server.page("/lab")
            return
        except (urllib.error.URLError, ConnectionError):
            time.sleep(0.05)
    sys.exit(f"JupyterLab did not answer. The container said:\n{said.read_text()}")


def run_notebook(kernel: Kernel, name: str, hear=lambda text: None, until=lambda: False) -> list[str]:
    """Run a notebook's cells in order, all or up to the one after which *until* is true; return what went wrong."""
    errors = []
    for number, cell in enumerate(nbformat.read(cache.PROJECT / name, as_version=4).cells):
        if cell.cell_type == "code":
            _, error = kernel.execute(cell.source, hear)
            if bool(error) != ("raises-exception" in cell.metadata.get("tags", [])):
                errors.append(f"{name}, cell {number}: {error or 'should have failed'}")
            if until():
                break
    return errors


def rehearse() -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    base_url, token = "/user/somebody-first-ebpf-1234/", secrets.token_hex(16)
    server = Server(f"http://127.0.0.1:{PORT}{base_url.rstrip('/')}", token)
    shown, errors, start = Rehearsal(), [], time.monotonic()
    print(f"A container as on Binder, on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}:")
    with container.running(binders_command(base_url, token)) as (memory, said):
        answering(server, said)
        shown.seconds("JupyterLab answers, after container start", time.monotonic() - start)
        specs = server.ask("/api/kernelspecs")
        shown.say("kernels to choose from", ", ".join(specs["kernelspecs"]), list(specs["kernelspecs"]) == ["ebpf"])
        opened = server.ask("/lab/api/workspaces/default")["data"]["layout-restorer:data"]["main"]["current"]
        shown.say("JupyterLab opens with", opened, opened == "notebook:notebooks/00_start_here.ipynb")
        shown.memory("most memory, JupyterLab alone", memory)

        first, heard = Kernel(server, "notebooks/01_hello_trace_pipe.ipynb"), []
        shown.seconds("kernel ready, after opening notebook 01", first.ready, KERNEL_READY)
        start = time.monotonic()
        text, error = first.execute(f"{HELLO}\nbpf.cleanup()")
        shown.seconds("first BPF event, from there", time.monotonic() - start, FIRST_EVENT)
        if text != "sync Hello World!\n":
            errors.append(f"the first BPF program said {text!r} {error}")
        start = time.monotonic()

        def hear(text: str):
            if "Hello World!" in text and not heard:
                heard.append(time.monotonic() - start)

        errors += run_notebook(first, "notebooks/01_hello_trace_pipe.ipynb", hear)
        shown.seconds("first event of notebook 01, a script of its own", heard[0] if heard else float("inf"))
        shown.seconds("all of notebook 01", time.monotonic() - start)
        shown.memory("most memory with one lab", memory)

        second = Kernel(server, "notebooks/04_perf_output_to_dataframe.ipynb")
        shown.seconds("kernel ready, after opening notebook 04", second.ready, KERNEL_READY)
        start = time.monotonic()
        errors += run_notebook(second, "notebooks/04_perf_output_to_dataframe.ipynb")
        shown.seconds("all of notebook 04", time.monotonic() - start)
        if error := first.execute("run_sync(times=1)")[1]:
            errors.append(f"notebook 01's kernel afterwards: {error}")
        shown.memory("most memory with two labs", memory)
        first.close(), second.close()
    shown.say("cells that went wrong", str(len(errors)), not errors)
    shown.say("size of the image, unpacked", f"{build.size():6.2f} GB")
    for error in errors[:5]:
        print(f"  {error}")
    return bool(shown.failures)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build"]:
            sys.exit(build.build())
        case ["rehearse"]:
            sys.exit(rehearse())
    sys.exit(__doc__)
