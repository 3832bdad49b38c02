"""Why setting up failed, from what apt-get, mmdebstrap or pip printed, and what to do about it."""

import os
import pwd
import re
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from . import LabError, cache

AGAIN = "then run the same command again: it goes on where it stopped."
FULL = r"No space left on device|n[o']t have enough free space|Disk quota exceeded"
# What is said of a server that cannot be reached, or that answers with an error.
UNREACHED = (
    r"[Tt]emporary failure (?:resolving|in name resolution)|[Cc]ould not resolve|Name or service not known"
    r"|Network is unreachable|No route to host|Connection refused|Connection reset|Could not connect|Unable to connect"
    r"|[Tt]imed out|Connection failed|does not have a Release file|No system certificates|[Cc]ertificate verif"
    r"|CERTIFICATE_VERIFY_FAILED|HTTP error \d+|\b(?:403|404|407|429|50[0-4]) +[A-Z][a-z]+|Max retries exceeded"
)


def output(command: Sequence[str | Path], **options: Any) -> subprocess.CompletedProcess[str]:
    """Return a command, done with options of subprocess; its stdout holds what it printed and what it complained."""
    streams: dict[str, Any] = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT}
    return subprocess.run(command, text=True, errors="replace", **streams, **options)


def run(command: Sequence[str | Path], what: str, **options: Any) -> str:
    """Return what a command has printed that downloads; it runs with options of subprocess.

    Raises:
        LabError: it has failed; *what* is the beginning of the sentence.
    """
    done = output(command, **options)
    if done.returncode:
        error = failed(what, done.stdout)
        raise error
    return done.stdout


def failed(what: str, said: str) -> LabError:
    """Return what to say when a program that downloads has failed; *said* is what it printed, *what* the beginning."""
    lines = [line.strip() for line in said.splitlines() if line.strip()]
    if re.search(FULL, said):
        return cache.Unusable(
            f"{what}: a disk is full ({_first(FULL, lines)}).",
            f"The lab needs 5 GB while it is built: make room, or set EBPF_LAB_CACHE and TMPDIR elsewhere, {AGAIN}",
        )
    if re.search(UNREACHED, said):
        if not connected():
            return LabError(f"{what}: this machine has no network.", f"Connect it, {AGAIN}")
        return LabError(
            f"{what}: a server cannot be reached, or refuses ({_first(UNREACHED, lines)}).",
            "Name another (Debian's are in /etc/apt/sources.list and sources.list.d, Python's in `pip config list`), "
            f"or wait, {AGAIN}",
        )
    tail = "\n".join(lines[-12:])
    return LabError(f"{what}. Its last lines:\n{tail}\n", "They say why.")


def _first(pattern: str, lines: list[str]) -> str:
    line = next(line for line in lines if re.search(pattern, line))
    # pip says how often it will try again before it says what happened.
    line = re.sub(r"^.*(Failed to establish a new connection: .*?)'\)': (\S+)", r"\1, for \2", line)
    return re.sub(r"^(?:[EW]:|Err:\d+|WARNING:|ERROR:) *", "", line)[:300].rstrip(".:")


def connected() -> bool:
    """Return whether this machine has a route to anywhere else; see proc_net(5)."""
    four = [line.split() for line in Path("/proc/net/route").read_text().splitlines()[1:]]
    file = Path("/proc/net/ipv6_route")
    six = [line.split() for line in file.read_text().splitlines()] if file.exists() else []
    return any(route[0] != "lo" for route in four) or any(route[-1] != "lo" for route in six)


def enough_room(needed: dict[Path, float]) -> None:
    """Make sure that so many GB (10**9 bytes) are free in each of these directories, those on one disk added up.

    Raises:
        LabError: there is less.
    """
    wanted: dict[int, tuple[float, list[Path]]] = {}
    for path, size in needed.items():
        while not path.exists():
            path = path.parent
        total, paths = wanted.get(path.stat().st_dev, (0, []))
        wanted[path.stat().st_dev] = total + size, [*paths, path]
    for size, paths in wanted.values():
        free = shutil.disk_usage(paths[0]).free / 1e9
        if free < size:
            names = " and ".join(map(str, paths))
            raise LabError(
                f"The virtual machine needs {size:g} GB in {names} while it is built, and {free:.1f} GB are free.",
                "Make room, or set EBPF_LAB_CACHE and TMPDIR to directories on another disk.",
            )


def user_namespaces() -> None:
    """Make sure that an ordinary user can become root in a namespace of users, as mmdebstrap does; see unshare(1).

    Raises:
        LabError: this machine refuses it, or has no more numbers for this user's others; see subuid(5).
    """
    if os.geteuid() == 0:
        return
    trial = subprocess.run(["unshare", "--user", "--map-root-user", "--mount", "true"], capture_output=True, text=True)
    problem = "Without root, the virtual machine is built in a user namespace, and this machine refuses one"
    otherwise = "Otherwise build it as root: sudo EBPF_LAB=vm make lab"
    if trial.returncode:
        for knob, refusing, allowing in (
            ("user.max_user_namespaces", "0", "10000"),
            ("kernel.unprivileged_userns_clone", "0", "1"),
            ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
        ):
            file = Path("/proc/sys", *knob.split("."))
            if file.exists() and file.read_text().strip() == refusing:
                remedy = f"Until the next boot this allows it: sudo sysctl {knob}={allowing}. {otherwise}"
                raise LabError(f"{problem} ({knob} is {refusing}).", remedy)
        raise LabError(f"{problem} ({trial.stderr.strip()}).", f"A container often does. {otherwise}")
    try:
        user = pwd.getpwuid(os.getuid()).pw_name
    except KeyError:
        nobody = f"{problem} to a user without a name (user {os.getuid()} is not in /etc/passwd)."
        raise LabError(nobody, f"Use an account that has one. {otherwise}") from None
    for file in (Path("/etc/subuid"), Path("/etc/subgid")):
        names = {line.split(":")[0] for line in file.read_text().splitlines()} if file.exists() else set()
        if not names & {user, str(os.getuid())}:
            remedy = f"sudo usermod --add-subuids 100000-165535 --add-subgids 100000-165535 {user}"
            raise LabError(f"{problem} of more than one user ({file} has no line for {user}).", f"Add one: {remedy}")
