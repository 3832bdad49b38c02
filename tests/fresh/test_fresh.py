"""What the README promises, on a machine where nothing has been done: its two commands, typed by an ordinary user.

EBPF_FRESH_SUITE chooses the Debian release of the machine. What goes wrong there is told by its cause, and each of them
is brought about: on the bare machine, or on the one where everything has been set up and a part taken away again.
"""

import os
import re
import shutil
import tempfile
import time
from pathlib import Path

import pytest

from tests.fresh import machine
from tests.jupyter import Server, WebKernel, run_notebook

SUITE = os.environ.get("EBPF_FRESH_SUITE", "trixie")
FIRST = "notebooks/01_hello_trace_pipe.ipynb"
NOWHERE = "http://127.0.0.1:9"  # nobody listens there

pytestmark = [
    pytest.mark.skipif(os.geteuid() != 0, reason="a machine of one's own needs root"),
    pytest.mark.timeout(1800),
]


@pytest.fixture(scope="module")
def bare():
    """A machine on which nothing has been done."""
    folder = Path(tempfile.mkdtemp(dir="/var/tmp", prefix="first-ebpf-fresh-"))
    try:
        machine.make_root(SUITE, folder / "root")
        yield folder / "root"
        assert str(folder) not in Path("/proc/self/mounts").read_text()
    finally:
        shutil.rmtree(folder)


@pytest.fixture(scope="module")
def ready(bare):
    """The machine on which the README's first command was typed: its root, how long each step took, what was seen."""
    with machine.copy(bare) as root:
        steps, start = {}, time.monotonic()
        process = machine.start(root, "git clone --quiet /srv/first-ebpf.git && cd first-ebpf && make lab")
        try:
            said = ""
            for line in process.stdout:
                said += line
                if done := re.match(r" +(.*): done, after (\d+) s", line):
                    steps[done[1]] = int(done[2])
                if found := re.search(r"(http://127\.0\.0\.1:\d+)/lab/tree\S*\?token=(\w+)", line):
                    break
            else:
                pytest.fail(f"make lab ended, and said:\n{said}")
            server, heard = Server(*found.groups()), []
            server.wait()
            steps["JupyterLab answers, after the clone began"] = time.monotonic() - start
            kernel = WebKernel(server, FIRST)
            steps["a kernel is ready, after 01 was opened"] = kernel.ready
            wrong = run_notebook(kernel, FIRST, heard.append, lambda: "Hello World!" in "".join(heard))
            steps["the first Hello World!, after the clone began"] = time.monotonic() - start
            kernel.close()
        finally:
            process.kill()
            process.communicate()
        yield root, steps, said, wrong, "".join(heard)


def test_first_command(ready, happened):
    _, steps, said, wrong, heard = ready
    assert not wrong and "Hello World!" in heard
    assert not re.search(r"debconf|WARNING|notice|Traceback", said)
    for step, seconds in steps.items():
        happened(f"{SUITE}: {step}", f"{seconds:.0f} s")


def test_second_command(ready, happened):
    start = time.monotonic()
    said = told(ready[0], "cd first-ebpf && make test OPTIONS=unit")
    assert re.search(r"^unit +\d+ passed +\d+ s", said, re.MULTILINE), said
    happened(f"{SUITE}: make test OPTIONS=unit", f"{time.monotonic() - start:.0f} s")


def told(root: Path, command: str, status: int = 0, **options) -> str:
    """Run a command on a machine; return what it printed."""
    process = machine.start(root, command, **options)
    said, _ = process.communicate(timeout=900)
    assert process.returncode == status, said
    assert "Traceback" not in said, said
    return said


