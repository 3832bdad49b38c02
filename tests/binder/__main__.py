"""python -m tests.binder build | rehearse | cluster: what Binder and a hub on Kubernetes do with this project, on this
machine (as root).

    build      the image, from binder/Dockerfile
    rehearse   a container of it, in a network of its own: the command that Binder starts, notebooks 01 and 04 through
               Jupyter's HTTP interface, both open at a time; and the times and the memory that a learner would meet
    cluster    the container that KubeSpawner describes from binder/zero-to-jupyterhub.yaml: notebook 01 in it, as a
               student whom JupyterHub let in
"""

import contextlib
import json
import os
import secrets
import subprocess
import sys
import tempfile
import time
import urllib.error
from pathlib import Path

from tests.binder import build, cluster, container
from tests.jupyter import Server, WebKernel, run_notebook
from tests.lab.kernels import HELLO

PORT = 8888
KERNEL_READY, FIRST_EVENT = 5, 5  # seconds that may pass on a quiet machine
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
        self.say(what, f"{memory.most / 2**20:6.0f} MiB of {memory.limit // 2**20}", memory.killed() == 0)


def rehearse() -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    base_url, token = "/user/somebody-first-ebpf-1234/", secrets.token_hex(16)
    server = Server(f"http://127.0.0.1:{PORT}{base_url.rstrip('/')}", token)
    shown, errors, start = Rehearsal(), [], time.monotonic()
    print(f"A container as on Binder, on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}:")
    with container.running(binders_command(base_url, token)) as (memory, said, _):
        until(lambda: server.page("/lab"), "JupyterLab did not answer", said)
        shown.seconds("JupyterLab answers, after container start", time.monotonic() - start)
        specs = server.ask("/api/kernelspecs")
        shown.say("kernels to choose from", ", ".join(specs["kernelspecs"]), list(specs["kernelspecs"]) == ["ebpf"])
        opened = server.ask("/lab/api/workspaces/default")["data"]["layout-restorer:data"]["main"]["current"]
        shown.say("JupyterLab opens with", opened, opened == "notebook:notebooks/00_start_here.ipynb")
        shown.memory("most memory, JupyterLab alone", memory)

        first, heard = WebKernel(server, "notebooks/01_hello_trace_pipe.ipynb"), []
        shown.seconds("kernel ready, after opening notebook 01", first.ready, KERNEL_READY)
        start = time.monotonic()
        text, error = first.run(f"{HELLO}\nbpf.cleanup()")
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

        second = WebKernel(server, "notebooks/04_perf_output_to_dataframe.ipynb")
        shown.seconds("kernel ready, after opening notebook 04", second.ready, KERNEL_READY)
        start = time.monotonic()
        errors += run_notebook(second, "notebooks/04_perf_output_to_dataframe.ipynb")
        shown.seconds("all of notebook 04", time.monotonic() - start)
        if error := first.run("run_sync(times=1)")[1]:
            errors.append(f"notebook 01's kernel afterwards: {error}")
        shown.memory("most memory with two labs", memory)
        first.close(), second.close()
    shown.say("cells that went wrong", str(len(errors)), not errors)
    shown.say("size of the image, unpacked", f"{build.size():6.2f} GB")
    for error in errors[:5]:
        print(f"  {error}")
    return bool(shown.failures)


@contextlib.contextmanager
def hub(folder: str, token: str):
    """Give a JupyterHub as the values for Zero to JupyterHub make it; see `cluster`."""
    kubernetes = Path(folder, "kubernetes")
    nobody = {"name": "none", "context": {"cluster": "none", "user": "none"}}
    address = {"name": "none", "cluster": {"server": "http://127.0.0.1:1"}}
    users = [{"name": "none", "user": {}}]
    kubernetes.write_text(
        json.dumps({"current-context": "none", "contexts": [nobody], "clusters": [address], "users": users})
    )
    settings = {"REHEARSAL": folder, "REHEARSAL_TOKEN": token, "KUBECONFIG": str(kubernetes)}
    command = [sys.executable, "-m", "jupyterhub", "-f", cluster.__file__]
    with open(f"{folder}/hub.log", "wb") as log:
        process = subprocess.Popen(
            command, cwd=folder, env={**os.environ, **settings}, stdout=log, stderr=subprocess.STDOUT
        )
    web = Server(f"http://127.0.0.1:{cluster.HUB_PORT}/hub/api", token)
    try:
        until(lambda: web.ask("/"), "JupyterHub did not answer", Path(folder, "hub.log"))
        yield web
    finally:
        process.terminate()
        process.wait()


def until(attempt, otherwise: str, said: Path | None = None):
    """Return what *attempt* returns once a server answers, or end with a sentence and what was *said* meanwhile."""
    for _ in range(1200):
        try:
            return attempt()
        except (urllib.error.URLError, ConnectionError, FileNotFoundError):
            time.sleep(0.05)
    sys.exit(f"{otherwise}. {said.read_text() if said else ''}")


def rehearse_cluster() -> int:
    subprocess.run(["ip", "link", "set", "lo", "up"], check=True)
    shown, student = Rehearsal(), f"/users/{cluster.STUDENT}"
    print(f"A container of a class on Kubernetes, on {os.cpu_count()} CPUs, load {os.getloadavg()[0]:.1f}:")
    with tempfile.TemporaryDirectory() as folder, hub(folder, secrets.token_hex(16)) as web:
        web.ask(student, {})
        token = web.ask(f"{student}/tokens", {})["token"]
        web.ask(f"{student}/server", {})
        file = Path(folder, "pod.json")
        pod = json.loads(until(file.read_text, "KubeSpawner described no container"))
        server, start = Server(f"http://127.0.0.1:{cluster.PORT}/user/{cluster.STUDENT}", token), time.monotonic()
        with container.running([], pod) as (memory, said, first):
            until(lambda: server.page("/api"), "The student's server did not answer", said)
            shown.seconds("student's server answers, after container start", time.monotonic() - start)
            status = dict(line.split(":\t", 1) for line in Path(f"/proc/{first}/status").read_text().splitlines())
            shown.say("user", status["Uid"].split()[0], status["Uid"].split() == ["1000"] * 4)
            shown.say("capabilities, also to gain", status["CapBnd"], int(status["CapBnd"], 16) == 0)
            shown.say(
                "new privileges", "none" if status["NoNewPrivs"] == "1" else "possible", status["NoNewPrivs"] == "1"
            )
            mounts = [line.split() for line in Path(f"/proc/{first}/mountinfo").read_text().splitlines()]
            root = next(mount[5].split(",") for mount in mounts if mount[4] == "/")
            shown.say("root file system", root[0], root[0] == "ro")
            account = [mount[4] for mount in mounts if "serviceaccount" in mount[4]]
            shown.say("service account", ", ".join(account) or "none", not account)
            kernel, errors = WebKernel(server, "notebooks/01_hello_trace_pipe.ipynb"), []
            shown.seconds("kernel ready, after opening notebook 01", kernel.ready, KERNEL_READY)
            start = time.monotonic()
            errors += run_notebook(kernel, "notebooks/01_hello_trace_pipe.ipynb")
            shown.seconds("all of notebook 01", time.monotonic() - start)
            shown.memory("most memory", memory)
            kernel.close()
    shown.say("cells that went wrong", str(len(errors)), not errors)
    for error in errors[:5]:
        print(f"  {error}")
    return bool(shown.failures)


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["build"]:
            sys.exit(build.build())
        case ["rehearse"]:
            sys.exit(rehearse())
        case ["cluster"]:
            sys.exit(rehearse_cluster())
    sys.exit(__doc__)
