"""What `PerfOutput` and `RingBuffer` ask of BCC's tables."""

import contextlib
import ctypes
import io

MONOTONIC = "CLOCK_MONOTONIC, as bpf_ktime_get_ns() tells it: nanoseconds since boot, time asleep left out"


def check_pages(pages):
    """``pages`` itself, when the kernel would take it; else ValueError."""
    if not isinstance(pages, int) or pages < 1 or pages & (pages - 1):
        raise ValueError(f"pages is a power of two (1, 2, 4, 8, …), not {pages!r}")
    return pages


def is_gone(bpf):
    """Whether a BPF object was cleaned up."""
    return bpf.module is None


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
        f"        _fields_ = [..., (\"{named[0] if named else 'field'}\", ctypes.c_uint32), ...]\n\n"
        f"    PerfOutput(bpf[\"{name}\"], event=Event)"
    )
