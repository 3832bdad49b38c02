"""BPF_PERF_OUTPUT tables to DataFrames.

A BPF program's ``events.perf_submit()`` writes to the ring of the CPU it runs on. This module makes those rings
itself instead of calling ``open_perf_buffer()``, for one reason: BCC wakes the reader and calls a Python function for
every event, while here the reader sleeps until a quarter of a ring is full and takes all of it at once.

What it rests on: perf_event_open(2), sections "MMAP layout" and "Reading results".
"""

import ctypes
import errno
import mmap
import os
import select
import struct
import time
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray

from helpers.collect.bcc_internals import (
    PERF_EVENT_ARRAY,
    PerfEventArray,
    Table,
    check_table,
    event_class,
    is_gone,
    online_cpus,
    only_reader,
    table_name,
)
from helpers.collect.clocks import BPF_CLOCK
from helpers.collect.collection import Collector, FileDescriptor
from helpers.collect.columns import Columns, Numbers
from helpers.collect.records import check_processor, dtype_of, perf_records, unroll
from helpers.language import tr

# From <linux/perf_event.h>; the bits of the attribute's flags are counted from `disabled`.
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT, PERF_SAMPLE_RAW = 1, 10, 1 << 10
PERF_FORMAT_TOTAL_TIME_RUNNING, PERF_FORMAT_LOST = 1 << 1, 1 << 4
WATERMARK, PERF_FLAG_FD_CLOEXEC = 1 << 14, 8
DATA_HEAD, DATA_TAIL = 1024, 1032
PERF_EVENT_OPEN = 298  # its number on x86-64

POLL_TIMEOUT_MS, LOOK_FOR_CPUS_SECONDS = 50, 1


class PerfOutput(Collector):
    """Collect the events of a ``BPF_PERF_OUTPUT`` table.

    >>> with PerfOutput(bpf["events"]) as events:
    ...     run_sync(times=5)
    >>> events.to_dataframe()

    The frame has the struct's fields, and ``cpu`` (int16: whose ring an event was in) unless the struct has a field of
    that name. Rows are as they were read: each CPU's events in order, one CPU after the other.

    ``lost`` is the kernel's own count of events that found no room (PERF_FORMAT_LOST, kernel 6.0 and newer).

    Attributes:
        dtype: structured dtype of the events' bytes.

    Args:
        table: ``bpf["name"]`` of the table.
        pages: size of each CPU's ring, in memory pages (mostly of 4096 bytes); a power of two.
        event: ctypes.Structure of the events, where BCC cannot describe the struct by itself.

    Raises:
        ValueError: ``pages``, or the BPF object was cleaned up.
        TypeError: another kind of table, or the struct has a field that cannot be a column.
        OSError: from perf_event_open(2) when a collection begins, above all PermissionError if you are not root.
        NotImplementedError: on any processor but x86-64.
    """

    def __init__(self, table: Table, pages: int = 64, event: type[Any] | None = None) -> None:
        check_processor()
        check_table(table, PERF_EVENT_ARRAY)
        if not isinstance(pages, int) or pages < 1 or pages & (pages - 1):
            raise ValueError(tr("pages is a power of two (1, 2, 4, 8, …), not {pages!r}", pages=pages))
        self.dtype = dtype_of(event or event_class(table))
        super().__init__(partial(PerfRings, table, table_name(table), pages, self.dtype))


class PerfRings:
    """The channel of a `PerfOutput`: a ring for each CPU that is online, looked up again each second.

    Args:
        table: the BPF_PERF_OUTPUT table.
        name: its name.
        pages: size of each ring, in memory pages.
        dtype: structured dtype of the events.
    """

    clock = BPF_CLOCK
    advice = tr("fire fewer, or give each CPU's ring more room with pages=…")

    def __init__(self, table: Table, name: str, pages: int, dtype: "np.dtype[Any]") -> None:
        self._bpf, self._map, self._pages, self._dtype = table.bpf, PerfEventArray(table), pages, dtype
        self._rings: dict[int, PerfRing] = {}
        self._lost_with_closed_rings = 0
        self._a_cpu_came_late = False
        self.name = "perf buffer " + name
        self.event_size = dtype.itemsize
        self._add_cpu = "cpu" not in (dtype.names or ())
        self.columns = Columns.of(dtype, **{"cpu": Numbers("int16")} if self._add_cpu else {})
        self.lost: int | None = 0
        self.misfits: dict[int, int] = {}

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            closing.enter_context(only_reader(self._bpf, self.name))
            closing.enter_context(self._map)
            closing.callback(self._close_all)
            self._follow_cpus()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def _follow_cpus(self) -> list[int]:
        """Return the CPUs that came online, with a ring opened for each; and close those of CPUs that went offline.

        A perf event dies with its CPU.

        Raises:
            OSError: a ring cannot be opened.
        """
        online = online_cpus()
        for cpu in [cpu for cpu, ring in self._rings.items() if cpu not in online or not ring.is_alive()]:
            self._consume(cpu)
            self._close(cpu)
        came = [cpu for cpu in online if cpu not in self._rings]
        for cpu in came:
            try:
                ring = self._rings[cpu] = PerfRing(cpu, self._pages)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    continue
                raise
            self._map.put(cpu, ring.fd)
        self._poll = select.poll()
        for ring in self._rings.values():
            self._poll.register(ring.fd, select.POLLIN)
        self._next_look = time.monotonic() + LOOK_FOR_CPUS_SECONDS
        return came

    def _follow_late_cpus(self) -> None:
        if late := self._follow_cpus():
            self._a_cpu_came_late = True
            self.advice = tr(
                "CPU {cpu} came online during the collection, and had no ring for up to a second", cpu=min(late)
            )

    def _close_all(self) -> None:
        for cpu in list(self._rings):
            self._close(cpu)

    def _close(self, cpu: int) -> None:
        ring = self._rings.pop(cpu)
        self._lost_with_closed_rings += ring.lost()
        self._map.give_back(cpu)
        ring.close()

    def is_gone(self) -> bool:
        """Return whether the BPF object was cleaned up."""
        return is_gone(self._bpf)

    def wait(self, stop: FileDescriptor) -> bool:
        """Return whether ``stop`` is readable, or sleep until a quarter of a ring is full; see `Channel`."""
        if time.monotonic() > self._next_look:
            self._follow_late_cpus()
        self._poll.register(stop, select.POLLIN)
        return any(fd == stop for fd, _ in self._poll.poll(POLL_TIMEOUT_MS))

    def consume(self) -> None:
        """See `Channel`."""
        for cpu in self._rings:
            self._consume(cpu)

    def _consume(self, cpu: int) -> None:
        ring = self._rings[cpu]
        found = perf_records(ring.consume(), self._dtype)
        for run in found.runs:
            self.columns.append(run, **{"cpu": np.full(len(run), cpu)} if self._add_cpu else {})
        for size, count in found.misfits.items():
            self.misfits[size] = self.misfits.get(size, 0) + count
        ring.reported_lost += found.lost
        self.lost = (self.lost or 0) + found.lost

    def finish(self) -> None:
        """See `Channel`."""
        self.consume()
        self._follow_late_cpus()
        lost = self._lost_with_closed_rings + sum(ring.lost() for ring in self._rings.values())
        self.lost = None if self._a_cpu_came_late else lost


