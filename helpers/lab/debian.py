"""Debian's packages: those that the course needs, by the groups of binder/apt.txt, and how they get here."""

import os
import platform
import shutil
import subprocess
import sys
from pathlib import Path

from helpers.lab import machine

from . import LabError, cache, causes

APT_LIST = cache.PROJECT / "binder/apt.txt"
APT_LISTS = Path("/var/lib/apt/lists")  # of what there is; an image of a container may lack it
APT = "apt-get -o DPkg::Lock::Timeout=120"
STALE = "The lists of packages are not up to date."
CONTAINER = """Elsewhere it runs in a container:
  docker build -f binder/Dockerfile -t first-ebpf .
  docker run --rm -p 127.0.0.1:8888:8888 first-ebpf"""


def here() -> None:
    """Make sure that there are Debian packages to install.

    Raises:
        LabError: this is another system.
    """
    if shutil.which("dpkg-query") and shutil.which("apt-get"):
        return
    try:
        name = platform.freedesktop_os_release()["PRETTY_NAME"]
    except (OSError, KeyError):
        name = {"Darwin": "macOS"}.get(platform.system(), platform.system())
    raise LabError(f"This is {name}, and the lab is set up from Debian's packages.", CONTAINER)


def packages(*groups: str) -> list[str]:
    """Return the Debian packages of some groups in binder/apt.txt."""
    lines = (line.partition("#") for line in APT_LIST.read_text().splitlines())
    return [name.strip() for name, _, why in lines if name.strip() and why.strip().partition(":")[0] in groups]


def headers() -> list[str]:
    """Return the package of the running kernel's headers, if they are not here."""
    return [] if machine.headers(Path("/")).ok else [f"linux-headers-{platform.release()}"]


def missing(names: list[str]) -> list[str]:
    """Return those of the Debian packages that are not installed."""
    command = ["dpkg-query", "--show", "--showformat=${db:Status-Status} ${Package}\n"]
    said = subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout
    there = {line.partition(" ")[2] for line in said.splitlines() if line.startswith("installed ")}
    return sorted(set(names) - there)


def ask_for_root(names: list[str]) -> bool:
    """Return whether sudo remembers the password, which it asks for if it must.

    Raises:
        LabError: this user may not install packages.
    """
    if os.geteuid() == 0:
        return True

    def silent() -> bool:
        return subprocess.run(["sudo", "-n", "true"], stderr=subprocess.DEVNULL).returncode == 0

    if shutil.which("sudo"):
        if silent():
            return True
        print(f"  Debian packages to install: {' '.join(names)}", file=sys.stderr, flush=True)
        if subprocess.run(["sudo", "-v"]).returncode == 0:
            return silent()
    raise LabError(
        f"You may not install Debian packages on this machine, and these are missing: {' '.join(names)}.",
        f"An administrator can: sudo apt-get install {' '.join(names)}\nThen run the same command again.",
    )


def install(names: list[str], since: float, ask: bool = False) -> None:
    """Install Debian packages, as root.

    Args:
        names: The packages.
        since: The time (seconds since the epoch) from which on the lists of packages count as up to date.
        ask: Whether sudo may ask for the password.

    Raises:
        LabError: they cannot be installed.
    """
    root = [] if os.geteuid() == 0 else ["sudo"] if ask else ["sudo", "-n"]
    # Causes are told from English words, which LANGUAGE would translate even where LC_ALL does not.
    settings = ["DEBIAN_FRONTEND=noninteractive", "LC_ALL=C.UTF-8", "LANGUAGE=C.UTF-8"]
    script = f'{APT} install --yes --no-install-recommends "$@"'
    if not APT_LISTS.exists() or APT_LISTS.stat().st_mtime <= since:
        # A repository of somebody else's that does not answer is no reason to stop while Debian's does.
        update = f"{APT} -o APT::Update::Error-Mode=any update"
        script = f"said=$({update} 2>&1) || printf '%s\\n' \"$said\" '{STALE}'\n{script}"
    done = causes.output([*root, "env", *settings, "sh", "-c", script, "sh", *names])
    if not done.returncode:
        return
    if STALE not in done.stdout and f"Unable to locate package linux-headers-{platform.release()}" in done.stdout:
        raise LabError(
            f"Debian has no headers any more for the kernel that runs here, {platform.release()}.",
            "Bring this machine up to date and restart it, or use the virtual machine: sudo EBPF_LAB=vm make lab",
        )
    error = causes.failed("Debian packages could not be installed", done.stdout)
    raise error
