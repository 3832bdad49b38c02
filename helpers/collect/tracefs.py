"""Where tracefs is mounted: the files behind trace_pipe, kprobes and tracepoints (kernel documentation, trace/ftrace).

`helpers.lab` imports it before there are any packages: the standard library only.
"""

import os
from contextlib import suppress
from pathlib import Path

from helpers.language import tr

MOUNT_POINTS = ("sys/kernel/tracing", "sys/kernel/debug/tracing")  # below the root directory; the newer one first


def tracefs(root: Path = Path("/")) -> Path:
    """The directory of the trace files.

    Args:
        root: directory below which /sys is looked for.

    Returns:
        An absolute path below ``root``; the file ``trace_pipe`` is in it.

    Raises:
        FileNotFoundError: tracefs is not mounted.
        PermissionError: this user may not look; only root may.
    """
    for directory in (root / point for point in MOUNT_POINTS):
        with suppress(FileNotFoundError):
            os.stat(directory / "trace_pipe")
            return directory
    raise FileNotFoundError(
        tr("no trace_pipe here; mount tracefs, as root: mount -t tracefs nodev /sys/kernel/tracing")
    )
