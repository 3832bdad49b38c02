"""The ring of a `RingBuffer` on pages made here, laid out as the kernel does (kernel documentation, bpf/ringbuf)."""

import mmap
import os
import platform
import struct
import time
from types import SimpleNamespace

import numpy as np
import pytest

from helpers.collect.bcc_internals import PERF_EVENT_ARRAY, RINGBUF
from helpers.collect.perf_output import PerfOutput
from helpers.collect.ring_buffer import Ring, RingBuffer

BUSY, SIZE = 1 << 31, 1 << 16
PRODUCER, DATA = mmap.PAGESIZE, 2 * mmap.PAGESIZE


@pytest.fixture
def kernel():
    """The kernel's side of an empty ring: `submit` puts a record into it."""
    file = os.memfd_create("ring")
    os.truncate(file, DATA + 2 * SIZE)
    written = 0

    def submit(value, busy=False):
        nonlocal written
        place = DATA + written
        os.pwrite(file, struct.pack("<IIQ", 8 | BUSY * busy, 0, value), place)
        written += 16
        os.pwrite(file, struct.pack("<Q", written), PRODUCER)
        return lambda: os.pwrite(file, struct.pack("<I", 8), place)

    table = SimpleNamespace(bpf=SimpleNamespace(module=1), map_fd=file, max_entries=SIZE)
    yield SimpleNamespace(submit=submit, ring=Ring(table, "events", np.dtype([("value", "<u8")]), None))
    os.close(file)


def values(ring):
    return ring.columns.to_frame()["value"].tolist()


def test_a_record_that_is_being_written_at_the_end_gets_a_moment(kernel, monkeypatch):
    with kernel.ring as ring:
        kernel.submit(1)
        ready = kernel.submit(2, busy=True)
        kernel.submit(3)
        ring.consume()
        assert values(ring) == [1]
        monkeypatch.setattr(time, "sleep", lambda seconds: ready())
        monkeypatch.setattr("helpers.collect.ring_buffer.LAST_RECORDS_SECONDS", 60)
        ring.finish()
        assert values(ring) == [1, 2, 3] and ring.lost == 0


def test_a_record_that_is_never_ready_is_not_waited_for_for_ever(kernel):
    with kernel.ring as ring:
        kernel.submit(1)
        kernel.submit(2, busy=True)
        kernel.submit(3)
        ring.finish()
        assert values(ring) == [1] and ring.lost is None and "too long" in ring.advice


@pytest.mark.parametrize(("records", "lost"), [(SIZE // 16 - 2, 0), (SIZE // 16 - 1, None)])
def test_whether_one_more_would_have_fitted(kernel, records, lost):
    with kernel.ring as ring:
        for value in range(records):
            kernel.submit(value)
        ring.finish()
        assert values(ring) == list(range(records)) and ring.lost == lost


@pytest.mark.parametrize("processor", ["aarch64", "riscv64", "ppc64le"])
@pytest.mark.parametrize(("reader", "kind"), [(PerfOutput, PERF_EVENT_ARRAY), (RingBuffer, RINGBUF)])
def test_a_ring_without_memory_barriers_is_read_on_x86_64_only(monkeypatch, processor, reader, kind):
    monkeypatch.setattr(platform, "machine", lambda: processor)
    with pytest.raises(NotImplementedError, match=f"only x86-64 .* this is {processor}.*EBPF_LAB=vm make lab"):
        reader(SimpleNamespace(ttype=kind, bpf=SimpleNamespace(module=1)))
