"""Bytes that the kernel left in a ring, to rows of a NumPy structured array.

This module knows layouts and nothing else: no file descriptors, no BCC, no pandas.

- A **perf ring** holds records with the header ``u32 type, u16 misc, u16 size`` (perf_event_open(2)). A sample has then
  ``u32 size`` and the event; all is padded to 8 bytes. Where events did not fit, a record says how many were lost.
- A **BPF ring buffer** holds records with the header ``u32 length, u32 page offset``; the two highest bits of the
  length say that a record is still being written, or was discarded (kernel documentation, bpf/ringbuf).

Nearly all records of a program have one size. So the readers take runs of such records as one array with a stride, and
look one by one only at the others between.
"""

import ctypes
import platform
import struct
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import DTypeLike, NDArray

from helpers.language import tr

PERF_RECORD_LOST, PERF_RECORD_SAMPLE = 2, 9
RINGBUF_BUSY, RINGBUF_DISCARD = 1 << 31, 1 << 30
_POINTERS: tuple[Any, ...] = (ctypes.c_void_p, ctypes.c_char_p, ctypes.c_wchar_p, ctypes._Pointer)
_POINTERS += (ctypes._CFuncPtr,)  # type: ignore[attr-defined]


class Records(NamedTuple):
    """What a reader found in some bytes.

    Attributes:
        runs: structured arrays, in the order of the ring; views of the bytes given, not copies.
        lost: events that the kernel said it could not store (perf ring; always 0 for a BPF ring buffer).
        misfits: number of events by size in bytes, for events whose size is not that of the struct; they are in no run.
        consumed: bytes that were understood; less than given when the last record is torn or still being written.
    """

    runs: list[NDArray[Any]]
    lost: int
    misfits: dict[int, int]
    consumed: int


def check_processor() -> None:
    """Refuse a processor whose readers of a mapped ring would need memory barriers: any but x86-64.

    Raises:
        NotImplementedError: it is another one.
    """
    if (here := platform.machine()) != "x86_64":
        raise NotImplementedError(
            tr(
                "PerfOutput and RingBuffer read the kernel's memory as only x86-64 allows it, and this is {here}. "
                "The lab's virtual machine is x86-64 everywhere; in a terminal:  EBPF_LAB=vm make lab",
                here=here,
            )
        )


def dtype_of(event: type[Any]) -> "np.dtype[Any]":
    """NumPy dtype of an event that a BPF program submits, from its ctypes class.

    >>> dtype_of(type(bpf["events"].event(address))).names
    ('time_ns', 'pid', 'comm')

    The result has the fields of the struct at their own offsets, in order. A nested struct or union gives a field for
    each member, named as in C: ``where.line``, ``saddr[0]``. Integers, bools and floats keep width and sign; an enum is
    the int it is in C; pointers are ``uint64``; ``char name[16]`` is ``S16``; a lone ``char`` is an ``int8``, since BCC
    describes ``s8`` and ``char`` alike. A 128-bit integer arrives from BCC as two halves, the lower one is ``x[0]``;
    where C leaves room before it, to begin at a multiple of 16, BCC does not: write that room into the struct.

    Args:
        event: a subclass of ctypes.Structure or ctypes.Union.

    Returns:
        Structured dtype of the size of the struct.

    Raises:
        TypeError: a field that has no column, named: bit fields, and wide characters; or ``event`` has no fields.
    """
    if not issubclass(event, (ctypes.Structure, ctypes.Union)):
        raise TypeError(
            tr("an event is a struct; {name} is not: declare a subclass of ctypes.Structure", name=event.__name__)
        )
    fields = list(_flat(event, "", 0))
    if not fields:
        raise TypeError(
            tr(
                "nothing is known of this table's events: BCC learns a struct from the program's perf_submit(), "
                "ringbuf_output() or ringbuf_submit(). Declare it by hand, as a ctypes.Structure, and pass event=…"
            )
        )
    names, formats, offsets = zip(*fields)
    return np.dtype({"names": names, "formats": formats, "offsets": offsets, "itemsize": ctypes.sizeof(event)})


def _flat(kind: Any, name: str, offset: int) -> Iterator[tuple[str, DTypeLike, int]]:
    """Yield name, format and offset of each column of a ctypes type that stands at an offset.

    Raises:
        TypeError: a field has no column.
    """
    if issubclass(kind, (ctypes.Structure, ctypes.Union)):
        anonymous = getattr(kind, "_anonymous_", ())
        for base in reversed(kind.__mro__):
            for member, member_kind, *bits in base.__dict__.get("_fields_", ()):
                if bits:
                    raise TypeError(
                        tr(
                            "field {name!r} is a bit field, which has no column: declare a whole integer",
                            name=name + member,
                        )
                    )
                at = offset + getattr(kind, member).offset
                inner = issubclass(member_kind, (ctypes.Structure, ctypes.Union))
                prefix = name if member in anonymous else name + member + "." * inner
                yield from _flat(member_kind, prefix, at)
    elif issubclass(kind, ctypes.Array):
        if issubclass(kind._type_, ctypes.c_char):
            yield name, f"S{kind._length_}", offset
        else:
            inner = issubclass(kind._type_, (ctypes.Structure, ctypes.Union))
            for i in range(kind._length_):
                yield from _flat(kind._type_, f"{name}[{i}]" + "." * inner, offset + i * ctypes.sizeof(kind._type_))
    elif issubclass(kind, ctypes.c_char):
        yield name, "i1", offset
    elif issubclass(kind, _POINTERS):
        yield name, "u8", offset
    else:
        try:
            yield name, np.dtype(kind), offset
        except (TypeError, NotImplementedError, ValueError):
            words = tr("field {name!r} is a {kind}, which has no column", name=name, kind=kind.__name__)
            raise TypeError(words) from None


