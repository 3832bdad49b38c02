"""Which functions of the kernel a kprobe can be put on, looked for by name.

    >>> kernel_functions("vfs_open*")
    ['vfs_open']

The kernel refuses a kprobe on a function that it cannot trace (such as `static inline` ones that were not inlined),
on one that is on a list of its own, and by a name that several have. BPF.get_kprobe_functions(), by which `event_re=`
goes, takes each of the kernel's 180,000 symbols to pieces in Python, gives names that several have, and of a function's
two names only the one that the kernel lists. Here only those lines are looked at that have the longest part of the
pattern in them.
"""

import re
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

from helpers.collect.tracefs import tracefs
from helpers.language import tr

SYMBOLS = Path("/proc/kallsyms")
BLACKLIST = Path("/sys/kernel/debug/kprobes/blacklist")
_CODE = (b"t", b"T", b"w", b"W")  # kinds of symbols, nm(1)
_AROUND = 500  # bytes: a few lines of /proc/kallsyms, which is sorted by address


def kernel_functions(pattern: str) -> list[str]:
    """The functions that a kprobe can be put on and whose names match a pattern, modules' functions among them.

    It rests on available_filter_functions (kernel documentation, trace/ftrace), /proc/kallsyms, proc_kallsyms(5), and
    where debugfs is mounted on kprobes/blacklist (kernel documentation, trace/kprobes).

    Args:
        pattern: a name, in which `*` stands for any characters and `?` for one, as in a shell.

    Returns:
        The names in alphabetical order, each a str as attach_kprobe(event=…) takes it; none when no function matches.

    Raises:
        FileNotFoundError: tracefs is not mounted, or the kernel keeps no list of its functions.
        PermissionError: only root may read the lists.
    """
    try:
        traceable = (tracefs() / "available_filter_functions").read_bytes()
    except FileNotFoundError as error:
        if not error.filename:
            raise  # no tracefs, and what to do about it
        raise FileNotFoundError(
            tr("this kernel keeps no list of the functions that can be probed (CONFIG_DYNAMIC_FTRACE): try the name")
        ) from None
    try:
        refused = BLACKLIST.read_bytes()
    except FileNotFoundError:
        refused = b""
    return probeable(pattern, traceable, refused, SYMBOLS.read_bytes())


def probeable(pattern: str, traceable: bytes, refused: bytes, symbols: bytes) -> list[str]:
    """The names that match a pattern in the kernel's three lists, which are given as their whole text.

    Args:
        pattern: as for `kernel_functions`.
        traceable: lines "name" or "name [module]" of available_filter_functions.
        refused: lines "begin-end", a tab, "name" of kprobes/blacklist.
        symbols: lines "address kind name" of /proc/kallsyms, with a tab and "[module]" behind a module's.

    Returns:
        Names, in alphabetical order, that are once in `symbols`, not in `refused`, and in `traceable` themselves or by
        another name for the same address.
    """
    matches = re.compile(re.escape(pattern.encode()).replace(rb"\*", rb".*").replace(rb"\?", rb".")).fullmatch
    longest = max(re.split(r"[*?]", pattern), key=len).encode()
    listed, unwanted = set(traceable.split()), set(refused.split())
    found, times = set(), Counter[bytes]()
    for start, line in _lines_with(longest, symbols):
        address, kind, name = line.split()[:3]
        if not matches(name):
            continue
        times[name] += 1
        if kind in _CODE and name not in unwanted:
            # sync(2) is listed as __ia32_sys_sync, and that is another name of __x64_sys_sync. Hidden addresses are 0.
            around = (
                symbols[max(0, start - _AROUND) : start + _AROUND] if name not in listed and int(address, 16) else b""
            )
            same = {b"".join(other.split()[2:3]) for other in around.splitlines() if other.startswith(address)}
            if not listed.isdisjoint({name} | same):
                found.add(name)
    return sorted(name.decode() for name in found if times[name] == 1)


def _lines_with(part: bytes, text: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines that have a part in them.

    Yields:
        The offset of a line's first byte, and the line.
    """
    at = text.find(part)
    while 0 <= at < len(text):
        start, end = text.rfind(b"\n", 0, at) + 1, text.find(b"\n", at)
        yield start, text[start:end]
        at = text.find(part, end + 1)
