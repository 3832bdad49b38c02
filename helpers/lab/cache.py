"""The directory where everything built lives, outside the checkout."""

import contextlib
import errno
import fcntl
import hashlib
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

from . import LabError

PROJECT = Path(__file__).resolve().parents[2]


def directory() -> Path:
    """Return the cache directory, made if it is missing: $EBPF_LAB_CACHE, or first-ebpf in the user's cache.

    Raises LabError when it cannot be written.
    """
    path = os.environ.get("EBPF_LAB_CACHE") or Path(
        os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache", "first-ebpf"
    )
    path = Path(path)
    try:
        # Nobody else reads a virtual machine's memory or a kernel's connection file.
        path.mkdir(mode=0o700, parents=True, exist_ok=True)
        tempfile.TemporaryFile(dir=path).close()
    except OSError as error:
        raise LabError(
            f"The lab's cache directory {path} cannot be written ({error.strerror}).",
            "Make it writable, or set EBPF_LAB_CACHE to a directory that is.",
        ) from error
    return path


def key(*parts: str | bytes | Path) -> str:
    """Return 12 hexadecimal digits that change when any of the texts, or of the files' contents, does."""
    digest = hashlib.sha256()
    for part in parts:
        data = part.read_bytes() if isinstance(part, Path) else part.encode() if isinstance(part, str) else part
        digest.update(len(data).to_bytes(8) + data)
    return digest.hexdigest()[:12]


@contextlib.contextmanager
def building(target: Path, say) -> Iterator[Path | None]:
    """Give a scratch directory that becomes *target* when the block ends well, and is removed when it does not.

    Gives None when *target* is there already, also when another process has just finished building it. One build runs
    at a time; what a killed one left behind is removed.
    """
    with open(target.parent / "lock", "w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is building the lab; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        if target.exists():
            yield None
            return
        for leftover in target.parent.glob("*.partial"):
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


def disk_full(path: Path, error: OSError) -> Exception:
    """Return a LabError if *error* says that the disk is full, otherwise *error* itself."""
    if error.errno not in (errno.ENOSPC, errno.EDQUOT):
        return error
    return LabError(
        f"The disk that holds {path} is full.",
        "The lab needs 3 GB there while it builds: free some, or set EBPF_LAB_CACHE to a directory on another disk.",
    )
