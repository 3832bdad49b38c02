"""What `make` says while it sets up: the cause of a failure, from what was printed, and how long it still takes."""

import re
import sys
import time

import pytest

from helpers.lab import LabError, cache, causes, setup

# As apt-get, pip, mmdebstrap and dpkg of Debian 12 and 13 say it.
REFUSED = [
    "W: Failed to fetch http://127.0.0.1:9/debian/dists/trixie/InRelease  Could not connect to 127.0.0.1:9 (127.0.0.1). - "
    "connect (111: Connection refused)",
    "E: Failed to fetch http://deb.debian.org/debian/pool/main/m/make/make_4.4.1-2_amd64.deb  404  Not Found [IP: 1.2.3.4 80]",
    "E: The repository 'http://127.0.0.1/debian trixie Release' does not have a Release file.",
    "WARNING: Retrying (Retry(total=4, connect=None, read=None, redirect=None, status=None)) after connection broken by "
    "'NewConnectionError('<pip._vendor.urllib3.connection.HTTPSConnection object at 0x7f>: Failed to establish a new "
    "connection: [Errno -3] Temporary failure in name resolution')': /simple/numpy/",
    "ERROR: HTTP error 503 while getting https://pypi.org/simple/numpy/",
]
FULL = [
    "E: You don't have enough free space in /var/cache/apt/archives/.",
    "ERROR: Could not install packages due to an OSError: [Errno 28] No space left on device",
    "dpkg: error processing archive x.deb (--unpack): cannot copy extracted data: write error (No space left on device)",
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
    monkeypatch.setattr(setup.os, "geteuid", lambda: 0)
    monkeypatch.setattr(setup, "LISTS", tmp_path / "none yet")
    with pytest.raises(LabError, match="C.UTF-8 C.UTF-8"):
        setup.install(["no-such-package"], time.time())


def test_room(tmp_path):
    causes.enough_room({tmp_path / "not there yet": 1e-9})
    with pytest.raises(LabError, match=f"needs 2e\\+09 GB in {tmp_path} and {tmp_path} .* GB are free"):
        causes.enough_room({tmp_path: 1e9, tmp_path / "b": 1e9})


def test_packages_are_those_of_their_groups():
    assert "mmdebstrap" in setup.packages("host", "vm") and "chromium" not in setup.packages("host", "vm")
    assert setup.packages("own") == ["python3-bpfcc"] and "python3-bpfcc" in setup.packages("guest")
    assert setup.packages("vm") and set(setup.LATER) <= set(setup.packages("vm"))
    assert setup.missing(["dpkg", "no-such-package"]) == ["no-such-package"]


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
    assert setup.Progress(machine=False).left() == progress.apt.seconds + progress.jupyter.seconds


def test_live_line(capsys, monkeypatch):
    now = time.time()
    monkeypatch.setattr(setup.time, "time", lambda: now)
    monkeypatch.setenv("COLUMNS", "70")
    monkeypatch.setenv("EBPF_LAB_SETUP_SINCE", str(now - 60))
    progress = setup.Progress(machine=True)
    progress.apt.ended = progress.disk.began = progress.jupyter.began = now
    progress.draw()
    line = capsys.readouterr().err
    assert line.startswith(setup.CLEAR + "  [######--------------]  32%, about 2:10 left: JupyterLab, the virtu")
    assert len(line) == len(setup.CLEAR) + 69
