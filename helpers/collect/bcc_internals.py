"""What is asked of BCC beyond its documented interface: no other module looks inside a BPF object or its tables."""

import atexit
import contextlib
import ctypes
import errno
import functools
import gc
import io
import os
import struct
import sys
from collections.abc import Iterator
from typing import Any, NamedTuple, Self, TypeAlias

from helpers.language import tr

BPF: TypeAlias = Any  # BCC has no types: a bcc.BPF,
Table: TypeAlias = Any  # and what bpf["name"] gives

# Map types: enum bpf_map_type in <linux/bpf.h>.
HASH, ARRAY, PERF_EVENT_ARRAY, PERCPU_HASH, PERCPU_ARRAY, RINGBUF = 1, 2, 4, 5, 6, 27
LRU_HASH, LRU_PERCPU_HASH, LPM_TRIE = 9, 10, 11
PER_CPU_MAPS = {PERCPU_HASH, PERCPU_ARRAY, LRU_PERCPU_HASH}
MAPS = {HASH, ARRAY, LRU_HASH, LPM_TRIE} | PER_CPU_MAPS
_MACRO = {PERF_EVENT_ARRAY: "BPF_PERF_OUTPUT", RINGBUF: "BPF_RINGBUF_OUTPUT"}


def detach_all() -> int:
    """Detach every BPF program that this Python process has attached: the end of "I ran the cell twice".

    >>> detach_all()
    >>> bpf = BPF(text=program)          # now the only one: one sync, one event

    BCC keeps each ``BPF`` object until Python exits, even when its variable has a new value, so a program attached by
    an earlier run of a cell goes on firing beside the new one. Put this line before ``BPF(...)`` and the cell can be
    run as often as you like. Maps and tables of the old objects are gone afterwards; frames made from them stay.

    Returns:
        Number of BPF objects that were cleaned up.
    """
    if "bcc" not in sys.modules:
        return 0
    kind = sys.modules["bcc"].BPF
    _note_what_bcc_forgets(kind)
    # Not isinstance(): a weak proxy among them would ask what it stood for, which may be gone. And what
    # BPF(text=...) leaves behind has no module.
    alive = [thing for thing in gc.get_objects() if issubclass(type(thing), kind) and getattr(thing, "module", None)]
    for bpf in alive:
        tables = {id(table): table for table in bpf.tables.values()}
        for table, cpu in [key for key in bpf.perf_buffers if key[0] in tables]:
            del tables[table][cpu]  # BCC does it when the table goes, and stumbles when its map has gone before
        for fd in bpf.__dict__.pop(FORGOTTEN, []):
            os.close(fd)
        bpf.cleanup()
        atexit.unregister(bpf.cleanup)
    return len(alive)


FORGOTTEN = "forgotten_fds"  # what a BPF object keeps them as, so that they go with it


def _note_what_bcc_forgets(kind: type[Any]) -> None:
    """Keep the file descriptors of programs that the same BPF object attaches a second time.

    BCC keeps one for each place, so it forgets the first one, which then stays attached until Python ends.

    Args:
        kind: the class bcc.BPF, whose methods are changed; once.
    """
    attaching = "attach_tracepoint", "attach_perf_event", "attach_perf_event_raw"
    for method in ("_add_kprobe_fd", "_add_uprobe_fd", *attaching):
        attach = getattr(kind, method, None)
        if attach is None or hasattr(attach, "__wrapped__"):
            continue

        def noting(bpf: BPF, *args: Any, attach: Any = attach, **kwargs: Any) -> Any:
            before = _kept(bpf)
            result = attach(bpf, *args, **kwargs)
            bpf.__dict__.setdefault(FORGOTTEN, set()).update(before - _kept(bpf))
            return result

        setattr(kind, method, functools.update_wrapper(noting, attach))


def _kept(bpf: BPF) -> set[int]:
    """Return the file descriptors that BCC knows of, by place, and there perhaps by function or CPU."""

    def fds(known: Any) -> set[int]:
        return {known} if isinstance(known, int) else set[int]().union(*map(fds, known.values()))

    return set[int]().union(*map(fds, (bpf.kprobe_fds, bpf.uprobe_fds, bpf.tracepoint_fds, bpf.open_perf_events)))


if "bcc" in sys.modules:  # else the first detach_all() does it
    _note_what_bcc_forgets(sys.modules["bcc"].BPF)


def is_gone(bpf: BPF) -> bool:
    """Return whether a BPF object was cleaned up."""
    return bpf.module is None


