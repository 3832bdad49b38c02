"""Host or virtual machine: the choice, and its override EBPF_LAB."""

import os
from collections.abc import Collection

from helpers.lab import machine

from . import LabError


def mode(soon: Collection[str] = ()) -> str:
    """Return "host" or "vm": $EBPF_LAB, or the host where this process can trace with kernel probes there.

    Args:
        soon: Checks of helpers.lab.machine, by name, whose "no" does not count: it is about to become a "yes".

    Raises:
        LabError: EBPF_LAB asks for the host and something is missing on it, or asks for something else.
    """
    wanted = os.environ.get("EBPF_LAB", "")
    if wanted not in ("", "host", "vm"):
        raise LabError(f"EBPF_LAB is {wanted!r}.", "Set it to host or vm, or leave it unset.")
    if wanted == "vm":
        return "vm"
    missing = [check for check in machine.missing_for_kprobes() if check.name not in soon]
    if wanted == "host" and missing:
        first = missing[0]
        raise LabError(f"Host mode cannot trace here: {first.name}: {first.found}.", f"What to do: {first.fix}")
    return "vm" if missing else "host"
