"""A Jupyter server as a browser sees it, and a kernel as a notebook does, wherever it runs.

In the virtual machine too, which has fewer packages: those that are only here are imported where they are used.
"""

import json
import os
import time
import urllib.error
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

from helpers.lab import cache

# Seconds for a kernel to start, and for one cell; more on a slow computer, for which the lab has the same variable.
DEADLINE = 5 * float(os.environ.get("EBPF_LAB_DEADLINE") or 60)


class Server:
    """A server under its address, base URL included. Raises urllib.error.HTTPError when it refuses."""

    def __init__(self, address: str, token: str):
        self.address, self.token = address, token

    def page(self, path: str, content: dict | None = None, method: str | None = None) -> bytes:
        """GET a path, or POST to it when there is something to say, or use another method."""
        data = None if content is None else json.dumps(content).encode()
        request = urllib.request.Request(self.address + path, data, method=method)
        if self.token:
            request.add_header("Authorization", f"token {self.token}")
        with urllib.request.urlopen(request, timeout=DEADLINE) as answer:
            return answer.read()

    def wait(self):
        """Wait until it answers, which is a moment after it has said its address."""
        while True:
            try:
                self.page("/api")
                return
            except urllib.error.URLError:
                time.sleep(0.1)

    def ask(self, path: str, content: dict | None = None, method: str | None = None):
        """The same for an answer in JSON; None if it is empty."""
        text = self.page(path, content, method)
        return json.loads(text) if text else None


class Kernel:
    """A running kernel. How messages travel to it and back is for the classes below to say, by send() and receive()."""

    def send(self, code: str) -> str:
        """Have a cell run; return the number of the message."""
        raise NotImplementedError

    def receive(self) -> dict | None:
        """Return the next message from the kernel, or None when there was none for a while."""
        raise NotImplementedError

    def execute(self, code: str) -> str:
        """Run a cell; return what it printed or showed as text. Raises RuntimeError with what went wrong in it."""
        text, error = self.run(code)
        if error:
            raise RuntimeError(error)
        return text

    def run(self, code: str, hear: Callable[[str], None] = lambda text: None) -> tuple[str, str]:
        """Run a cell, in ``took`` seconds; return its text, and its error ("" if there was none).

        *hear* is called with what it prints, as it comes. Raises AssertionError when the kernel ends, or the cell does
        not.
        """
        start = time.monotonic()
        number, text, error, ended = self.send(code), "", "", set()
        while ended != {"idle", "reply"}:
            assert time.monotonic() < start + DEADLINE, (
                f"no end after {DEADLINE:.0f} s, only {ended}, of:\n{code}\nIt printed:\n{text}"
            )
            message = self.receive()
            if message is None:
                continue
            kind, content = message["msg_type"], message["content"]
            state = content.get("execution_state")
            assert state not in ("restarting", "dead"), f"the kernel ended in:\n{code}\nIt printed:\n{text}"
            if message["parent_header"].get("msg_id") != number:
                continue
            if kind == "stream":
                text += content["text"]
                hear(content["text"])
            elif kind in ("execute_result", "display_data"):
                text += content["data"].get("text/plain", "") + "\n"
            elif kind == "error":
                error = f"{content['ename']}: {content['evalue']}"
            elif kind == "execute_reply":
                ended.add("reply")
            elif state == "idle":
                ended.add("idle")
        self.took = time.monotonic() - start
        return text, error


class WebKernel(Kernel):
    """The kernel of a notebook just opened on a server; once this is made it has answered, after ``ready`` seconds."""

    def __init__(self, server: Server, notebook: str):
        start = time.monotonic()
        session = {"path": notebook, "name": Path(notebook).name, "type": "notebook", "kernel": {"name": "ebpf"}}
        self.server, self.id = server, server.ask("/api/sessions", session)["kernel"]["id"]
        self.connect()
        self.execute("None")
        self.ready = time.monotonic() - start

    def connect(self):
        import websocket

        address = self.server.address.replace("http:", "ws:") + f"/api/kernels/{self.id}/channels"
        header = [f"Authorization: token {self.server.token}"]
        self.socket = websocket.create_connection(address, header=header, timeout=DEADLINE)
        # The server pings every half a minute, which a longer timeout would take for a sign of life of the kernel.
        self.socket.settimeout(10)

    def send(self, code: str) -> str:
        number = uuid.uuid4().hex
        header = {"msg_id": number, "msg_type": "execute_request", "session": number, "username": "", "version": "5.3"}
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self.socket.send(json.dumps(message))
        return number

    def receive(self) -> dict | None:
        from websocket import WebSocketTimeoutException

        try:
            return json.loads(self.socket.recv())
        except WebSocketTimeoutException:
            return None

    def close(self):
        self.socket.close()


class LocalKernel(Kernel):
    """A kernel that this process has started, as nbclient does; it has answered after ``ready`` seconds."""

    def __init__(self, deadline: float = 60, **options):
        from jupyter_client.manager import KernelManager

        start = time.monotonic()
        self.manager = KernelManager(kernel_name="ebpf")
        self.manager.start_kernel(cwd=str(cache.PROJECT / "notebooks"), **options)
        self.client = self.manager.client()
        self.client.start_channels()
        self.client.wait_for_ready(timeout=deadline)
        self.ready = time.monotonic() - start

    def send(self, code: str) -> str:
        return self.client.execute(code, allow_stdin=False)

    def receive(self) -> dict | None:
        import zmq

        channels = [self.client.iopub_channel, self.client.shell_channel]
        ready, _, _ = zmq.select([channel.socket for channel in channels], [], [], timeout=10)
        for channel in channels:
            if channel.socket in ready:
                return channel.get_msg()
        assert self.manager.is_alive(), "the kernel ended"
        return None

    def launcher(self) -> int:
        return self.manager.provisioner.process.pid

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.client.stop_channels()
        self.manager.shutdown_kernel()


def run_notebook(kernel: Kernel, name: str, hear=lambda text: None, until=lambda: False) -> list[str]:
    """Run a notebook's cells in order, all or up to the one after which *until* is true; return what went wrong."""
    import nbformat

    errors = []
    for number, cell in enumerate(nbformat.read(cache.PROJECT / name, as_version=4).cells):
        if cell.cell_type == "code":
            _, error = kernel.run(cell.source, hear)
            if bool(error) != ("raises-exception" in cell.metadata.get("tags", [])):
                errors.append(f"{name}, cell {number}: {error or 'should have failed'}")
            if until():
                break
    return errors
