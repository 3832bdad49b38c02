"""What `make` says while it sets up: the cause of a failure, from what was printed, and how long it still takes."""

import os
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.lab import LabError, cache, causes, debian, image, setup, template

# As apt-get, pip, mmdebstrap and dpkg of Debian 12 and 13 say it.
REFUSED = [
    "W: Failed to fetch http://127.0.0.1:9/debian/dists/trixie/InRelease  Could not connect to 127.0.0.1:9 "
    "(127.0.0.1). - connect (111: Connection refused)",
    "E: Failed to fetch http://deb.debian.org/debian/pool/main/m/make/make_4.4.1-2_amd64.deb  404  Not Found "
    "[IP: 1.2.3.4 80]",
    "E: The repository 'http://127.0.0.1/debian trixie Release' does not have a Release file.",
    "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection "
    "broken by 'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to "
    "establish a new connection: [Errno -3] Temporary failure in name resolution')': /simple/numpy/",
    "ERROR: HTTP error 503 while getting https://pypi.org/simple/numpy/",
]
FULL = [
    "E: You don't have enough free space in /var/cache/apt/archives/.",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "dpkg: error processing archive x.deb (--unpack): cannot copy extracted data: write error "
    "(No space left on device)",
]


@pytest.mark.parametrize("said", REFUSED)
@pytest.mark.parametrize("network", [True, False])
def test_network_or_server(said, network, monkeypatch):
    monkeypatch.setattr(causes, "connected", lambda: network)
    error = str(causes.failed("It did not work", f"Reading …\n{said}\nE: Some index files failed to download."))
    assert ("this machine has no network" in error) == (not network)
    what = re.search(
        r"Could not connect.*refused|404  Not Found|Release file|\[Errno -3\] .*resolution|error 503", said
    )[0]
    assert ("a server cannot be reached" in error and what in error and "Retry(" not in error) == network


@pytest.mark.parametrize("said", FULL)
def test_full_disk(said):
    error = causes.failed("It did not work", said)
    assert isinstance(error, cache.Unusable) and "a disk is full" in str(error) and "network" not in str(error)


def test_anything_else_is_told_by_its_last_lines():
    error = str(causes.failed("It did not work", "\n".join(f"line {n}" for n in range(50)) + "\ndpkg: error: broken"))
    assert "dpkg: error: broken" in error and "line 49" in error and "line 10" not in error and "network" not in error


def test_command_that_fails():
    with pytest.raises(LabError, match="It did not work. Its last lines:\nbecause"):
        causes.run([sys.executable, "-c", "print('because'); exit(3)"], "It did not work")


def test_apt_speaks_english(tmp_path, monkeypatch):
    """Its words are looked for. LANGUAGE is stronger than LC_ALL."""
    monkeypatch.setenv("LANGUAGE", "de")
    apt = tmp_path / "apt-get"
    apt.write_text('#!/bin/sh\necho "$LC_ALL $LANGUAGE"; exit 1\n')
    apt.chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setattr(debian.os, "geteuid", lambda: 0)
    monkeypatch.setattr(debian, "APT_LISTS", tmp_path / "none yet")
    with pytest.raises(LabError, match="C.UTF-8 C.UTF-8"):
        debian.install(["no-such-package"], time.time())


# sudo that does not remember a password (timestamp_timeout=0 in sudoers(5)), and what it was asked for.
FORGETS = """#!/bin/sh
echo "sudo $1 $2" >> "$SAID"
case $1 in -n) exit 1 ;; -v) exit 0 ;; *) exec "$@" ;; esac
"""
APT = """#!/bin/sh
echo "apt-get $*" >> "$SAID"
"""


def test_a_sudo_that_forgets_is_asked_once_for_all_packages(tmp_path, monkeypatch):
    said = tmp_path / "said"
    for name, script in {"sudo": FORGETS, "apt-get": APT}.items():
        (tmp_path / name).write_text(script)
        (tmp_path / name).chmod(0o755)
    monkeypatch.setenv("PATH", str(tmp_path), prepend=":")
    monkeypatch.setenv("SAID", str(said))
    monkeypatch.setattr(debian.os, "geteuid", lambda: 1000)
    monkeypatch.setattr(debian, "APT_LISTS", tmp_path / "none yet")
    monkeypatch.setattr(debian, "missing", lambda names: ["mmdebstrap", *setup.LATER])
    setup.begin("packages", [], tmp_path / "python")
    *asked, update, install = said.read_text().splitlines()
    assert asked == ["sudo -n true", "sudo -v ", "sudo -n true", "sudo env DEBIAN_FRONTEND=noninteractive"]
    assert update.endswith(" update") and install.endswith(" mmdebstrap qemu-system-x86")


BEGIN = """
import sys
from pathlib import Path
from helpers.lab import causes, debian, setup

def venv(command, what):
    print("made", flush=True)
    python = Path(command[-1], "bin/python")
    python.parent.mkdir(parents=True)
    python.write_text('#!/bin/sh\\necho begun; read go; touch "${0%/bin/python}/ready-lock"; echo ended')
    python.chmod(0o755)

causes.run, debian.missing = venv, lambda names: []
setup.begin("lock", [], Path(sys.argv[1]))
"""