def check_not_gone(bpf: BPF) -> None:
    """Refuse a BPF object that was cleaned up.

    Raises:
        ValueError: it was.
    """
    if is_gone(bpf):
        raise ValueError(tr("the BPF object of this table was cleaned up: run the cell that makes it again"))


def instructions(bpf: BPF) -> Iterator[tuple[int, int]]:
    """Return opcodes (one byte) and immediate values (32 bits, with a sign) of a program's loaded functions.

    It rests on the kernel's documentation, bpf/standardization/instruction-set.
    """
    return struct.iter_unpack("=B3xi", b"".join(map(bpf.dump_func, bpf.funcs)))


def online_cpus() -> list[int]:
    """Return the numbers of the CPUs that are online."""
    from bcc.utils import get_online_cpus

    return get_online_cpus()  # type: ignore[no-any-return]


# ---- tables


def find_table(bpf: BPF, name: str) -> Table | None:
    """Return the table of that name; None when the program has no such table."""
    try:
        return bpf[name]
    except KeyError:
        return None


def map_type(table: Table) -> int | None:
    """Return the map type of a table, such as `RINGBUF` (a code of <linux/bpf.h>); None when it is no table."""
    return getattr(table, "ttype", None)


def table_name(table: Table) -> str:
    """Return the name that a table has in the C program."""
    name = next(name for name, known in table.bpf.tables.items() if known is table)
    return name.decode() if isinstance(name, bytes) else str(name)


def check_table(table: Table, wanted: int) -> None:
    """Refuse what a collector cannot read.

    Args:
        table: what the learner gave.
        wanted: the map type that the collector reads (a code of <linux/bpf.h>).

    Raises:
        TypeError: it is something else.
        ValueError: its BPF object was cleaned up.
    """
    found = map_type(table)
    if found != wanted:
        names = {"wanted": _MACRO[wanted], "found": _MACRO.get(found or 0, type(table).__name__)}
        raise TypeError(tr('this reads a {wanted} table, as bpf["events"] gives it, and not a {found}', **names))
    check_not_gone(table.bpf)


_BEING_READ: set[tuple[int, str]] = set()


@contextlib.contextmanager
def only_reader(bpf: BPF, name: str) -> Iterator[None]:
    """Be the only collection that reads a table, inside a ``with`` block.

    Args:
        bpf: the table's BPF object.
        name: the channel's name.

    Yields:
        Nothing.

    Raises:
        ValueError: another collection reads it, or the BPF object was cleaned up.
    """
    check_not_gone(bpf)
    key = id(bpf), name
    if key in _BEING_READ:
        raise ValueError(
            tr("another collection reads {name}, and there can be one at a time: end that one first", name=name)
        )
    _BEING_READ.add(key)
    try:
        yield
    finally:
        _BEING_READ.remove(key)


def event_class(table: Table) -> type[Any]:
    """Return the ctypes class that BCC made from the C struct which the program submits to a table.

    Raises:
        TypeError: BCC could not make one; the message names the field, and shows how to declare the struct by hand.
    """
    somewhere = ctypes.create_string_buffer(8)
    said = io.StringIO()
    try:
        with contextlib.redirect_stderr(said):
            return type(table.event(ctypes.addressof(somewhere)))
    except SystemExit:
        # BCC ends the whole program here, and names only the type.
        kind = said.getvalue().partition("'")[2].rpartition("'")[0]
    from bcc.libbcc import lib

    module, name = table.bpf.module, table_name(table)
    count = lib.bpf_perf_event_fields(module, name.encode())
    fields = [lib.bpf_perf_event_field(module, name.encode(), i).decode().split("#") for i in range(count)]
    named = [field for field, field_kind in fields if field_kind == kind]
    raise TypeError(
        tr(
            "BCC cannot describe the field {names!r} of type {kind!r}. Give it a plain type in the C struct, "
            "such as u32, or declare the struct by hand and pass it:",
            names=tr(" or ").join(named),
            kind=kind,
        )
        + "\n\n    class Event(ctypes.Structure):\n"
        f'        _fields_ = [..., ("{named[0] if named else "field"}", ctypes.c_uint32), ...]\n\n'
        f'    {"RingBuffer" if map_type(table) == RINGBUF else "PerfOutput"}(bpf["{name}"], event=Event)'
    )


# ---- maps


class Map:
    """The map of a table, kept inside a ``with`` block even when the BPF object is cleaned up.

    A file descriptor of its own, ``fd``, keeps it, whose number cannot come to mean another file meanwhile.
    """

    def __init__(self, table: Table) -> None:
        self._table_fd = table.map_fd

    def __enter__(self) -> Self:
        self.fd = os.dup(self._table_fd)
        return self

    def __exit__(self, *error: object) -> None:
        os.close(self.fd)


