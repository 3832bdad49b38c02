"""Bytes made by the test, read by `helpers.collect.records` and by a slow reader that is obviously right."""

import ctypes
import struct

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.collect import records
from helpers.collect.records import distance, dtype_of, perf_records, ringbuf_records, unroll

BUSY, DISCARD = 1 << 31, 1 << 30


def struct_of(size):
    """A dtype of `size` bytes whose one field is all of them."""
    return np.dtype([("raw", f"V{size}")])


def perf_sample(event, misc=2):
    padded = event + bytes(-(4 + len(event)) % 8)
    return struct.pack("<IHHI", 9, misc, 12 + len(padded), len(padded)) + padded


def perf_lost(count):
    return struct.pack("<IHHQQ", 2, 0, 24, 77, count)


def perf_other(kind, body):
    return struct.pack("<IHH", kind, 0, 8 + len(body)) + body


def ringbuf_record(event, flags=0):
    return struct.pack("<II", len(event) | flags, 0) + event + bytes(-len(event) % 8)


def slow_perf(data, size):
    """What perf_open_event(2) says, one record at a time: events, lost, odd ones by size, bytes understood."""
    events, lost, odd, at = [], 0, {}, 0
    while len(data) - at >= 8:
        kind, _, length = struct.unpack_from("<IHH", data, at)
        if length < 8 or at + length > len(data):
            break
        if kind == 9 and length == 8 + -(-(4 + size) // 8) * 8:
            events.append(data[at + 12 : at + 12 + size])
        elif kind == 9:
            odd[length - 12] = odd.get(length - 12, 0) + 1
        elif kind == 2 and length >= 24:
            lost += struct.unpack_from("<Q", data, at + 16)[0]
        at += length
    return events, lost, odd, at


def slow_ringbuf(data, size):
    """What the kernel's bpf/ringbuf documentation says, one record at a time."""
    events, odd, at = [], {}, 0
    while len(data) - at >= 8:
        header = struct.unpack_from("<I", data, at)[0]
        length = header & (DISCARD - 1)
        if header & BUSY or at + 8 + length > len(data) or at + 8 + -(-length // 8) * 8 > len(data):
            break
        if not header & DISCARD:
            if length == size:
                events.append(data[at + 8 : at + 8 + length])
            else:
                odd[length] = odd.get(length, 0) + 1
        at += 8 + -(-length // 8) * 8
    return events, 0, odd, at


def read(reader, data, size):
    found = reader(np.frombuffer(data, "u1"), struct_of(size))
    return [row.tobytes() for run in found.runs for row in run], found.lost, found.misfits, found.consumed


# ---- perf rings


@pytest.mark.parametrize("size", [1, 4, 7, 8, 12, 13, 16, 20, 40, 41, 100, 4096])
def test_perf_events_of_any_size(size):
    events = [bytes([n % 256]) * size for n in range(200)]
    data = b"".join(map(perf_sample, events))
    assert read(perf_records, data, size) == (events, 0, {}, len(data))


@pytest.mark.parametrize("place", range(6))
def test_perf_lost_records_at_any_place(place):
    events = [bytes([n]) * 12 for n in range(5)]
    parts = list(map(perf_sample, events))
    parts.insert(place, perf_lost(1000))
    parts.insert(place, perf_lost(1 << 40))
    assert read(perf_records, b"".join(parts), 12)[:2] == (events, 1000 + (1 << 40))


def test_perf_sizes_mixed_and_other_kinds():
    data = perf_sample(b"a" * 12) + perf_sample(b"b" * 28) + perf_other(14, bytes(16)) + perf_sample(b"c" * 12)
    assert read(perf_records, data, 12) == ([b"a" * 12, b"c" * 12], 0, {28: 1}, len(data))


def test_perf_misc_bits_do_not_matter():
    data = perf_sample(b"x" * 12, 1) + perf_sample(b"y" * 12, 0x4002)
    assert read(perf_records, data, 12)[0] == [b"x" * 12, b"y" * 12]


@pytest.mark.parametrize("kept", range(72))
def test_perf_torn_tail(kept):
    data = (perf_sample(b"a" * 12) + perf_lost(5) + perf_sample(b"b" * 12))[:kept]
    assert read(perf_records, data, 12) == slow_perf(data, 12)
    assert read(perf_records, data, 12)[3] in (0, 24, 48, 72)


def test_perf_record_of_size_zero_ends_the_reading():
    assert read(perf_records, perf_sample(b"a" * 12) + bytes(64), 12) == ([b"a" * 12], 0, {}, 24)


def test_no_bytes():
    assert read(perf_records, b"", 12) == read(ringbuf_records, b"", 12) == ([], 0, {}, 0)


def test_alternating_sizes_take_time_in_proportion():
    data = (perf_sample(b"a" * 12) + perf_sample(b"b" * 28)) * 50_000
    events, _, odd, consumed = read(perf_records, data, 12)
    assert (len(events), odd, consumed) == (50_000, {28: 50_000}, len(data))


other_kinds = st.integers(0, 20).filter(lambda kind: kind not in (2, 9))
perf_parts = st.lists(
    st.one_of(
        st.binary(min_size=12, max_size=12).map(perf_sample),
        st.binary(min_size=1, max_size=40).map(perf_sample),
        st.integers(0, 1 << 50).map(perf_lost),
        st.builds(perf_other, other_kinds, st.binary(max_size=24)),
    )
)


@settings(max_examples=400, deadline=None)
@given(perf_parts, st.integers(0, 200))
def test_perf_like_the_slow_reader(parts, torn):
    data = b"".join(parts)
    data = data[: max(0, len(data) - torn)] if torn < 100 else data
    assert read(perf_records, data, 12) == slow_perf(data, 12)


# ---- BPF ring buffers


@pytest.mark.parametrize("size", [1, 4, 7, 8, 12, 16, 40, 41, 4096])
def test_ringbuf_events_of_any_size(size):
    events = [bytes([n % 256]) * size for n in range(200)]
    assert read(ringbuf_records, b"".join(map(ringbuf_record, events)), size)[0] == events


@pytest.mark.parametrize("place", range(6))
def test_ringbuf_discarded_and_odd_records_at_any_place(place):
    events = [bytes([n]) * 12 for n in range(5)]
    parts = list(map(ringbuf_record, events))
    for other in (ringbuf_record(b"x" * 12, DISCARD), ringbuf_record(b"z" * 24), ringbuf_record(b"y" * 30, DISCARD)):
        parts.insert(place, other)
    data = b"".join(parts)
    assert read(ringbuf_records, data, 12) == (events, 0, {24: 1}, len(data))


def test_ringbuf_stops_at_a_record_being_written():
    data = ringbuf_record(b"a" * 12) + ringbuf_record(b"b" * 12, BUSY) + ringbuf_record(b"c" * 12)
    assert read(ringbuf_records, data, 12) == ([b"a" * 12], 0, {}, 24)


def test_ringbuf_record_that_is_ready_between_two_looks(monkeypatch):
    data = np.frombuffer(bytearray(ringbuf_record(b"a" * 12) + ringbuf_record(b"b" * 12, BUSY)), "u1")
    look = records._leading

    def look_and_submit(headers, fits):
        count = look(headers, fits)
        if not count:
            data[24:28] = np.frombuffer(struct.pack("<I", 12), "u1")  # what another CPU does to the second header
        return count

    monkeypatch.setattr(records, "_leading", look_and_submit)
    assert read(ringbuf_records, data, 12) == ([b"a" * 12, b"b" * 12], 0, {}, 48)


def test_ringbuf_many_discarded():
    data = (ringbuf_record(b"a" * 12) + ringbuf_record(b"b" * 12, DISCARD)) * 1000
    assert read(ringbuf_records, data, 12) == ([b"a" * 12] * 1000, 0, {}, len(data))


@settings(max_examples=400, deadline=None)
@given(
    st.lists(st.tuples(st.one_of(st.just(12), st.integers(0, 40)), st.sampled_from([0, 0, 0, DISCARD, BUSY]))),
    st.integers(0, 99),
)
def test_ringbuf_like_the_slow_reader(parts, torn):
    data = b"".join(ringbuf_record(bytes([n % 256]) * size, flags) for n, (size, flags) in enumerate(parts))
    data = data[: max(0, len(data) - torn)] if torn < 50 else data
    assert read(ringbuf_records, data, 12) == slow_ringbuf(data, 12)


# ---- positions in a ring


@settings(max_examples=300, deadline=None)
@given(
    st.sampled_from([0, 1, 8, 100, (1 << 32) - 24, (1 << 32) + 8, (1 << 64) - 1, (1 << 64) - 40, (1 << 64) - 4096]),
    st.integers(0, 256),
)
def test_unroll_past_the_ends(tail, length):
    ring = np.random.default_rng(1).integers(0, 256, 256, "u1")
    head = (tail + length) % (1 << 64)
    assert distance(tail, head) == length
    assert unroll(ring, tail, head).tolist() == [ring[(tail + i) % 256] for i in range(length)]


def test_unroll_gives_a_copy():
    ring = np.zeros(64, "u1")
    copy = unroll(ring, 0, 8)
    ring[:] = 1
    assert not copy.any()


@pytest.mark.parametrize("tail, head", [(0, 257), (8, 0), (1 << 63, 0)])
def test_unroll_more_than_the_ring(tail, head):
    with pytest.raises(ValueError, match="ring of 256"):
        unroll(np.zeros(256, "u1"), tail, head)


@pytest.mark.parametrize("start", [*range(0, 256, 8), (1 << 32) - 16, (1 << 64) - 32])
def test_events_that_wrap_round_the_end(start):
    events = [bytes([n]) * 12 for n in range(8)]
    data = np.frombuffer(b"".join(map(perf_sample, events)), "u1")
    ring = np.zeros(256, "u1")
    ring[(start % 256 + np.arange(len(data))) % 256] = data
    taken = unroll(ring, start, (start + len(data)) % (1 << 64))
    assert read(perf_records, taken.tobytes(), 12)[0] == events


# ---- a million buffers


def half_plausible(rng, count, words, headers):
    """Random buffers in which most words could be a header: uint64 array (count, words)."""
    made = rng.integers(0, 1 << 63, (count, words), "u8")
    pick = rng.integers(0, len(headers) * 4 // 3, (count, words))
    use = pick < len(headers)
    made[use] = headers[pick[use]]
    return made


# fmt: off
PERF_HEADERS = [
    9 | 24 << 48, 9 | 24 << 48 | 1 << 32, 9 | 16 << 48, 9 | 32 << 48, 2 | 24 << 48, 2 | 16 << 48,
    9, 9 | 7 << 48, 9 | 65535 << 48, 14 | 8 << 48, 9 | 25 << 48, 9 | 8 << 48,
]
# fmt: on
RINGBUF_HEADERS = [12, 12 | DISCARD, 12 | BUSY, 0, 8, 16, 24, 7, DISCARD - 1, 24 | DISCARD, 12 | 5 << 32]
READERS = [(perf_records, slow_perf, PERF_HEADERS), (ringbuf_records, slow_ringbuf, RINGBUF_HEADERS)]


@pytest.mark.timeout(300)
@pytest.mark.parametrize("reader, slow, headers", READERS, ids=["perf", "ringbuf"])
def test_a_million_random_buffers(reader, slow, headers):
    """No crash, no hang, and no event that is not in the bytes."""
    rng = np.random.default_rng(3)
    headers, dtype = np.array(headers, "u8"), struct_of(12)
    for words in range(1, 11):
        made = half_plausible(rng, 100_000, words, headers).view("u1")
        cut = rng.integers(0, 9, len(made))
        for buffer, torn in zip(made, cut.tolist()):
            data = buffer[: len(buffer) - torn] if torn < 8 else buffer
            found = reader(data, dtype)
            rows = [event for run in found.runs for (event,) in run.tolist()]
            assert (rows, found.lost, found.misfits, found.consumed) == slow(data.tobytes(), 12)


# ---- ctypes classes


class Where(ctypes.Structure):
    _fields_ = [("line", ctypes.c_uint16), ("name", ctypes.c_char * 6)]


class Either(ctypes.Union):
    _fields_ = [("number", ctypes.c_uint32), ("halves", ctypes.c_uint16 * 2)]


class Colour(ctypes.c_int):
    """An enum as some declare it by hand."""


# fmt: off
class All(ctypes.Structure):
    _fields_ = [
        ("s8", ctypes.c_int8), ("u8", ctypes.c_uint8), ("s16", ctypes.c_int16), ("u16", ctypes.c_uint16),
        ("s32", ctypes.c_int32), ("u32", ctypes.c_uint32), ("s64", ctypes.c_int64), ("u64", ctypes.c_uint64),
        ("letter", ctypes.c_char), ("flag", ctypes.c_bool), ("share", ctypes.c_float), ("ratio", ctypes.c_double),
        ("comm", ctypes.c_char * 16), ("triple", ctypes.c_uint32 * 3), ("big", ctypes.c_ulonglong * 2),
        ("pointer", ctypes.c_void_p), ("text", ctypes.c_char_p), ("typed", ctypes.POINTER(ctypes.c_int)),
        ("where", Where), ("both", Where * 2), ("either", Either), ("grid", (ctypes.c_int16 * 2) * 2),
        ("names", (ctypes.c_char * 4) * 2), ("port", ctypes.c_uint16.__ctype_be__),
    ]


FORMATS = {
    "s8": "i1", "u8": "u1", "s16": "i2", "u16": "u2", "s32": "i4", "u32": "u4", "s64": "i8", "u64": "u8",
    "letter": "i1", "flag": "b1", "share": "f4", "ratio": "f8",
    "comm": "S16", "triple[0]": "u4", "triple[1]": "u4", "triple[2]": "u4", "big[0]": "u8", "big[1]": "u8",
    "pointer": "u8", "text": "u8", "typed": "u8", "where.line": "u2", "where.name": "S6",
    "both[0].line": "u2", "both[0].name": "S6", "both[1].line": "u2", "both[1].name": "S6",
    "either.number": "u4", "either.halves[0]": "u2", "either.halves[1]": "u2",
    "grid[0][0]": "i2", "grid[0][1]": "i2", "grid[1][0]": "i2", "grid[1][1]": "i2",
    "names[0]": "S4", "names[1]": "S4", "port": ">u2",
}
# fmt: on


def test_dtype_of_every_field():
    dtype = dtype_of(All)
    assert dtype.itemsize == ctypes.sizeof(All)
    assert {name: dtype[name].str.lstrip("<|") for name in dtype.names} == FORMATS


def test_values_stand_where_ctypes_puts_them():
    event = All(s8=-1, u16=65535, s64=-(1 << 63), u64=(1 << 64) - 1, comm=b"bash", ratio=0.5, port=80)
    event.where.line, event.both[1].name, event.either.number, event.triple[2] = 7, b"xy", 0x00020001, 9
    row = np.frombuffer(bytes(event), dtype_of(All))[0]
    # fmt: off
    values = {
        "s8": -1, "u16": 65535, "s64": -(1 << 63), "u64": (1 << 64) - 1, "comm": b"bash", "ratio": 0.5, "port": 80,
        "where.line": 7, "both[1].name": b"xy", "triple[2]": 9,
        "either.number": 0x20001, "either.halves[0]": 1, "either.halves[1]": 2,
    }
    # fmt: on
    assert {name: row[name] for name in values} == values


def test_padding_packing_and_inheritance():
    class Loose(ctypes.Structure):
        _fields_ = [("a", ctypes.c_uint8), ("b", ctypes.c_uint64)]

    class Tight(ctypes.Structure):
        _pack_, _layout_ = 1, "ms"
        _fields_ = [("a", ctypes.c_uint8), ("b", ctypes.c_uint64)]

    class More(Loose):
        _fields_ = [("c", ctypes.c_uint32)]

    assert [dtype_of(kind).itemsize for kind in (Loose, Tight, More)] == [16, 9, 24]
    assert dtype_of(More).names == ("a", "b", "c") and dtype_of(More).fields["c"][1] == 16


def test_anonymous_members_have_no_prefix():
    class Event(ctypes.Structure):
        _anonymous_ = ("u",)
        _fields_ = [("time_ns", ctypes.c_uint64), ("u", Either)]

    assert dtype_of(Event).names == ("time_ns", "number", "halves[0]", "halves[1]")


def test_fields_without_a_column_are_named():
    class Bits(ctypes.Structure):
        _fields_ = [("plain", ctypes.c_uint32), ("two_bits", ctypes.c_uint32, 2)]

    class Wide(ctypes.Structure):
        _fields_ = [("where", ctypes.c_wchar * 3)]

    class Nothing(ctypes.Structure):
        _fields_ = []

    with pytest.raises(TypeError, match="'two_bits' is a bit field"):
        dtype_of(Bits)
    with pytest.raises(TypeError, match="'where.*c_wchar"):
        dtype_of(Wide)
    with pytest.raises(TypeError, match="Declare it by hand"):
        dtype_of(Nothing)
    with pytest.raises(TypeError, match="c_ulong is not"):
        dtype_of(ctypes.c_uint64)
