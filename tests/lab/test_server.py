"""`make lab` from the outside: JupyterLab with one kernel, behind its token, on loopback; nothing left when it ends."""

import json
import re
import signal
import socket
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request

import psutil
import pytest

from tests.lab.conftest import end

pytestmark = pytest.mark.usefixtures("leaves_nothing")


@pytest.fixture
def server(person):
    """JupyterLab as `make lab` starts it: the process, its address and its token."""
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "helpers.lab", "open", "--", "--no-browser", f"--ServerApp.port={port}"]
    process = person.start(*command, stderr=subprocess.PIPE)
    for line in process.stderr:
        found = re.search(r"(http://127\.0\.0\.1:\d+)/lab\S*\?token=(\w+)", line)
        if found:
            break
    else:
        pytest.fail("JupyterLab did not say where it listens")
    process.address, process.token = found.groups()
    # It goes on writing its log, and would wait for ever for somebody to read it.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    while True:
        # The address is said a moment before it answers.
        try:
            get(process, "/api")
            break
        except urllib.error.URLError:
            time.sleep(0.1)
    process.after = time.monotonic() - start
    yield process
    end(process)


def get(server, path, token=True):
    request = urllib.request.Request(server.address + path)
    if token:
        request.add_header("Authorization", f"token {server.token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return answer.read()


def post(server, path):
    request = urllib.request.Request(server.address + path, method="POST", data=b'{"name": "ebpf"}')
    request.add_header("Authorization", f"token {server.token}")
    with urllib.request.urlopen(request, timeout=30) as answer:
        return json.load(answer)


def test_serves_one_kernel_behind_its_token(server):
    assert server.after < 10
    specs = json.loads(get(server, "/api/kernelspecs"))
    assert list(specs["kernelspecs"]) == ["ebpf"] and specs["default"] == "ebpf"
    assert b"JupyterLab" in get(server, "/lab")
    for path in ("/api/kernels", "/api/contents"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            get(server, path, token=False)


def test_listens_on_loopback_only(server):
    family = [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]
    listening = {c.laddr.ip for p in family for c in p.net_connections("inet") if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def jupyter_of(server) -> psutil.Process:
    family = psutil.Process(server.pid).children(recursive=True)
    return next(p for p in family if "jupyterlab" in " ".join(p.cmdline()))


@pytest.mark.parametrize("how", ["asked", "killed"])
def test_ends_with_its_kernels(server, how):
    """Jupyter ended by SIGTERM or by SIGKILL, with a virtual machine running."""
    post(server, "/api/kernels")
    jupyter = jupyter_of(server)
    for _ in range(100):
        if any("qemu" in p.name() for p in jupyter.children(recursive=True)):
            break
        time.sleep(0.1)
    assert any("qemu" in p.name() for p in jupyter.children(recursive=True))
    jupyter.send_signal({"asked": signal.SIGTERM, "killed": signal.SIGKILL}[how])
    server.wait(timeout=20)


def test_checkout_still_belongs_to_its_owner(person, server):
    """Nothing that the server, the kernel or the guest wrote into the checkout belongs to somebody else."""
    owner = person.project.stat().st_uid
    strangers = [str(path) for path in person.project.rglob("*") if path.lstat().st_uid != owner]
    assert not strangers