class PerfEventArray(Map):
    """The map of a BPF_PERF_OUTPUT table: a place for each CPU, and in it the perf event whose ring is written."""

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._bpf, self._table_id = table.bpf, id(table)

    def put(self, cpu: int, perf_event_fd: int) -> None:
        """Have what is submitted on a CPU written to a ring.

        Args:
            cpu: index of the CPU.
            perf_event_fd: a file descriptor of perf_event_open(2).

        Raises:
            OSError: the kernel refused it.
        """
        from bcc.libbcc import lib

        key, value = ctypes.c_int(cpu), ctypes.c_int(perf_event_fd)
        if lib.bpf_update_elem(self.fd, ctypes.byref(key), ctypes.byref(value), 0):
            raise OSError(ctypes.get_errno(), tr("no place for a ring of CPU {cpu} in the table's map", cpu=cpu))

    def give_back(self, cpu: int) -> None:
        """Put back what ``open_perf_buffer()`` had opened before: BCC would stumble over an empty place.

        Args:
            cpu: index of the CPU.
        """
        from bcc.libbcc import lib

        lib.bpf_delete_elem(self.fd, ctypes.byref(ctypes.c_int(cpu)))
        if reader := self._bpf.perf_buffers.get((self._table_id, cpu)):
            self.put(cpu, lib.perf_reader_fd(reader))


class Counter(Map):
    """A count that a BPF program keeps in the first entry of a BPF_ARRAY or BPF_PERCPU_ARRAY of u64.

    It is read inside a ``with`` block.
    """

    def __init__(self, table: Table) -> None:
        super().__init__(table)
        self._begin = 0

    def restart(self) -> None:
        """Count from now."""
        self._begin += self.value()

    def value(self) -> int:
        """What was counted since the last restart, on all CPUs.

        Returns:
            A number of events, or of whatever the program counts.

        Raises:
            OSError: the kernel refused to read the map.
        """
        from bcc.libbcc import lib
        from bcc.utils import get_possible_cpus

        counts = (ctypes.c_uint64 * len(get_possible_cpus()))()
        if lib.bpf_lookup_elem(self.fd, ctypes.byref(ctypes.c_int(0)), ctypes.byref(counts)):
            raise OSError(ctypes.get_errno(), tr("the counter of lost events cannot be read"))
        return sum(counts) - self._begin


# ---- maps with keys and values

ENOTSUPP = 524  # the kernel's own "not supported", which is in no header of user space
BATCH = 1 << 16


class MapLayout(NamedTuple):
    """What the map of a table is made of.

    Attributes:
        name: as the C program calls it.
        kind: map type, a code of <linux/bpf.h>.
        fd: its file descriptor, which BCC closes with the BPF object.
        key: ctypes class of a key.
        value: ctypes class of a value, of one CPU.
        cpus: numbers of the CPUs that have a value each; None when there is one value for all.
        max_entries: number of entries that it has room for.
    """

    name: str
    kind: int
    fd: int
    key: type[Any]
    value: type[Any]
    cpus: list[int] | None
    max_entries: int


def map_layout(table: Table) -> MapLayout:
    """Return the layout of a table that has keys and values.

    Raises:
        TypeError: it is no table, or one without keys and values to read.
        ValueError: its BPF object was cleaned up.
    """
    kind = map_type(table)
    if kind not in MAPS:
        raise TypeError(
            tr(
                'this reads a map with keys and values, as bpf["counts"] gives it, not a {kind}',
                kind=type(table).__name__,
            )
        )
    check_not_gone(table.bpf)
    cpus = None
    if kind in PER_CPU_MAPS:
        from bcc.utils import get_possible_cpus

        cpus = list(get_possible_cpus())
    value = table.sLeaf if cpus else table.Leaf  # of these, BCC makes `Leaf` an array, with a place for each CPU
    return MapLayout(table_name(table), kind, table.map_fd, table.Key, value, cpus, table.max_entries)