MAKE = "git clone --quiet /srv/first-ebpf.git ~/course && cd ~/course && make lab"
# Each takes something away from a bare machine: a command of root's there, whose make lab, around it, and what is said.
ON_A_BARE_MACHINE = {
    "no network": ("true", "learner", ["unshare", "--net"], ["this machine has no network", "Connect it"]),
    "a mirror that fails": (
        f"sed -i 's#http://[^/]*/#{NOWHERE}/#' /etc/apt/sources.list",
        "learner",
        [],
        ["a server cannot be reached", "127.0.0.1:9", "sources.list"],
    ),
    "no room for Debian packages": (
        "mount -t tmpfs -o size=100k tmpfs /var/cache/apt/archives && mkdir /var/cache/apt/archives/partial",
        "learner",
        [],
        ["a disk is full", "/var/cache/apt/archives"],
    ),
    "no right to sudo": (
        "true",
        "guest",
        [],
        ["You may not install Debian packages", "sudo apt-get install", "mmdebstrap"],
    ),
    "Fedora": (
        "printf 'PRETTY_NAME=\"Fedora Linux 43\"\\n' > /etc/os-release; rm /usr/bin/dpkg-query /usr/bin/apt-get",
        "learner",
        [],
        ["This is Fedora Linux 43", "docker build", "docker run"],
    ),
}


@pytest.mark.parametrize("cause", ON_A_BARE_MACHINE)
def test_cause_on_a_bare_machine(bare, cause, happened):
    spoil, user, around, words = ON_A_BARE_MACHINE[cause]
    with machine.copy(bare) as root:
        said = told(root, MAKE, 2, user=user, around=around, before=spoil)
    check(said, words, cause, happened)


# The same where they are there, so that what comes after them fails; the third is a command of the user's.
ON_A_MACHINE_WITH_PACKAGES = {
    "no network for pip": ("true", ["unshare", "--net"], "rm -r $cache/python-*", ["Python packages", "no network"]),
    "an index that fails": (
        "true",
        [],
        f"rm -r $cache/python-*; export PIP_INDEX_URL={NOWHERE}/simple",
        ["Python packages", "a server cannot be reached", "Connection refused"],
    ),
    "no room in the cache": (
        "install -d -o learner ~learner/.cache && mount -t tmpfs -o size=90m,uid=1000,mode=700 tmpfs ~learner/.cache",
        [],
        "true",
        ["needs 3 GB in /home/learner/.cache/first-ebpf", "0.1 GB are free", "EBPF_LAB_CACHE"],
    ),
    "Debian's server fails for the virtual machine": (
        "echo 127.0.0.1 deb.debian.org >> /etc/hosts",
        [],
        "rm -r $cache/image-*",
        ["root file system", "a server cannot be reached", "deb.debian.org"],
    ),
    "no room for the virtual machine": (
        "mount -t tmpfs -o size=90m,mode=1777 tmpfs /var/tmp",
        [],
        "rm -r $cache/image-*",
        ["needs 2 GB in /var/tmp", "0.1 GB are free", "TMPDIR"],
    ),
    "no user namespaces": (
        "echo 0 > /proc/sys/user/max_user_namespaces",
        ["bash", str(machine.ENTER.with_name("nested.sh"))],
        "rm -r $cache/image-*",
        ["user.max_user_namespaces is 0", "sudo sysctl user.max_user_namespaces=", "sudo EBPF_LAB=vm"],
    ),
    "no line in /etc/subuid": ("rm /etc/subuid", [], "rm -r $cache/image-*", ["/etc/subuid has no line for learner"]),
}


@pytest.mark.parametrize("cause", ON_A_MACHINE_WITH_PACKAGES)
def test_cause_where_packages_are_there(ready, cause, happened):
    spoil, around, take, words = ON_A_MACHINE_WITH_PACKAGES[cause]
    with machine.copy(ready[0]) as root:
        command = f"cache=~/.cache/first-ebpf; {take}; cd first-ebpf && make lab"
        said = told(root, command, 2, around=around, before=spoil)
    check(said, words, cause, happened)


def test_goes_on_without_sudo_where_the_packages_are(ready):
    """Somebody who may not install them builds with what an administrator has installed."""
    with machine.copy(ready[0]) as root:
        told(root, "git clone --quiet /srv/first-ebpf.git && cd first-ebpf && make packages", user="guest")


def check(said, words, cause, happened):
    for word in words:
        assert word in said, f"{word!r} is not in:\n{said}"
    if "network" not in cause:
        assert "network" not in said, said
    sentence = next(line for line in said.splitlines() if words[0] in line)
    happened(cause, sentence.strip()[:150])
