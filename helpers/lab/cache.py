"""The directories outside the checkout: one for what is built, which a class may share, and one for what is written."""

import contextlib
import hashlib
import os
import re
import shlex
import shutil
import sys
from pathlib import Path

from . import LabError

PROJECT = Path(__file__).resolve().parents[2]

# The names of all that is made in the cache directory, in which other people's files may lie too.
OURS = re.compile(
    r"""(image-\w+|template-\w+-(kvm|tcg)|kvm-fails|python)-[0-9a-f]{12}(\.partial)?
    |memory-template-\w+-(kvm|tcg)-[0-9a-f]{12}-\d+(\.partial)?
    |first-ebpf-(binder|book|hub|lock|python-lock|tests-\d+|workspaces)""",
    re.VERBOSE,
)


class Unusable(LabError):
    """The cache directory cannot be written, or is full, or the course has changed: nothing else is built either."""


class Unwritable(Unusable):
    """The cache directory cannot be written."""

    def __init__(self, path: Path, why: str = "Permission denied") -> None:
        super().__init__(
            f"The lab's cache directory {path} cannot be written ({why}).",
            "Make it writable, or set EBPF_LAB_CACHE to a directory that is.",
        )


def notebook_dir() -> Path:
    """Return the directory that learner and virtual machine work in: $EBPF_LAB_NOTEBOOK_DIR, or the checkout."""
    return Path(os.environ.get("EBPF_LAB_NOTEBOOK_DIR") or PROJECT).resolve()


def directory() -> Path:
    """Return the directory of everything built, made if it is missing: $EBPF_LAB_CACHE, or one in the user's cache.

    It may belong to somebody else, who has built for a whole class.

    Raises:
        LabError: it cannot be made.
    """
    named = os.environ.get("EBPF_LAB_CACHE")
    return _made(Path(named).absolute() if named else _in_home())


def own() -> Path:
    """Return the directory of what is written while the lab runs: the same, or one of ours where that is another's.

    Raises:
        Unwritable: there is none.
    """
    path = directory() if os.access(directory(), os.W_OK) else _made(_in_home())
    if not os.access(path, os.W_OK):
        raise Unwritable(path)
    return path


def _in_home() -> Path:
    if caches := os.environ.get("XDG_CACHE_HOME"):
        return Path(caches, "first-ebpf").absolute()
    try:
        return Path.home() / ".cache/first-ebpf"
    except RuntimeError:
        problem = f"There is no home directory for the lab's cache: user {os.getuid()} is not in /etc/passwd."
        raise LabError(problem, "Set HOME, or EBPF_LAB_CACHE to a directory that you may write.") from None


def in_terminal(command: str) -> str:
    """Return what to do: a shell's command that is run in the checkout, and finds what is built where it is now."""
    named = os.environ.get("EBPF_LAB_CACHE")
    where = f"EBPF_LAB_CACHE={shlex.quote(named)} " if named else ""
    return f"In a terminal, run: cd {shlex.quote(str(PROJECT))} && {where}{command}"


def _made(path: Path) -> Path:
    try:
        # Nobody else reads a virtual machine's memory or a kernel's connection file.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise Unwritable(path, f"{error.strerror}") from error
    return path


def key(*parts: str | bytes | Path) -> str:
    """Return 12 hexadecimal digits that change when any of the texts, or of the files' contents, does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()[:12]


def ours(path: Path, ending: str = "") -> list[Path]:
    """Return what was made for the lab in a directory, as far as its name ends so."""
    return [entry for entry in path.iterdir() if OURS.fullmatch(entry.name) and entry.name.endswith(ending)]


def clean() -> None:
    """Remove everything built or written in the cache directory, and the directory when nothing else is in it.

    Raises:
        LabError: a part of it is somebody else's, such as root's.
    """
    path = directory()
    try:
        for entry in ours(path):
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()
    except PermissionError as error:
        remedy = f"Remove it as root: sudo EBPF_LAB_CACHE={shlex.quote(str(path))} make clean"
        raise LabError(f"You may not remove all that was built in {path}.", remedy) from error
    with contextlib.suppress(OSError):
        path.rmdir()


if __name__ == "__main__":
    try:
        clean()
    except LabError as error:
        sys.exit(f"{error}")
