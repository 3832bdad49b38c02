"""`make lab` from the outside: JupyterLab with one kernel, behind its token, on loopback; nothing left when it ends."""

import contextlib
import os
import signal
import time
import urllib.error

import psutil
import pytest

from helpers.lab import cache, serve
from tests.jupyter import Server
from tests.lab.person import listening, machines
from tests.lab.test_kernel import BUSY

pytestmark = pytest.mark.usefixtures("leaves_nothing")


def test_serves_one_kernel_behind_its_token(server):
    assert server.after < 10 * BUSY
    specs = server.web.ask("/api/kernelspecs")
    assert list(specs["kernelspecs"]) == ["ebpf"] and specs["default"] == "ebpf"
    assert b"JupyterLab" in server.web.page("/lab")
    for path in ("/api/kernels", "/api/contents"):
        with pytest.raises(urllib.error.HTTPError, match="403"):
            Server(server.web.address, token="").page(path)


def test_listens_on_loopback_only(server):
    listening = set()
    for process in [psutil.Process(server.pid), *psutil.Process(server.pid).children(recursive=True)]:
        # Some of them end while we look, such as QEMU asked for its version.
        with contextlib.suppress(psutil.NoSuchProcess):
            listening |= {c.laddr.ip for c in process.net_connections("inet") if c.status == "LISTEN"}
    assert listening == {"127.0.0.1"}


def jupyter_of(server) -> psutil.Process:
    family = psutil.Process(server.pid).children(recursive=True)
    return next(p for p in family if "jupyterlab" in " ".join(p.cmdline()))


@pytest.mark.parametrize("how", ["asked", "killed", "hung up"])
def test_ends_with_its_kernels(server, how):
    """Jupyter ended by SIGTERM or by SIGKILL, or its terminal closed, with a virtual machine running."""
    server.web.ask("/api/kernels", {"name": "ebpf"})
    jupyter = jupyter_of(server)
    deadline = time.monotonic() + 60
    while not machines(jupyter):
        assert time.monotonic() < deadline
        time.sleep(0.1)
    if how == "hung up":
        jupyter.parent().send_signal(signal.SIGHUP)
    jupyter.send_signal({"asked": signal.SIGTERM, "killed": signal.SIGKILL, "hung up": signal.SIGHUP}[how])
    server.wait(timeout=20)


@pytest.mark.skipif(os.geteuid() != 0, reason="files of several people need root")
def test_what_root_made_in_the_checkout_is_given_to_its_owner(tmp_path, monkeypatch):
    checkout, outside = tmp_path / "checkout", tmp_path / "outside"
    made, link, another = checkout / "folder/file", checkout / "folder/link", checkout / "another's"
    made.parent.mkdir(parents=True)
    for file in (made, another, outside):
        file.touch()
    link.symlink_to(outside)
    os.chown(checkout, 12345, 12345)
    os.chown(another, 12346, 12346)
    monkeypatch.setattr(cache, "PROJECT", checkout)
    serve.give_back()
    given = {path: path.lstat().st_uid for path in (made.parent, made, link, another, outside)}
    assert given == {made.parent: 12345, made: 12345, link: 12345, another: 12346, outside: 0}


def test_gives_its_kernel_to_a_server_that_somebody_else_starts(person):
    """As Binder and a hub do: their command, their port, their token, their base URL."""
    command = ["jupyter-lab", "--no-browser", "--ServerApp.base_url=/user/ann/"]
    with listening(person, "env", "--", *command) as server:
        specs = server.web.ask("/api/kernelspecs")
        assert list(specs["kernelspecs"]) == ["ebpf"] and specs["default"] == "ebpf"
        opened = server.web.ask("/lab/api/workspaces/default")["data"]["layout-restorer:data"]["main"]["current"]
        assert server.web.ask("/api/contents/" + opened.removeprefix("notebook:"))["type"] == "notebook"
    # Its runtime files outlive it, since the command took the place of the lab's process; the next one removes them.
    person.python("from helpers.lab import serve\nwith serve.environment(): print(0)")


def test_says_so_when_there_is_no_such_server(person):
    done = person.lab("env", "--", "jupyter-nothing")
    assert done.returncode == 1 and done.stderr.startswith("There is no command jupyter-nothing.")
