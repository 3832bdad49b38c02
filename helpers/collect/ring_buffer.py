"""BPF_RINGBUF_OUTPUT tables to DataFrames.

A BPF ring buffer is one buffer for all CPUs, and its events keep their order. The kernel lets a program in user space
map it: a page with the consumer's position, a page with the producer's, and the data, mapped twice in a row so that a
record that wraps round the end can be read in one piece. To read is to look at two numbers and copy what is between them.

What it rests on: kernel documentation, bpf/ringbuf; the layout is in kernel/bpf/ringbuf.c.
"""

import ctypes
import mmap
import os
import select
import time
from contextlib import ExitStack

import numpy as np

from helpers.collect.collection import Collector
from helpers.collect.columns import Columns
from helpers.collect.records import distance, dtype_of, ringbuf_records
from helpers.collect.bcc_internals import (
    MONOTONIC,
    RINGBUF,
    Counter,
    check_kind,
    event_class,
    is_gone,
    only_reader,
    table_name,
)

BUSY_MS, IDLE_MS = 2, 50
LAST_RECORDS_SECONDS = 0.1


class RingBuffer(Collector):
    """Collect the events of a ``BPF_RINGBUF_OUTPUT`` table.

    >>> with RingBuffer(bpf["events"]) as events:
    ...     run_sync(times=5)
    >>> events.to_dataframe()

    event: ctypes.Structure of the events, where BCC cannot describe the struct by itself.

    The frame has the struct's fields, its rows in the order in which the events' places were reserved. What was in the
    buffer before the collection began is thrown away.

    **Loss.** When the buffer is full, ``ringbuf_output()`` and ``ringbuf_reserve()`` fail, and only the BPF program
    knows. If the buffer was never full, ``lost`` is 0 (programs that run in an NMI may be refused a place even then).
    For a number in all cases, let the program count in a table with the buffer's name followed by ``_lost``::

        BPF_RINGBUF_OUTPUT(events, 64);
        BPF_ARRAY(events_lost, u64, 1);
        …
            if (events.ringbuf_output(&data, sizeof(data), 0))
                events_lost.atomic_increment(0);

    `RingBuffer` finds that table by itself, and ``lost`` is then exact. Without it, once the buffer was full, ``lost``
    is None.

    Raises TypeError for another kind of table, or if the struct has a field that cannot be a column; NotImplementedError
    on any processor but x86-64.
    """

    def __init__(self, table, event=None):
        super().__init__()
        check_kind(table, RINGBUF)
        self.table = table
        self.name = table_name(table)
        self.dtype = dtype_of(event or event_class(table))
        self.counter = Counter.named(self.name + "_lost", table.bpf)

    def _channel(self):
        return Ring(self.table, self.name, self.dtype, self.counter)


class Ring:
    """The channel of a `RingBuffer`.

    While events come it looks every 2 ms without waiting, so the kernel has nobody to wake; when it finds nothing, it
    sleeps until the kernel says that there is something.
    """

    clock = MONOTONIC

    def __init__(self, table, name, dtype, counter):
        self._bpf, self._fd, self._size, self._dtype = table.bpf, table.map_fd, table.max_entries, dtype
        self._counter = counter
        self._step = 8 + -(-dtype.itemsize // 8) * 8
        self._was_full = self._idle = False
        self.name = "ring buffer " + name
        self.event_size = dtype.itemsize
        self.table = Columns.of(dtype)
        self.lost, self.odd = 0, {}
        self.advice = (
            "give the buffer more pages in the C program, or fire less"
            if self._counter
            else (
                f"it ran full. Count losses in the C program: BPF_ARRAY({name}_lost, u64, 1); and, where ringbuf_output() does not "
                f"return 0 or ringbuf_reserve() returns NULL, {name}_lost.atomic_increment(0);"
            )
        )

    def __enter__(self):
        with ExitStack() as closing:
            closing.enter_context(only_reader(self._bpf, self.name))
            # A file descriptor of our own keeps the map, so that its number cannot come to mean another file meanwhile.
            self._fd = os.dup(self._fd)
            closing.callback(os.close, self._fd)
            if self._counter:
                closing.enter_context(self._counter)
            self._map()
            self._poll = select.poll()
            self._poll.register(self._fd, select.POLLIN)
            self._throw_away()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error):
        # The pages are unmapped when nothing refers to them any more.
        self._consumer = self._producer = self._data = None
        self._closing.close()

    def _map(self):
        page = mmap.PAGESIZE
        mine = mmap.mmap(self._fd, page)
        kernels = mmap.mmap(self._fd, page + 2 * self._size, prot=mmap.PROT_READ, offset=page)
        self._consumer = ctypes.c_uint64.from_buffer(mine)
        self._producer = np.frombuffer(kernels, np.uint64, 1)
        self._data = np.frombuffer(kernels, np.uint8, 2 * self._size, page)

    def _throw_away(self):
        self._drain_to_the_end()
        self.table = Columns.of(self._dtype)
        self.odd, self._was_full = {}, False
        if self._counter:
            self._counter.restart()
        self.lost = 0

    def gone(self):
        return is_gone(self._bpf)

    def wait(self, stop):
        if self._idle:
            self._poll.register(stop, select.POLLIN)
            self._poll.poll(IDLE_MS)
        pause = select.poll()
        pause.register(stop, select.POLLIN)
        return bool(pause.poll(BUSY_MS))

    def drain(self):
        """Move what is there into the table; tells whether that was anything."""
        begin = self._consumer.value
        start = begin % self._size
        length = distance(begin, int(self._producer[0]))
        found = ringbuf_records(self._data[start : start + length], self._dtype)
        runs = [np.array(run) for run in found.runs]
        self._consumer.value = begin + found.consumed
        # A record found no room only if, before the line above, one more would not have fitted.
        if distance(begin, int(self._producer[0])) + self._step >= self._size:
            self._was_full = True
        for run in runs:
            self.table.append(run)
        for size, count in found.odd.items():
            self.odd[size] = self.odd.get(size, 0) + count
        self._idle = found.consumed == 0
        return length

    def _drain_to_the_end(self):
        """Drain once more; allow a moment for a record that another CPU is just writing. Tells whether that was all."""
        patience = time.monotonic() + LAST_RECORDS_SECONDS
        end = int(self._producer[0])
        self.drain()
        while (unread := 0 < distance(self._consumer.value, end) <= self._size) and time.monotonic() < patience:
            time.sleep(0.001)
            self.drain()
        return not unread

    def finish(self):
        whole = self._drain_to_the_end()
        self.lost = self._counter.value() if self._counter else None if self._was_full else 0
        if not whole:
            self.lost = None
            self.advice = "a CPU took too long to write one, and what comes after it was not read"
