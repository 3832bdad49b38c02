"""BPF_RINGBUF_OUTPUT tables to DataFrames.

A BPF ring buffer is one buffer for all CPUs, and its events keep their order. The kernel lets a program in user space
map it: a page with the consumer's position, a page with the producer's, and the data, mapped twice in a row so that a
record that wraps round the end can be read in one piece. To read is to look at two numbers and copy what is between.

What it rests on: kernel documentation, bpf/ringbuf; the layout is in kernel/bpf/ringbuf.c.
"""

import ctypes
import mmap
import select
import time
from contextlib import ExitStack
from functools import partial
from typing import Any, Self

import numpy as np

from helpers.collect.bcc_internals import (
    RINGBUF,
    Counter,
    Map,
    Table,
    check_table,
    event_class,
    find_table,
    is_gone,
    only_reader,
    table_name,
)
from helpers.collect.clocks import BPF_CLOCK
from helpers.collect.collection import Collector, FileDescriptor, readable
from helpers.collect.columns import Columns
from helpers.collect.records import check_processor, distance, dtype_of, ringbuf_records
from helpers.language import tr

PAUSE_MS, POLL_TIMEOUT_MS = 2, 50
LAST_RECORDS_SECONDS = 0.1


class RingBuffer(Collector):
    """Collect the events of a ``BPF_RINGBUF_OUTPUT`` table.

    >>> with RingBuffer(bpf["events"]) as events:
    ...     run_sync(times=5)
    >>> events.to_dataframe()

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

    Attributes:
        dtype: structured dtype of the events' bytes.

    Args:
        table: ``bpf["name"]`` of the table.
        event: ctypes.Structure of the events, where BCC cannot describe the struct by itself.

    Raises:
        TypeError: another kind of table, or the struct has a field that cannot be a column.
        ValueError: the BPF object was cleaned up.
        NotImplementedError: on any processor but x86-64.
    """

    def __init__(self, table: Table, event: type[Any] | None = None) -> None:
        check_processor()
        check_table(table, RINGBUF)
        self.dtype, name = dtype_of(event or event_class(table)), table_name(table)
        counting = find_table(table.bpf, name + "_lost")
        super().__init__(partial(Ring, table, name, self.dtype, None if counting is None else Counter(counting)))


class Ring:
    """The channel of a `RingBuffer`.

    While events come it looks every 2 ms without waiting, so the kernel has nobody to wake; when it finds nothing, it
    sleeps until the kernel says that there is something.
    """

    clock = BPF_CLOCK

    def __init__(self, table: Table, name: str, dtype: "np.dtype[Any]", counter: Counter | None) -> None:
        self._bpf, self._map, self._size, self._dtype = table.bpf, Map(table), table.max_entries, dtype
        self._counter = counter
        self._step = 8 + -(-dtype.itemsize // 8) * 8
        self._was_full = self._idle = False
        self.name = "ring buffer " + name
        self.event_size = dtype.itemsize
        self.columns = Columns.of(dtype)
        self.lost: int | None = 0
        self.misfits: dict[int, int] = {}
        self.advice = tr("give the buffer more pages in the C program, or fire less")
        if not counter:
            self.advice = tr(
                "it ran full. Count losses in the C program: BPF_ARRAY({name}_lost, u64, 1); and, where "
                "ringbuf_output() does not return 0 or ringbuf_reserve() returns NULL, "
                "{name}_lost.atomic_increment(0);",
                name=name,
            )

    def __enter__(self) -> Self:
        with ExitStack() as closing:
            closing.enter_context(only_reader(self._bpf, self.name))
            closing.enter_context(self._map)
            if self._counter:
                closing.enter_context(self._counter)
            self._map_pages()
            self._poll = select.poll()
            self._poll.register(self._map.fd, select.POLLIN)
            self._throw_away()
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        # The pages are unmapped when nothing refers to them any more.
        del self._consumer, self._producer, self._data
        self._closing.close()

    def _map_pages(self) -> None:
        page = mmap.PAGESIZE
        mine = mmap.mmap(self._map.fd, page)
        kernels = mmap.mmap(self._map.fd, page + 2 * self._size, prot=mmap.PROT_READ, offset=page)
        self._consumer = ctypes.c_uint64.from_buffer(mine)
        self._producer = np.frombuffer(kernels, np.uint64, 1)
        self._data = np.frombuffer(kernels, np.uint8, 2 * self._size, page)

    def _throw_away(self) -> None:
        self._consume_to_the_end()
        self.columns = Columns.of(self._dtype)
        self.misfits, self._was_full = {}, False
        if self._counter:
            self._counter.restart()
        self.lost = 0

    def is_gone(self) -> bool:
        """Return whether the BPF object was cleaned up."""
        return is_gone(self._bpf)

    def wait(self, stop: FileDescriptor) -> bool:
        """Return whether ``stop`` is readable, or sleep as told above; see `Channel`."""
        if self._idle:
            self._poll.register(stop, select.POLLIN)
            self._poll.poll(POLL_TIMEOUT_MS)
        return readable(stop, PAUSE_MS)

    def consume(self) -> None:
        """See `Channel`."""
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
            self.columns.append(run)
        for size, count in found.misfits.items():
            self.misfits[size] = self.misfits.get(size, 0) + count
        self._idle = found.consumed == 0

    def _consume_to_the_end(self) -> bool:
        """Return whether all was consumed, with a moment for a record that another CPU is just writing."""
        deadline = time.monotonic() + LAST_RECORDS_SECONDS
        end = int(self._producer[0])
        self.consume()
        while (unread := 0 < distance(self._consumer.value, end) <= self._size) and time.monotonic() < deadline:
            time.sleep(0.001)
            self.consume()
        return not unread

    def finish(self) -> None:
        """See `Channel`."""
        whole = self._consume_to_the_end()
        self.lost = self._counter.value() if self._counter else None if self._was_full else 0
        if not whole:
            self.lost = None
            self.advice = tr("a CPU took too long to write one, and what comes after it was not read")
