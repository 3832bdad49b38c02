"""A Jupyter server as a browser sees it: the REST interface, and the web socket to a kernel."""

import json
import time
import urllib.request
import uuid
from collections.abc import Callable
from pathlib import Path

import websocket

PATIENCE = 240  # seconds for one cell


class Server:
    def __init__(self, address: str, token: str):
        self.address, self.token = address, token

    def ask(self, path: str, content: dict | None = None) -> bytes:
        """GET a path below the server's base URL, or POST to it when there is something to say."""
        data = None if content is None else json.dumps(content).encode()
        headers = {"Authorization": f"token {self.token}"}
        request = urllib.request.Request(self.address + path, data, headers)
        with urllib.request.urlopen(request, timeout=60) as answer:
            return answer.read()

    def get(self, path: str) -> dict:
        return json.loads(self.ask(path))


class Kernel:
    """The kernel of a notebook just opened; once this is made it has answered, after ``ready`` seconds."""

    def __init__(self, server: Server, notebook: str):
        start = time.monotonic()
        session = {"path": notebook, "name": Path(notebook).name, "type": "notebook", "kernel": {"name": "ebpf"}}
        kernel = json.loads(server.ask("/api/sessions", session))["kernel"]["id"]
        address = server.address.replace("http:", "ws:") + f"/api/kernels/{kernel}/channels"
        header = [f"Authorization: token {server.token}"]
        self.socket = websocket.create_connection(address, header=header, timeout=PATIENCE)
        self._ask("kernel_info_request", {})
        self.ready = time.monotonic() - start

    def execute(self, code: str, hear: Callable[[str], None] = lambda text: None) -> str | None:
        """Run a cell; return its error, if any. *hear* is called with what it prints."""
        content = {"code": code, "silent": False, "store_history": True, "user_expressions": {}, "allow_stdin": False}
        return self._ask("execute_request", content, hear)

    def _ask(self, kind: str, content: dict, hear: Callable[[str], None] = lambda text: None) -> str | None:
        number = uuid.uuid4().hex
        header = {"msg_id": number, "msg_type": kind, "session": "rehearsal", "username": "", "version": "5.3"}
        message = {"header": header, "parent_header": {}, "metadata": {}, "content": content, "channel": "shell"}
        self.socket.send(json.dumps(message))
        replied = idle = False
        error = None
        while not (replied and idle):
            answer = json.loads(self.socket.recv())
            if answer["parent_header"].get("msg_id") != number:
                continue
            said = answer["content"]
            if answer["msg_type"] == "stream":
                hear(said["text"])
            replied = replied or answer["channel"] == "shell"
            idle = idle or (answer["msg_type"] == "status" and said["execution_state"] == "idle")
            if answer["channel"] == "shell" and said["status"] != "ok":
                error = f"{said.get('ename')}: {said.get('evalue')}"
        return error

    def close(self):
        self.socket.close()
