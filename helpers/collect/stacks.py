"""Stack ids to names: `fold_stacks` makes of them a frame of folded stacks, which flame graphs are drawn from.

A BPF program notes where something happened by `stacks.get_stackid(ctx, flags)`: a number, by which the table `stacks`
(BPF_STACK_TRACE) has the addresses. The kernel's names for addresses are known at any time, those of a process only
while it lives: its libraries lie where they lie in this one process. So fold before it ends.
"""

import errno
from pathlib import Path
from typing import Any

import pandas as pd

from helpers.collect.bcc_internals import check_stack_table, stack_addresses, symbol
from helpers.language import tr

DEEPEST = 127  # PERF_MAX_STACK_DEPTH in <linux/perf_event.h>
KERNEL, USER = "kernel", "user"
MARK = "_[k]"  # behind the kernel's functions, as FlameGraph's own tools write them


def fold_stacks(
    df: pd.DataFrame,
    table: Any,
    column: str = "count",
    *,
    kernel: str | None = "kernel_stack",
    user: str | None = "user_stack",
    pid: str = "pid",
    root: str | None = None,
) -> pd.DataFrame:
    """Return folded stacks: one line of text for each, and what was spent there.

    >>> fold_stacks(df, bpf["stacks"], "off_ns")
                                                    stack   off_ns
    0  [unknown in libc.so.6];entry_SYSCALL_64_after_hwframe_[k];do_syscall_64_[k];…  2088330905

    The outermost function comes first, a semicolon between two; `_[k]` marks the kernel's functions. What has no name
    is named as such, in brackets: `[unknown in libc.so.6]` is an address in a file that has no name for it, `[unknown]`
    one in no file, `[process has ended]` one of a process that is no more, `[deeper]` what is called from outside the
    127 innermost. A stack that the kernel could not give is named by its error: `[user stack: EEXIST]`. Where only the
    kernel's is missing, by EFAULT, the process was outside the kernel, and nothing is put in its place.

    It rests on bpf_get_stackid() of bpf-helpers(7) and on proc_pid_maps(5).

    Args:
        df: a row for each place or event.
        table: what `bpf["stacks"]` gives, of a BPF_STACK_TRACE.
        column: what to add up for each stack: a number of events, or times.
        kernel: the column of the kernel's stack ids; None when the program asked for none.
        user: the column of ids from BPF_F_USER_STACK; None when the program asked for none.
        pid: the column of process ids (what user space calls PID), by which users' functions are found.
        root: a column whose values become the outermost frame, such as "comm".

    Returns:
        A row for each distinct stack, largest first: `stack` (str) and the column (its sum, of its dtype). In
        `attrs["missing"]` stands how much of the sum has no stack, by which and why, such as "user EFAULT".

    Raises:
        KeyError: the frame has no such column.
        TypeError: the table is none of stacks.
        ValueError: its BPF object was cleaned up; or there is no column of stack ids.
    """
    check_stack_table(table)
    kinds = {kind: name for kind, name in ((KERNEL, kernel), (USER, user)) if name is not None}
    if not kinds:
        raise ValueError(tr("no column of stack ids: give kernel= or user="))
    needed = [*kinds.values(), *([pid] if user is not None else []), *([root] if root is not None else [])]
    for name in (*needed, column):
        if name not in df:
            raise KeyError(tr("no column {name!r} here, only {columns}", name=name, columns=list(df.columns)))
    places = df.groupby(needed, observed=True, sort=False, dropna=False)[column].sum().reset_index()
    if user is not None:
        # One process after the other, as BCC keeps only so many in mind.
        places = places.sort_values(pid, ignore_index=True)
    name_of = _Names(table)
    stacks, missing = [], dict[str, int]()
    for place in places.to_dict("records"):
        frames = [] if root is None else [str(place[root])]
        # An error is below 0, also where the program keeps it in an unsigned field.
        ids = {kind: (int(place[name]) + 2**31) % 2**32 - 2**31 for kind, name in kinds.items()}
        for kind in (USER, KERNEL):  # the user's functions are outside, the kernel's inside
            if kind not in ids:
                continue
            if ids[kind] < 0:
                why = errno.errorcode.get(-ids[kind], str(ids[kind]))
                missing[f"{kind} {why}"] = missing.get(f"{kind} {why}", 0) + place[column]
                if kind == USER or why != "EFAULT" or ids.get(USER, -1) < 0:
                    frames.append(f"[{kind} stack: {why}]")
            else:
                frames += name_of.frames(kind, ids[kind], int(place[pid]) if kind == USER else -1)
        stacks.append(";".join(frames))
    folded = pd.DataFrame({"stack": pd.array(stacks, dtype="str"), column: places[column]})
    folded = folded.groupby("stack", sort=True)[column].sum().reset_index()
    folded = folded.sort_values(column, ascending=False, kind="stable", ignore_index=True)
    folded.attrs = {**df.attrs, "missing": missing}
    return folded


def is_running(pid: int) -> bool:
    """Return whether a process is there.

    Args:
        pid: its PID.
    """
    return Path(f"/proc/{pid}").exists()


class _Names:
    """The frames of the stacks in a table; each address is looked up once."""

    def __init__(self, table: Any) -> None:
        self._table = table
        self._stacks: dict[tuple[int, int], list[str]] = {}
        self._symbols: dict[tuple[int, int], str] = {}

    def frames(self, kind: str, stack_id: int, pid: int) -> list[str]:
        key = stack_id, pid
        if key not in self._stacks:
            try:
                addresses = stack_addresses(self._table, stack_id)
            except KeyError:
                self._stacks[key] = [f"[{kind} stack: deleted]"]
            else:
                deeper = ["[deeper]"] if len(addresses) == DEEPEST else []
                self._stacks[key] = deeper + [self._name(kind, address, pid) for address in reversed(addresses)]
        return self._stacks[key]

    def _name(self, kind: str, address: int, pid: int) -> str:
        key = address, pid
        if key not in self._symbols:
            name, file = symbol(address, pid)
            if name is not None:
                name = name.replace(";", ":") + (MARK if kind == KERNEL else "")
            elif file is not None:
                name = f"[unknown in {file}]"
            else:
                name = "[unknown]" if kind == KERNEL or is_running(pid) else "[process has ended]"
            self._symbols[key] = name
        return self._symbols[key]
