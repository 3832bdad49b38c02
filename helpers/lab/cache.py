"""The directories outside the checkout: one for what is built, which a class may share, and one for what is written."""

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shlex
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

from . import LabError

PROJECT = Path(__file__).resolve().parents[2]

# The names of all that is made in the cache directory, in which other people's files may lie too.
OURS = re.compile(
    r"""(image-\w+|template-\w+-(kvm|tcg)|kvm-fails|python)-[0-9a-f]{12}(\.partial)?
    |memory-template-\w+-(kvm|tcg)-[0-9a-f]{12}-\d+(\.partial)?
    |first-ebpf-(binder|checkpoints|hub|lock|tests-\d+|workspaces)""",
    re.VERBOSE,
)


class Unusable(LabError):
    """The cache directory cannot be written, or is full, or the course has changed: building something else fails, too."""


def desk() -> Path:
    """Return the directory that the learner and the virtual machine work in: $EBPF_LAB_DESK, or the checkout."""
    return Path(os.environ.get("EBPF_LAB_DESK") or PROJECT).resolve()


def directory() -> Path:
    """Return the directory of everything built, made if it is missing: $EBPF_LAB_CACHE, or one in the user's cache.

    It may belong to somebody else, who has built for a whole class. Raises LabError when it cannot be made.
    """
    return made(Path(os.environ.get("EBPF_LAB_CACHE") or in_home()).absolute())


def own() -> Path:
    """Return the directory of what is written while the lab runs: the same, or one of ours where that is another's.

    Raises LabError when there is none.
    """
    path = directory() if os.access(directory(), os.W_OK) else made(in_home())
    if not os.access(path, os.W_OK):
        raise unwritable(path)
    return path


def in_home() -> Path:
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "first-ebpf")


def made(path: Path) -> Path:
    try:
        # Nobody else reads a virtual machine's memory or a kernel's connection file.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(path, error.strerror) from error
    return path


def unwritable(path: Path, why: str = "Permission denied") -> Unusable:
    return Unusable(
        f"The lab's cache directory {path} cannot be written ({why}).",
        "Make it writable, or set EBPF_LAB_CACHE to a directory that is.",
    )


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


def clean():
    """Remove everything built or written in the cache directory, and the directory when nothing else is in it.

    Raises LabError when a part of it is somebody else's, such as root's.
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


@contextlib.contextmanager
def building(target: Path, say) -> Iterator[Path | None]:
    """Give a scratch directory that becomes *target* when the block ends well, and is removed when it does not.

    Gives None when *target* is there already, also when another process has just finished building it. One build runs
    at a time; what a killed one left behind is removed.
    """
    if not os.access(target.parent, os.W_OK):
        raise unwritable(target.parent)
    with open(target.parent / "first-ebpf-lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building the lab; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        for leftover in ours(target.parent, ".partial"):
            shutil.rmtree(leftover)
        scratch = target.with_name(f"{target.name}.partial")
        scratch.mkdir()
        try:
            yield scratch
            scratch.rename(target)
        except OSError as error:
            raise disk_full(target.parent, error) from error
        finally:
            shutil.rmtree(scratch, ignore_errors=True)


def changed() -> Unusable:
    """Return what to say when somebody has changed the course (git pull, an editor) while something was made of it."""
    return Unusable("The course has changed while its virtual machine was being built.", "Run the same command again.")


def disk_full(path: Path, error: OSError) -> Exception:
    """Return what to say if *error* says that the disk is full, otherwise *error* itself."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return Unusable(
        f"The disk that holds {path} is full.",
        "The lab needs 3 GB there while it builds: free some, or set EBPF_LAB_CACHE to a directory on another disk.",
    )


if __name__ == "__main__":
    try:
        clean()
    except LabError as error:
        sys.exit(f"{error}")
