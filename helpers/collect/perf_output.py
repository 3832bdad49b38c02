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

import numpy as np

from helpers.collect.collection import Collector
from helpers.collect.columns import Columns, Numbers
from helpers.collect.records import dtype_of, perf_records, unroll
from helpers.collect.bcc_internals import (
    MONOTONIC,
    PERF_EVENT_ARRAY,
    check_kind,
    check_pages,
    event_class,
    is_gone,
    only_reader,
    table_name,
)

# From <linux/perf_event.h>; the bits of the attribute's flags are counted from `disabled`.
PERF_TYPE_SOFTWARE, PERF_COUNT_SW_BPF_OUTPUT, PERF_SAMPLE_RAW = 1, 10, 1 << 10
PERF_FORMAT_TOTAL_TIME_RUNNING, PERF_FORMAT_LOST = 1 << 1, 1 << 4
WATERMARK, PERF_FLAG_FD_CLOEXEC = 1 << 14, 8
DATA_HEAD, DATA_TAIL = 1024, 1032
PERF_EVENT_OPEN = 298  # its number on x86-64

ATTENTION_MS, LOOK_FOR_CPUS_SECONDS = 50, 1


class PerfOutput(Collector):
    """Collect the events of a ``BPF_PERF_OUTPUT`` table.

    >>> with PerfOutput(bpf["events"]) as events:
    ...     run_sync(times=5)
    >>> events.to_dataframe()

    pages: size of each CPU's ring, in memory pages (mostly of 4096 bytes); a power of two.
    event: ctypes.Structure of the events, where BCC cannot describe the struct by itself.

    The frame has the struct's fields, and ``cpu`` (int16: whose ring an event was in) unless the struct has a field of
    that name. Rows are as they were read: each CPU's events in order, one CPU after the other.

    ``lost`` is the kernel's own count of events that found no room (PERF_FORMAT_LOST, kernel 6.0 and newer).
    Raises ValueError for ``pages``; TypeError if the struct has a field that cannot be a column; OSError from
    perf_event_open(2), above all PermissionError if you are not root; NotImplementedError on any processor but x86-64.
    """

    def __init__(self, table, pages=64, event=None):
        super().__init__()
        check_kind(table, PERF_EVENT_ARRAY)
        self.pages = check_pages(pages)
        self.table = table
        self.name = table_name(table)
        self.dtype = dtype_of(event or event_class(table))

    def _channel(self):
        return PerfRings(self.table, self.name, self.pages, self.dtype)


class PerfRings:
    """The channel of a `PerfOutput`: a ring for each CPU that is online, looked up again each second."""

    clock = MONOTONIC
    advice = "fire fewer, or give each CPU's ring more room with pages=…"

    def __init__(self, table, name, pages, dtype):
        self._bpf, self._pages, self._dtype = table.bpf, pages, dtype
        self._table_id, self._table_fd = id(table), table.map_fd
        self._rings = {}
        self._lost_with_closed_rings = 0
        self._late = False
        self.name = "perf buffer " + name
        self.event_size = dtype.itemsize
        self._add_cpu = "cpu" not in dtype.names
        self.table = Columns.of(dtype, **{"cpu": Numbers("int16")} if self._add_cpu else {})
        self.lost, self.odd = 0, {}

    def __enter__(self):
        with ExitStack() as closing:
            closing.enter_context(only_reader(self._bpf, self.name))
            # A file descriptor of our own keeps the map, so that its number cannot come to mean another file meanwhile.
            self._table_fd = os.dup(self._table_fd)
            closing.callback(os.close, self._table_fd)
            closing.callback(self._close_all)
            self._follow_cpus()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error):
        self._closing.close()

    def _follow_cpus(self):
        """A perf event dies with its CPU: close the rings of CPUs that went offline, open one for each that came online.

        Returns the CPUs that came.
        """
        from bcc.libbcc import lib
        from bcc.utils import get_online_cpus

        online = get_online_cpus()
        for cpu in [cpu for cpu, ring in self._rings.items() if cpu not in online or not ring.alive()]:
            self._take(cpu)
            self._close(cpu)
        came = [cpu for cpu in online if cpu not in self._rings]
        for cpu in came:
            try:
                ring = self._rings[cpu] = PerfRing(cpu, self._pages)
            except OSError as error:
                if error.errno == errno.ENODEV:
                    continue
                raise
            if lib.bpf_update_elem(
                self._table_fd, ctypes.byref(ctypes.c_int(cpu)), ctypes.byref(ctypes.c_int(ring.fd)), 0
            ):
                raise OSError(ctypes.get_errno(), f"no entry for CPU {cpu} in {self.name}")
        self._poll = select.poll()
        for ring in self._rings.values():
            self._poll.register(ring.fd, select.POLLIN)
        self._next_look = time.monotonic() + LOOK_FOR_CPUS_SECONDS
        return came

    def _follow_late_cpus(self):
        if late := self._follow_cpus():
            self._late = True
            self.advice = f"CPU {min(late)} came online during the collection, and had no ring for up to a second"

    def _close_all(self):
        for cpu in list(self._rings):
            self._close(cpu)

    def _close(self, cpu):
        from bcc.libbcc import lib

        ring = self._rings.pop(cpu)
        self._lost_with_closed_rings += ring.lost()
        lib.bpf_delete_elem(self._table_fd, ctypes.byref(ctypes.c_int(cpu)))
        ring.close()
        # What open_perf_buffer() had opened before gets its place back; BCC would stumble over the empty one.
        bccs = self._bpf.perf_buffers.get((self._table_id, cpu))
        if bccs:
            fd = ctypes.c_int(lib.perf_reader_fd(bccs))
            lib.bpf_update_elem(self._table_fd, ctypes.byref(ctypes.c_int(cpu)), ctypes.byref(fd), 0)

    def gone(self):
        return is_gone(self._bpf)

    def wait(self, stop):
        if time.monotonic() > self._next_look:
            self._follow_late_cpus()
        self._poll.register(stop, select.POLLIN)
        return any(fd == stop for fd, _ in self._poll.poll(ATTENTION_MS))

    def drain(self):
        for cpu in self._rings:
            self._take(cpu)

    def _take(self, cpu):
        ring = self._rings[cpu]
        found = perf_records(ring.take(), self._dtype)
        for run in found.runs:
            self.table.append(run, **{"cpu": np.full(len(run), cpu)} if self._add_cpu else {})
        for size, count in found.odd.items():
            self.odd[size] = self.odd.get(size, 0) + count
        ring.told_lost += found.lost
        self.lost += found.lost

    def finish(self):
        self.drain()
        self._follow_late_cpus()
        lost = self._lost_with_closed_rings + sum(ring.lost() for ring in self._rings.values())
        self.lost = None if self._late else lost