def distance(tail: int, head: int) -> int:
    """Return the bytes from one position to a later one; the kernel counts them up to 2**64 and begins again at 0.

    Args:
        tail: the earlier position in bytes.
        head: the later position in bytes.
    """
    return (head - tail) % (1 << 64)


def unroll(ring: NDArray[np.uint8], tail: int, head: int) -> NDArray[np.uint8]:
    """Copy the bytes between two positions of a ring, in order.

    Args:
        ring: uint8 array, its length a power of two.
        tail: the earlier position in bytes, as the kernel counts: never wrapped at the ring's end but at 2**64.
        head: the later position in bytes, likewise.

    Returns:
        uint8 array of ``head - tail`` bytes.

    Raises:
        ValueError: that is more than the ring.
    """
    length = distance(tail, head)
    if length > len(ring):
        raise ValueError(f"{length} bytes between tail and head, in a ring of {len(ring)}")
    start = tail % len(ring)
    first = ring[start : start + length]
    if len(first) == length:
        return first.copy()
    return np.concatenate([first, ring[: length - len(first)]])


def perf_records(data: NDArray[np.uint8], dtype: "np.dtype[Any]") -> Records:
    """Read the bytes of a perf ring as events.

    Args:
        data: uint8 array that starts at a record.
        dtype: structured dtype of the events.

    Returns:
        The events, what was lost, and how far it was read.
    """
    buffer: Any = data
    step = 8 + -(-(4 + dtype.itemsize) // 8) * 8
    wanted = np.uint64(PERF_RECORD_SAMPLE | step << 48)
    no_misc = np.uint64(0xFFFF_0000_FFFF_FFFF)
    runs, lost, misfits, at, end = list[NDArray[Any]](), 0, dict[int, int](), 0, len(data)
    while end - at >= 8:
        headers = np.ndarray((end - at) // step, "<u8", data, at, step)
        count = _leading(headers, lambda some: some & no_misc == wanted)
        if count:
            runs.append(np.ndarray(count, dtype, data, at + 12, step))
            at += count * step
            continue
        kind, _, size = struct.unpack_from("<IHH", buffer, at)
        if size < 8 or size > end - at:
            break
        if kind == PERF_RECORD_LOST and size >= 24:
            lost += struct.unpack_from("<Q", buffer, at + 16)[0]
        elif kind == PERF_RECORD_SAMPLE:
            misfits[size - 12] = misfits.get(size - 12, 0) + 1
        at += size
    return Records(runs, lost, misfits, at)


def ringbuf_records(data: NDArray[np.uint8], dtype: "np.dtype[Any]") -> Records:
    """Read the bytes of a BPF ring buffer as events.

    Each header is looked at before its event, and reading ends at the first record that a CPU is still writing.

    Args:
        data: uint8 array that starts at a record; it may be the mapped pages themselves.
        dtype: structured dtype of the events.

    Returns:
        The events, and how far it was read.
    """
    buffer: Any = data
    step = 8 + -(-dtype.itemsize // 8) * 8
    length_bits = np.uint32(~RINGBUF_DISCARD & 0xFFFF_FFFF)
    runs, misfits, at, end = list[NDArray[Any]](), dict[int, int](), 0, len(data)
    while end - at >= 8:
        headers = np.ndarray((end - at) // step, "<u4", data, at, step)
        count = _leading(headers, lambda some: some & length_bits == dtype.itemsize)
        if count:
            rows = np.ndarray(count, dtype, data, at + 8, step)
            discarded = headers[:count] & np.uint32(RINGBUF_DISCARD) != 0
            runs.append(rows[~discarded] if discarded.any() else rows)
            at += count * step
            continue
        (header,) = struct.unpack_from("<I", buffer, at)
        length = header & ~(RINGBUF_BUSY | RINGBUF_DISCARD)
        size = 8 + -(-length // 8) * 8
        if header & RINGBUF_BUSY or size > end - at:
            break
        if length == dtype.itemsize:
            continue  # it was still being written a moment ago, when its header was looked at with the others
        if not header & RINGBUF_DISCARD:
            misfits[length] = misfits.get(length, 0) + 1
        at += size
    return Records(runs, 0, misfits, at)


def _leading(headers: NDArray[Any], fits: Callable[[NDArray[Any]], NDArray[np.bool_]]) -> int:
    """Return how many headers at the front fit. Looks further ahead the longer it goes well: misfits stay cheap."""
    done, window = 0, 64
    while done < len(headers):
        good = fits(headers[done : done + window])
        first_bad = int(good.argmin())
        if not good[first_bad]:
            return done + first_bad
        done += len(good)
        window *= 8
    return done
