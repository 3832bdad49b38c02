"""What `PerfOutput` and `RingBuffer` ask of BCC's tables."""

import contextlib
import ctypes
import io
import os
import platform

MONOTONIC = "CLOCK_MONOTONIC, as bpf_ktime_get_ns() tells it: nanoseconds since boot, time asleep left out"


PERF_EVENT_ARRAY, RINGBUF = 4, 27
_MACRO = {PERF_EVENT_ARRAY: "BPF_PERF_OUTPUT", RINGBUF: "BPF_RINGBUF_OUTPUT"}


def check_processor():
    """NotImplementedError on a processor whose readers of a mapped ring would need memory barriers: any but x86-64."""
    if (here := platform.machine()) != "x86_64":
        raise NotImplementedError(
            f"PerfOutput and RingBuffer read the kernel's memory as only x86-64 allows it, and this is {here}. "
            "The lab's virtual machine is x86-64 everywhere; in a terminal:  EBPF_LAB=vm make lab"
        )


def check_kind(table, kind):
    """TypeError unless a table is of the map type (a number of <linux/bpf.h>) that a collector reads.

    NotImplementedError where none can be read, ValueError when its BPF object was cleaned up.
    """
    check_processor()
    if getattr(table, "ttype", None) != kind:
        found = _MACRO.get(getattr(table, "ttype", None), type(table).__name__)
        raise TypeError(f'this reads a {_MACRO[kind]} table, as bpf["events"] gives it, and not a {found}')
    check_open(table.bpf)


def check_pages(pages):
    """``pages`` itself, when the kernel would take it; else ValueError."""
    if not isinstance(pages, int) or pages < 1 or pages & (pages - 1):
        raise ValueError(f"pages is a power of two (1, 2, 4, 8, …), not {pages!r}")
    return pages


def is_gone(bpf):
    """Whether a BPF object was cleaned up."""
    return bpf.module is None


def check_open(bpf):
    """ValueError when a BPF object was cleaned up."""
    if is_gone(bpf):
        raise ValueError("the BPF object of this table was cleaned up: run the cell that makes it again")


_BEING_READ = set()


@contextlib.contextmanager
def only_reader(bpf, name):
    """Be the only collection that reads a table of a BPF object. ValueError when there is one, or the object is gone."""
    check_open(bpf)
    key = id(bpf), name
    if key in _BEING_READ:
        raise ValueError(f"another collection reads {name}, and there can be one at a time: end that one first")
    _BEING_READ.add(key)
    try:
        yield
    finally:
        _BEING_READ.remove(key)


def table_name(table):
    """The name that a table has in the C program (str)."""
    name = next(name for name, known in table.bpf.tables.items() if known is table)
    return name.decode() if isinstance(name, bytes) else name


def event_class(table):
    """The ctypes class that BCC made from the C struct which the program submits to a table.

    TypeError when it could not: the message names the field, and shows how to declare the struct by hand.
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
        f"BCC cannot describe the field {' or '.join(named)!r} of type {kind!r}. Give it a plain type in the C struct, "
        f"such as u32, or declare the struct by hand and pass it:\n\n"
        "    class Event(ctypes.Structure):\n"
        f'        _fields_ = [..., ("{named[0] if named else "field"}", ctypes.c_uint32), ...]\n\n'
        f'    {"RingBuffer" if table.ttype == RINGBUF else "PerfOutput"}(bpf["{name}"], event=Event)'
    )


class Counter:
    """A count that a BPF program keeps in the first entry of a BPF_ARRAY or BPF_PERCPU_ARRAY of u64.

    It is read inside a ``with`` block, which keeps the table even when the BPF object is cleaned up.
    """

    def __init__(self, table):
        self._table_fd = table.map_fd
        self._begin = 0

    @classmethod
    def named(cls, name, bpf):
        """The counter in the table of that name; None when the program has no such table."""
        try:
            return cls(bpf[name])
        except KeyError:
            return None

    def __enter__(self):
        self._fd = os.dup(self._table_fd)
        return self

    def __exit__(self, *error):
        os.close(self._fd)

    def restart(self):
        """Count from now."""
        self._begin += self.value()

    def value(self):
        """What was counted since the last restart (int), on all CPUs."""
        from bcc.libbcc import lib
        from bcc.utils import get_possible_cpus

        counts = (ctypes.c_uint64 * len(get_possible_cpus()))()
        if lib.bpf_lookup_elem(self._fd, ctypes.byref(ctypes.c_int(0)), ctypes.byref(counts)):
            raise OSError(ctypes.get_errno(), "the counter of lost events cannot be read")
        return sum(counts) - self._begin
