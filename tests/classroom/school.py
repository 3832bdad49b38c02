"""A class as `make classroom` serves it: JupyterHub as root, students with accounts, homes and passwords.

All of it lives in a mount namespace with an /etc of its own, so that the accounts are gone with the class.
"""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import time
import urllib.error
from pathlib import Path

import psutil
import pytest

from helpers.lab import serve
from tests.jupyter import Server, WebKernel
from tests.lab.person import CACHE, COURSE, as_user, end, within_reach

# How many run notebook 01 at once.
NUMBER = int(os.environ.get("STUDENTS", 3))
FIRST_UID = 20_000 + os.getpid() % 1_000 * 32  # nobody else's, not even another class's

CONFIG = """
load_subconfig({config!r})
c.JupyterHub.services = [{{"name": "test", "api_token": {token!r}}}]
scopes = ["admin:users", "admin:servers", "tokens"]
c.JupyterHub.load_roles = [{{"name": "test", "services": ["test"], "scopes": scopes}}]
c.JupyterHub.port, c.JupyterHub.hub_port, api = {ports}
c.ConfigurableHTTPProxy.api_url = f"http://127.0.0.1:{{api}}"
"""


@pytest.fixture(scope="session")
def school(request, built):
    """The running class, every student with a server of their own."""
    with within_reach(built) as (folder, inside), contextlib.ExitStack() as stack:
        etc = folder / "etc"
        subprocess.run(["cp", "-a", "/etc", etc], check=True)
        subprocess.run([*inside, "mount", "--bind", etc, "/etc"], check=True)
        subprocess.run([*inside, "groupadd", "--force", "students"], check=True)
        school = School(folder, inside)
        stack.callback(school.close)
        school.students = [Student(school, number) for number in range(NUMBER)]
        for student in school.students:
            student.start()
        yield school
        if request.session.testsfailed:
            print("What JupyterHub said:", school.log.read_text()[-20_000:], sep="\n")


class School:
    """A hub and its students; everything lies below ``folder``."""

    def __init__(self, folder: Path, inside: list[str]):
        self.folder, self.inside, self.students = folder, inside, []
        with contextlib.ExitStack() as stack:
            free = [stack.enter_context(socket.create_server(("127.0.0.1", 0))) for _ in range(3)]
            ports = [server.getsockname()[1] for server in free]
        self.web = Server(f"http://127.0.0.1:{ports[0]}", secrets.token_hex(16))
        course, config, state, self.log = folder / COURSE, folder / "config.py", folder / "hub", folder / "log"
        state.mkdir(mode=0o700)
        config.touch(mode=0o600)
        config.write_text(
            CONFIG.format(config=f"{course}/binder/jupyterhub_config.py", token=self.web.token, ports=ports)
        )
        self.command = [*inside, "setpriv", "--pdeathsig", "TERM", "env", f"--chdir={state}"]
        self.command += [sys.executable, "-m", "jupyterhub", "-f", config]
        self.start()

    def start(self):
        with open(self.log, "ab") as log:
            self.process = subprocess.Popen(
                self.command,
                env={**os.environ, "PYTHONPATH": str(self.folder / COURSE), "EBPF_LAB_CACHE": str(self.folder / CACHE)},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        for _ in range(300):
            with contextlib.suppress(urllib.error.URLError):
                self.web.ask("/hub/api/")
                return
            assert self.process.poll() is None, self.log.read_text()
            time.sleep(0.1)
        pytest.fail(f"JupyterHub does not answer:\n{self.log.read_text()}")

    def close(self):
        end(self.process)
        deadline = time.monotonic() + 20
        while (left := [p for student in self.students for p in student.processes()]) and time.monotonic() < deadline:
            time.sleep(0.2)
        for process in left:
            process.kill()
        assert not left, f"the hub has ended and these have not: {left}"
        # Each student's next server would remove them, and there is none.
        for folder in serve.runtime_directories():
            with contextlib.suppress(FileNotFoundError):  # other tests' vanish meanwhile
                if folder.stat().st_uid in {student.uid for student in self.students}:
                    shutil.rmtree(folder)


class Student:
    """One student: an account, a server behind the hub, and the kernel of a notebook."""

    def __init__(self, school: School, number: int):
        self.school, self.name, self.uid = school, f"student{number:02}", FIRST_UID + number
        self.home, self.password = school.folder / self.name, secrets.token_hex(8)
        self.notebook_dir = self.home / "first-ebpf"
        account = ["--create-home", "--home-dir", self.home, "--uid", str(self.uid), "--groups", "students"]
        subprocess.run([*school.inside, "useradd", *account, self.name], check=True)
        subprocess.run([*school.inside, "chpasswd"], input=f"{self.name}:{self.password}", text=True, check=True)
        # Debian 12's useradd closes a home; some others do not.
        self.home.chmod(0o700)
        # The server starts there, and its code is the teacher's.
        (self.home / "json.py").write_text("raise SystemExit('this ran outside')")
        self.become = [*school.inside, *as_user(self.uid), "env", f"HOME={self.home}"]

    def start(self):
        with contextlib.suppress(urllib.error.HTTPError):
            self.school.web.ask(f"/hub/api/users/{self.name}", {})
        token = self.school.web.ask(f"/hub/api/users/{self.name}/tokens", {})["token"]
        self.web = Server(self.school.web.address, token)
        self.web.ask(f"/hub/api/users/{self.name}/server", {})
        self.wait(lambda: self.web.ask(f"/hub/api/users/{self.name}")["servers"].get("", {}).get("ready"))

    def stop(self):
        self.web.ask(f"/hub/api/users/{self.name}/server", method="DELETE")
        self.wait(lambda: not self.web.ask(f"/hub/api/users/{self.name}")["servers"])

    def wait(self, condition, seconds=120):
        deadline = time.monotonic() + seconds
        while not condition():
            assert time.monotonic() < deadline, self.school.log.read_text()[-5000:]
            time.sleep(0.2)

    def open(self, notebook: str):
        """Open a notebook, which gives it a kernel."""
        here = Server(f"{self.web.address}/user/{self.name}", self.web.token)
        self.kernel = WebKernel(here, f"notebooks/{notebook}")

    def processes(self) -> list[psutil.Process]:
        found = []
        for process in psutil.process_iter():
            with contextlib.suppress(psutil.NoSuchProcess):
                if process.uids().real == self.uid and process.status() != psutil.STATUS_ZOMBIE:
                    found.append(process)
        return found

    def process(self, name: str) -> psutil.Process | None:
        for process in self.processes():
            with contextlib.suppress(psutil.NoSuchProcess):
                if name in " ".join(process.cmdline()):
                    return process
        return None

    def python(self, code: str, *arguments) -> str:
        """Run Python on the server, outside the machine, as this student would who had found a way to."""
        done = subprocess.run(
            [*self.become, sys.executable, "-c", code, *map(str, arguments)], capture_output=True, text=True, timeout=60
        )
        assert done.returncode == 0, done.stderr
        return done.stdout
