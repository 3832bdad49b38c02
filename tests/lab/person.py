"""Whoever uses the lab in its tests, which drive the real thing: Jupyter, QEMU, a guest with kernel probes.

Run as root they become an ordinary user first: no capabilities, no new privileges, and a home that holds the checkout
and the lab's cache. Run as an ordinary user they are one already.
"""

import contextlib
import json
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import textwrap
import threading
import time
from pathlib import Path

import psutil
import pytest

from helpers.lab import cache, image, serve, template
from tests.compiles.__main__ import fetch_tools
from tests.jupyter import Server

UID = 10_000 + os.getpid() % 10_000  # nobody else's, not even that of tests beside these
# Every path that the lab is given has a comma, of which QEMU makes something else, and a space.
COURSE, CACHE = "the course, copied", "the cache, shared"
# The browser tests look into JupyterLab itself, to know when it is done.
JUPYTER_OPTIONS = ["--LabApp.expose_app_in_browser=True"]
VENV = Path(sys.prefix)


@pytest.fixture(scope="session")
def built():
    """The template that this machine thaws, as `make test` has built it."""
    return template.ensure(image.DEFAULT_SUITE)


class Person:
    """An ordinary user of the lab. ``run`` and ``start`` take a command and keyword arguments of subprocess."""

    def __init__(self, home: Path, cache_directory: Path, project: Path, enter: list[str]):
        self.home, self.cache, self.project, self.enter = home, cache_directory, project, enter
        self.environment = {
            **{
                name: value
                for name, value in os.environ.items()
                if not name.startswith(("EBPF_LAB", "JUPYTER", "PYTEST"))
            },
            "HOME": str(home),
            "EBPF_LAB_CACHE": str(cache_directory),
            "PYTHONPATH": str(project),
            "EBPF_LAB": "vm",
        }

    def start(self, *command, environment=None, **options):
        options = {"cwd": self.project, "text": True, "stdin": subprocess.DEVNULL, **options}
        return subprocess.Popen([*self.enter, *command], env={**self.environment, **(environment or {})}, **options)

    def run(self, *command, timeout=120, **options):
        process = self.start(*command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)
        try:
            out, error = process.communicate(timeout=timeout)
        except subprocess.TimeoutExpired:
            process.kill()
            raise
        return subprocess.CompletedProcess(command, process.returncode, out, error)

    def python(self, code: str, **options):
        """Run Python code on this side of the lab and return what it printed as JSON."""
        done = self.run(f"{VENV}/bin/python", "-c", textwrap.dedent(code), **options)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    def lab(self, *arguments, **options):
        return self.run(f"{VENV}/bin/python", "-m", "helpers.lab", *arguments, **options)

    def in_guest(self, command: str, **options):
        """Run a shell command in a fresh virtual machine; return what it printed."""
        done = self.lab("run", "--timeout", "100", "--", "sh", "-c", command, **options)
        assert done.returncode == 0, done.stderr
        return done.stdout


@pytest.fixture(scope="session")
def person(built):
    if os.geteuid() != 0:
        yield Person(Path.home(), cache.directory(), cache.PROJECT, ["setpriv", "--no-new-privs"])
        return
    with within_reach() as (home, inside):
        project, directory = home / COURSE, home / CACHE
        # QEMU 7.2 opens the memory file for writing even when it only reads: a copy that belongs to the user.
        subprocess.run(["cp", "-a", "--sparse=always", built, directory], check=True)
        subprocess.run(["chown", "-R", f"{UID}:{UID}", project, directory / built.name], check=True)
        os.chown(directory, UID, UID)
        directory.chmod(0o700)
        os.chown(home, UID, UID)
        yield Person(home, directory, project, [*inside, *as_user(UID)])


def as_user(number: int) -> list[str]:
    """The beginning of a command that runs as an ordinary user who can become nobody else."""
    return [
        *["setpriv", f"--reuid={number}", f"--regid={number}", "--clear-groups"],
        *["--bounding-set=-all", "--inh-caps=-all", "--no-new-privs"],
    ]


