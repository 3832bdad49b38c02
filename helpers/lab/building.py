"""Something is built once, by one process at a time, whole or not at all."""

import contextlib
import errno
import fcntl
import os
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

from .cache import Unusable, Unwritable, ours

Say = Callable[[str], object]  # what is called with a sentence for the terminal


class Changed(Unusable):
    """Somebody has changed the course (git pull, an editor) while something was made of it."""

    def __init__(self) -> None:
        super().__init__(
            "The course has changed while its virtual machine was being built.", "Run the same command again."
        )


class DiskFull(Unusable):
    """The disk that holds the cache is full."""

    def __init__(self, path: Path) -> None:
        super().__init__(
            f"The disk that holds {path} is full.",
            "The lab needs 3 GB there while it builds: free some, or set EBPF_LAB_CACHE to a directory elsewhere.",
        )


def lock(path: Path, say: Say) -> int:
    """Take the lock that a file stands for, when no other process has it any more; see flock(2).

    Returns:
        The file's descriptor: it is closed, and the lock given back, at the latest when the process ends.

    Raises:
        Unwritable: the file's directory cannot be written.
    """
    if not os.access(path.parent, os.W_OK):
        raise Unwritable(path.parent)
    descriptor = os.open(path, os.O_RDONLY | os.O_CREAT, 0o644)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        say("another process is building the lab; waiting for it")
        fcntl.flock(descriptor, fcntl.LOCK_EX)
    return descriptor


@contextlib.contextmanager
def building(target: Path, say: Say) -> Iterator[Path | None]:
    """Give a scratch directory that becomes *target* when the block ends well, and is removed when it does not.

    One build runs at a time; what a killed one left behind is removed.

    Yields:
        The directory, or None when *target* is there already, also when another process has just finished it.

    Raises:
        Unwritable: the directory cannot be written.
        DiskFull: its disk is full.
        OSError: something else of the kind goes wrong in the block.
    """
    descriptor = lock(target.parent / "first-ebpf-lock", say)
    try:
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
            if error.errno in (errno.ENOSPC, errno.EDQUOT):
                raise DiskFull(target.parent) from error
            raise
        finally:
            shutil.rmtree(scratch, ignore_errors=True)
    finally:
        os.close(descriptor)