def map_entries(fd: int, key_size: int, value_size: int, room: int) -> tuple[int, bytearray, bytearray]:
    """Read all entries of a map, by bpf(2) BPF_MAP_LOOKUP_BATCH where the kernel has it for this type of map.

    Args:
        fd: file descriptor of the map.
        key_size: bytes of a key.
        value_size: bytes of a value; where each CPU has one, of all of them, each padded to a multiple of 8.
        room: number of entries that the first batch has room for; it grows as needed.

    Returns:
        Number n of entries, and the bytes of their keys and of their values; what follows the first n is of no meaning.

    Raises:
        OSError: the kernel refused to read the map.
    """
    from bcc.libbcc import lib

    keys, values = bytearray(room * key_size), bytearray(room * value_size)
    # Where the kernel is to go on: a hash's bucket, or the last key.
    place = ctypes.cast(ctypes.create_string_buffer(max(4, key_size)), ctypes.POINTER(ctypes.c_uint32))
    done, begun = 0, False
    while True:
        count = ctypes.c_uint32(room - done)
        into = [
            (ctypes.c_char * 0).from_buffer(part, done * size)
            for part, size in ((keys, key_size), (values, value_size))
        ]
        failed = lib.bpf_lookup_batch(fd, place if begun else None, place, *into, ctypes.byref(count))
        error = ctypes.get_errno() if failed else 0
        if error in (errno.EINVAL, errno.ENOTSUP, ENOTSUPP) and not begun:
            return _entries_one_by_one(fd, key_size, value_size)
        if error not in (0, errno.ENOENT, errno.ENOSPC, errno.EINTR):
            raise OSError(error, tr("the map cannot be read: {why}", why=os.strerror(error)))
        done, begun = done + count.value, begun or count.value > 0
        if error == errno.ENOENT:  # there is no more
            return done, keys, values
        if error == errno.ENOSPC or done == room:  # the next bucket of the hash has more than there is room for
            del into
            keys.extend(bytes(len(keys)))
            values.extend(bytes(len(values)))
            room *= 2


def _entries_one_by_one(fd: int, key_size: int, value_size: int) -> tuple[int, bytearray, bytearray]:
    """Return what `map_entries` returns, by two calls of bpf(2) for each entry."""
    from bcc.libbcc import lib

    key, value = ctypes.create_string_buffer(key_size), ctypes.create_string_buffer(value_size)
    found: dict[bytes, bytes] = {}
    end = lib.bpf_get_first_key(fd, key, key_size)
    while not end and key.raw not in found:  # a key that was deleted meanwhile leads back to the first one
        if lib.bpf_lookup_elem(fd, key, value) == 0:
            found[key.raw] = value.raw
        end = lib.bpf_get_next_key(fd, key, key)
    return len(found), bytearray(b"".join(found)), bytearray(b"".join(found.values()))


# ---- stacks

STACK_TRACE = 7  # enum bpf_map_type in <linux/bpf.h>


def check_stack_table(table: Table) -> None:
    """Refuse what is no table of stacks.

    Raises:
        TypeError: it is something else.
        ValueError: its BPF object was cleaned up.
    """
    if map_type(table) != STACK_TRACE:
        raise TypeError(
            tr('this reads a BPF_STACK_TRACE table, as bpf["stacks"] gives it, not a {kind}', kind=type(table).__name__)
        )
    check_not_gone(table.bpf)


def stack_addresses(table: Table, stack_id: int) -> list[int]:
    """Return the addresses of a stack, innermost first.

    Args:
        table: a BPF_STACK_TRACE.
        stack_id: what bpf_get_stackid() returned (an id, 0 or above); bpf-helpers(7).

    Raises:
        KeyError: the table has no such stack.
    """
    return list(table.walk(stack_id))


MOST_FILES = 512  # half of what a process may open by default, and of what select(2) can wait for


def symbol(address: int, pid: int) -> tuple[str | None, str | None]:
    """Return the name of the function at an address, and of the file it is in; None for what is not known.

    BCC reads a process's map of addresses when it is first asked about it, and keeps what it read, with each of the
    process's libraries open. It forgets those asked about first once this process has more than 512 files open.

    Args:
        address: offset in the address space of the process, or in the kernel's.
        pid: PID of the process; -1 for the kernel.
    """
    from bcc import BPF

    if pid >= 0 and pid not in BPF._sym_caches:
        _forget_processes(BPF._sym_caches)
    text = BPF.sym(address, pid, show_module=True, demangle=pid >= 0).decode(errors="backslashreplace")
    name, has_file, file = text.rpartition(" [")
    if not has_file:
        name, file = text, ""
    return (None if name == "[unknown]" else name), file.removesuffix("]") or None


def _forget_processes(known: dict[int, Any]) -> None:
    """Close what BCC keeps of processes, by PID, from the first on, while too many files are open."""
    from bcc.libbcc import lib

    for pid in [pid for pid in known if pid >= 0]:
        if len(os.listdir("/proc/self/fd")) <= MOST_FILES:
            break
        lib.bcc_free_symcache(known.pop(pid).cache, pid)