@contextlib.contextmanager
def within_reach(*shared: Path):
    """Put a copy of the course, the lab's cache and Python where ordinary users reach them.

    Gives a folder and the beginning of a command that runs in a mount namespace of its own, which ends with its first
    process. In there lie the `COURSE`, and the `CACHE` with the image and what is *shared* besides.
    """
    # Not one of pytest's: each further pytest that this user starts closes those to all others.
    folder = Path(tempfile.mkdtemp())
    folder.chmod(0o755)
    holder = subprocess.Popen(
        ["setpriv", "--pdeathsig", "KILL", "unshare", "--mount", "sh", "-c", "echo && exec sleep infinity"],
        stdout=subprocess.PIPE,
    )
    holder.stdout.readline()
    inside = ["nsenter", "--mount", "--root", "--target", str(holder.pid), "--wd=/"]

    def bind(source: Path, target: Path):
        target.mkdir(parents=True, exist_ok=True)
        subprocess.run([*inside, "mount", "--bind", source, target], check=True)

    ignore = shutil.ignore_patterns("__pycache__", ".git", ".pytest_cache")
    shutil.copytree(cache.PROJECT, folder / COURSE, ignore=ignore)
    for directory in (image.target(image.DEFAULT_SUITE), *shared):
        bind(directory, folder / CACHE / directory.name)
    for verdict in cache.directory().glob("kvm-fails-*"):
        shutil.copy(verdict, folder / CACHE)
    # Python is reached under its own path, whose first folders may be closed to others.
    for parent in reversed(VENV.parents):
        if parent != Path("/") and not parent.stat().st_mode & 0o001:
            outside = folder / "venv"
            bind(VENV, outside)
            subprocess.run([*inside, "mount", "-t", "tmpfs", "-o", "mode=755", "tmpfs", parent], check=True)
            subprocess.run([*inside, "mkdir", "-p", VENV], check=True)
            subprocess.run([*inside, "mount", "--bind", outside, VENV], check=True)
            break
    try:
        yield folder, inside
    finally:
        holder.kill()
        holder.wait()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def bcc_tools(person):
    """A folder with BCC's own tools (Debian's bpfcc-tools) that the virtual machine sees, gone after the tests."""
    folder = person.project / "bcc-tools"
    fetch_tools(image.DEFAULT_SUITE, folder)
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def leaves_nothing(person):
    """Fail the test when, a few seconds after it, a process, a socket or a temporary file of the lab is still there."""
    before = traces(person)
    yield
    deadline = time.monotonic() + 8
    while time.monotonic() < deadline and traces(person) - before:
        time.sleep(0.2)
    left = traces(person) - before
    assert not left, left


def traces(person) -> set[str]:
    found = set()
    for process in psutil.process_iter(["pid", "cmdline"]):
        line = " ".join(process.info["cmdline"] or []).replace(",,", ",")
        if str(person.cache) in line or str(person.project) in line:
            found.add(f"process {process.info['pid']}: {line[:80]}")
    owner = person.project.stat().st_uid
    for path in serve.runtime_directories():
        with contextlib.suppress(FileNotFoundError):  # other tests' vanish meanwhile
            if path.stat().st_uid == owner:
                found.add(f"file {path}")
    found.update(f"file {path}" for path in person.cache.glob("vl.*"))
    return found


def machines(process: psutil.Process) -> list[psutil.Process]:
    """The virtual machines among the processes that a process has started."""
    found = []
    for child in process.children(recursive=True):
        # Among them is QEMU asked for its version, which ends at once.
        with contextlib.suppress(psutil.NoSuchProcess):
            if "qemu" in child.name() and any("mem-path=" in part for part in child.cmdline()):
                found.append(child)
    return found


def memory_file(qemu: psutil.Process) -> str:
    """The file that a machine's memory is mapped from."""
    found = re.search(r"mem-path=((?:[^,]|,,)*)", "\n".join(qemu.cmdline()))
    return found[1].replace(",,", ",")


def end(process: subprocess.Popen):
    """End a process started by a test, kindly and then not."""
    process.send_signal(signal.SIGTERM)
    try:
        process.wait(timeout=10)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()


@pytest.fixture
def server(person):
    """JupyterLab as `make lab` starts it."""
    with listening(person, "open", "--", "--no-browser", *JUPYTER_OPTIONS) as process:
        yield process


@contextlib.contextmanager
def listening(person, *arguments):
    """Give the Jupyter server that `python -m helpers.lab ARGUMENT…` is: the process, with the server as `web`."""
    start = time.monotonic()
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    command = [sys.executable, "-m", "helpers.lab", *arguments, f"--ServerApp.port={port}"]
    process = person.start(*command, stderr=subprocess.PIPE)
    for line in process.stderr:
        found = re.search(r"(http://127\.0\.0\.1:\d+\S*)/lab/tree\S*\?token=(\w+)", line)
        if found:
            break
    else:
        pytest.fail("JupyterLab did not say where it listens")
    process.web = Server(*found.groups())
    # It goes on writing its log, and would wait for ever for somebody to read it.
    threading.Thread(target=process.stderr.read, daemon=True).start()
    process.web.wait()
    process.after = time.monotonic() - start
    try:
        yield process
    finally:
        end(process)