class PerfRing:
    """The ring of one CPU: opened, mapped, and read from ``data_tail`` to ``data_head``.

    Attributes:
        fd: its file descriptor, of perf_event_open(2).
        reported_lost: number of lost events, by the LOST records read so far.

    Args:
        cpu: index of the CPU.
        pages: room for records, in memory pages.

    Raises:
        OSError: from perf_event_open(2) or mmap(2).
    """

    def __init__(self, cpu: int, pages: int) -> None:
        self.reported_lost = 0
        size = pages * mmap.PAGESIZE
        self.fd = perf_event_open(cpu, size // 4)
        try:
            memory = mmap.mmap(self.fd, mmap.PAGESIZE + size)
        except OSError:
            os.close(self.fd)
            raise
        self._head = ctypes.c_uint64.from_buffer(memory, DATA_HEAD)
        self._tail = ctypes.c_uint64.from_buffer(memory, DATA_TAIL)
        self._data = np.frombuffer(memory, np.uint8, size, mmap.PAGESIZE)

    def consume(self) -> NDArray[np.uint8]:
        """Copy the bytes that have come since the last time, and give the room back to the kernel.

        Returns:
            uint8 array of whole records.
        """
        head = self._head.value
        data = unroll(self._data, self._tail.value, head)
        self._tail.value = head
        return data

    def lost(self) -> int:
        """Events of this CPU that found no room, by the kernel's count.

        It goes beyond the LOST records: one is written only when there is room again.

        Returns:
            Number of events.
        """
        return max(self.reported_lost, self._counts()[2])

    def is_alive(self) -> bool:
        """Return whether the kernel still writes here: the event's time runs on, and stops for good with its CPU."""
        return self._counts()[1] != self._counts()[1]

    def _counts(self) -> tuple[int, int, int]:
        """Return what read(2) gives: value, time running (ns), lost; zeros when there is nothing more to read."""
        counts = os.read(self.fd, 24)
        value, running_ns, lost = struct.unpack("QQQ", counts) if len(counts) == 24 else (0, 0, 0)
        return value, running_ns, lost

    def close(self) -> None:
        """Close the ring; its pages are unmapped when nothing refers to them any more."""
        del self._head, self._tail, self._data
        os.close(self.fd)


def perf_event_open(cpu: int, watermark: int) -> int:
    """A perf event, to which BPF programs submit on one CPU.

    Args:
        cpu: index of the CPU.
        watermark: its reader wakes up when this number of bytes is there.

    Returns:
        A file descriptor.

    Raises:
        OSError: the kernel refused, above all PermissionError.
    """
    read_format = PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_LOST
    attributes = struct.pack("II", PERF_TYPE_SOFTWARE, 64)  # type, size of these attributes
    attributes += struct.pack("QQQQ", PERF_COUNT_SW_BPF_OUTPUT, 1, PERF_SAMPLE_RAW, read_format)
    attributes += struct.pack("QIIQ", WATERMARK, watermark, 0, 0)
    libc = ctypes.CDLL(None, use_errno=True)
    any_process, no_group = -1, -1
    fd: int = libc.syscall(PERF_EVENT_OPEN, attributes, any_process, cpu, no_group, PERF_FLAG_FD_CLOEXEC)
    if fd < 0:
        error = ctypes.get_errno()
        reason = {"cpu": cpu, "error": os.strerror(error)}
        raise OSError(
            error, tr("perf_event_open on CPU {cpu}: {error} (it needs root and Linux 6.0 or newer)", **reason)
        )
    return fd