def waits_for_a_lock(pid):
    """As proc_locks(5) says."""
    lines = map(str.split, Path("/proc/locks").read_text().splitlines())
    return any(line[1] == "->" and line[5] == str(pid) for line in lines)


def test_two_that_begin_at_once_do_not_fill_one_environment(tmp_path, monkeypatch):
    """The second waits for the first, also when that has become the environment's Python."""
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    pipes = {"stdin": subprocess.PIPE, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE, "text": True}
    command = [sys.executable, "-c", BEGIN, tmp_path / "python"]
    with subprocess.Popen(command, **pipes) as first:
        assert [first.stdout.readline() for _ in range(2)] == ["made\n", "begun\n"]
        with subprocess.Popen(command, **pipes) as second:
            assert "another process is building the lab" in second.stderr.readline()
            deadline = time.monotonic() + 30
            while not waits_for_a_lock(second.pid):
                assert time.monotonic() < deadline, "the second does not wait"
                time.sleep(0.01)
            assert first.communicate("go\n", timeout=30)[0] == "ended\n"
            assert second.communicate("go\n", timeout=30)[0] == "begun\nended\n"


def test_what_fails_is_said_at_once_and_no_machine_boots(tmp_path, monkeypatch, capsys):
    def fail(suite, say):
        raise LabError("The disk cannot be made.", "Try again.")

    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    monkeypatch.setattr(setup, "wanted", lambda *_: set())
    monkeypatch.setattr(causes, "user_namespaces", lambda: None)
    monkeypatch.setattr(causes, "enough_room", lambda needed: None)
    monkeypatch.setattr(image, "ensure", fail)
    monkeypatch.setattr(template, "ensure", lambda *_: pytest.fail("it boots"))
    with pytest.raises(SystemExit):
        setup.finish("vm", [], [], tmp_path / "python")
    assert "The disk cannot be made. Try again." in capsys.readouterr().err


def test_a_class_reads_what_is_built_under_a_strict_umask(tmp_path, monkeypatch):
    before = os.umask(0o077)
    try:
        monkeypatch.setattr(setup, "begin", lambda *_: (tmp_path / "built").mkdir())
        setup.main([str(tmp_path / "python"), "vm", "class"])
    finally:
        os.umask(before)
    assert (tmp_path / "built").stat().st_mode & 0o777 == 0o755


def test_a_user_without_a_name(tmp_path, monkeypatch):
    """As a container may have one: neither the home directory nor numbers for mmdebstrap can be looked up."""

    def nobody(number):
        raise KeyError(number)

    monkeypatch.setattr(causes.pwd, "getpwuid", nobody)
    monkeypatch.setattr(causes.os, "geteuid", lambda: 4242)
    monkeypatch.setattr(causes.subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    with pytest.raises(LabError, match="a user without a name .* Use an account that has one"):
        causes.user_namespaces()
    for name in ("HOME", "XDG_CACHE_HOME", "EBPF_LAB_CACHE"):
        monkeypatch.delenv(name, raising=False)
    with pytest.raises(LabError, match="no home directory .* Set HOME, or EBPF_LAB_CACHE"):
        cache.directory()


def test_room(tmp_path):
    causes.enough_room({tmp_path / "not there yet": 1e-9})
    with pytest.raises(LabError, match=f"needs 2e\\+09 GB in {tmp_path} and {tmp_path} .* GB are free"):
        causes.enough_room({tmp_path: 1e9, tmp_path / "b": 1e9})


def test_packages_are_those_of_their_groups():
    assert "mmdebstrap" in debian.packages("host", "vm") and "chromium" not in debian.packages("host", "vm")
    assert set(debian.packages("own")) == {"iproute2", "python3-bpfcc"} <= set(debian.packages("guest"))
    assert debian.packages("vm") and set(setup.LATER) <= set(debian.packages("vm"))
    assert debian.missing(["dpkg", "no-such-package"]) == ["no-such-package"]


def test_what_runs_side_by_side_takes_as_long_as_its_longest(monkeypatch):
    now = time.time()
    monkeypatch.setattr(setup.time, "time", lambda: now)
    progress = setup.Progress(machine=True)
    assert progress.left() == progress.apt.seconds + progress.disk.seconds + progress.boot.seconds
    progress.apt.ended = now
    progress.disk.began = now - 30
    assert progress.left() == progress.disk.seconds - 30 + progress.boot.seconds
    # Slower than expected: it is never "about 0:00 left".
    progress.disk.began = now - 1000
    assert progress.left() == max(progress.later.seconds, progress.disk.seconds / 10) + progress.boot.seconds
    assert setup.Progress(machine=False).left() == progress.apt.seconds + progress.python.seconds


def test_live_line(capsys, monkeypatch):
    now = time.time()
    monkeypatch.setattr(setup.time, "time", lambda: now)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("EBPF_LAB_SETUP_SINCE", str(now - 60))
    progress = setup.Progress(machine=True)
    progress.apt.ended = progress.disk.began = progress.python.began = now
    progress.draw()
    line = capsys.readouterr().err
    assert line.startswith(setup.CLEAR + "  [######--------------]  32%, about 2:10 left: Python packages, the ")
    assert len(line) == len(setup.CLEAR) + 69
