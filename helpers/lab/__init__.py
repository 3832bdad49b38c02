"""Where a notebook's Python runs: this machine, or a small virtual machine with a stock Debian kernel.

Jupyter starts :mod:`helpers.lab.kernel`, which asks :mod:`helpers.lab.choose` for the mode. The virtual machine is made
in three steps, each kept in the user's cache directory under a hash of what it was made from:

    image.py      Debian packages and locked Python packages -> a disk image, a kernel, an initrd
    template.py   image -> booted once, Python warm, frozen: a file with the guest's memory and one with its devices
    vm.py         template -> thawed in a fraction of a second, once for each notebook

``guest.py`` is the only file that runs inside. Nothing here knows of events or BPF.
"""


class LabError(Exception):
    """What is wrong in one sentence, and what to do about it in another."""

    def __init__(self, problem: str, remedy: str) -> None:
        super().__init__(f"{problem} {remedy}")