class PerfRing:
    """The ring of one CPU: opened, mapped, and read from ``data_tail`` to ``data_head``."""

    def __init__(self, cpu, page_count):
        self.told_lost = 0
        size = page_count * mmap.PAGESIZE
        self.fd = perf_event_open(cpu, size // 4)
        try:
            pages = mmap.mmap(self.fd, mmap.PAGESIZE + size)
        except OSError:
            os.close(self.fd)
            raise
        self._head = ctypes.c_uint64.from_buffer(pages, DATA_HEAD)
        self._tail = ctypes.c_uint64.from_buffer(pages, DATA_TAIL)
        self._data = np.frombuffer(pages, np.uint8, size, mmap.PAGESIZE)

    def take(self):
        """Copy what has come since the last time (uint8 array), and give the room back to the kernel."""
        head = self._head.value
        data = unroll(self._data, self._tail.value, head)
        self._tail.value = head
        return data

    def lost(self):
        """Events of this CPU that found no room, by the kernel's count.

        It goes beyond the LOST records: one is written only when there is room again.
        """
        return max(self.told_lost, self._counts()[2])

    def alive(self):
        """Whether the kernel still writes here: the event's time runs on, until its CPU goes offline (and for good)."""
        return self._counts()[1] != self._counts()[1]

    def _counts(self):
        """What read(2) returns: value, time running (ns), lost; zeros when there is nothing more to read."""
        counts = os.read(self.fd, 24)
        return struct.unpack("QQQ", counts) if len(counts) == 24 else (0, 0, 0)

    def close(self):
        # The pages are unmapped when nothing refers to them any more.
        self._head = self._tail = self._data = None
        os.close(self.fd)


def perf_event_open(cpu, watermark):
    """A file descriptor for what BPF programs submit on one CPU; it wakes its reader after `watermark` bytes."""
    attributes = struct.pack(
        "IIQQQQQIIQ",
        PERF_TYPE_SOFTWARE,
        64,
        PERF_COUNT_SW_BPF_OUTPUT,
        1,
        PERF_SAMPLE_RAW,
        PERF_FORMAT_TOTAL_TIME_RUNNING | PERF_FORMAT_LOST,
        WATERMARK,
        watermark,
        0,
        0,
    )
    libc = ctypes.CDLL(None, use_errno=True)
    any_process, no_group = -1, -1
    fd = libc.syscall(PERF_EVENT_OPEN, attributes, any_process, cpu, no_group, PERF_FLAG_FD_CLOEXEC)
    if fd < 0:
        error = ctypes.get_errno()
        raise OSError(
            error, f"perf_event_open on CPU {cpu}: {os.strerror(error)} (it needs root and Linux 6.0 or newer)"
        )
    return fd
