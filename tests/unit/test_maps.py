"""Bytes of a map to a frame, with the kernel's answers made by the test; and batches of every size."""

import ctypes
import errno
import warnings

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from helpers.collect import bcc_internals, maps
from helpers.collect.bcc_internals import ARRAY, HASH, LRU_HASH, PERCPU_ARRAY, PERCPU_HASH, MapLayout, map_entries
from helpers.collect.maps import MapFull, read_map


class Inner(ctypes.Structure):
    _fields_ = [("line", ctypes.c_uint16 * 2)]


class Key(ctypes.Structure):
    _fields_ = [
        ("kind", ctypes.c_ubyte),
        ("__pad_1", ctypes.c_char * 7),
        ("slot", ctypes.c_uint64),
        ("comm", ctypes.c_char * 16),
        ("where", Inner),
        ("__pad_end", ctypes.c_char * 4),
    ]


class Value(ctypes.Structure):
    _fields_ = [("total", ctypes.c_uint64), ("low", ctypes.c_int32), ("slot", ctypes.c_uint32)]


@pytest.fixture
def table(monkeypatch):
    """A function that has read_map() find a map of this layout with these entries (pairs of ctypes values or bytes)."""

    def table(key, value, entries=(), kind=HASH, cpus=None, max_entries=10_240):
        monkeypatch.setattr(maps, "map_layout", lambda _: MapLayout("calls", kind, 9, key, value, cpus, max_entries))

        def map_entries(fd, key_size, value_size, room):
            assert room <= max_entries + 1  # no more than there can be, and one beyond, where the kernel says so
            keys, values = (b"".join(map(bytes, part)) for part in (zip(*entries) if entries else ((), ())))
            assert (len(keys), len(values)) == (len(entries) * key_size, len(entries) * value_size)
            return len(entries), bytearray(keys + b"rest"), bytearray(values + b"rest")

        monkeypatch.setattr(maps, "map_entries", map_entries)
        return None

    return table


def test_plain_keys_and_values(table):
    df = read_map(table(ctypes.c_uint32, ctypes.c_int64, [(ctypes.c_uint32(7), ctypes.c_int64(-1))]))
    assert df.to_dict("list") == {"key": [7], "value": [-1]}
    assert df.dtypes.astype(str).to_dict() == {"key": "uint32", "value": "int64"}


def test_structs_are_flattened_as_events_are_and_names_do_not_clash(table):
    key = Key(kind=3, slot=2**63, comm=b"ann", where=Inner((1, 2)))
    df = read_map(table(Key, Value, [(key, Value(total=2**64 - 1, low=-5, slot=9))]))
    assert df.to_dict("list") == {
        "kind": [3],
        "slot": [2**63],
        "comm": ["ann"],
        "where.line[0]": [1],
        "where.line[1]": [2],
        "total": [2**64 - 1],
        "low": [-5],
        "value.slot": [9],
    }


@pytest.mark.parametrize("cpus", [None, [0, 1]])
def test_an_empty_map_has_the_same_columns_and_dtypes(table, cpus):
    kind = PERCPU_HASH if cpus else HASH
    value = bytes(16 * len(cpus or [0]))
    full = read_map(table(Key, Value, [(Key(), value)], kind, cpus))
    empty = read_map(table(Key, Value, [], kind, cpus))
    assert len(empty) == 0
    assert list(empty.columns) == list(full.columns)
    assert [dtype.kind for dtype in empty.dtypes] == [dtype.kind for dtype in full.dtypes]


def test_values_of_each_cpu_are_padded_and_summed_or_a_column_each(table):
    big, padded = 2**32 - 1, np.array([2**32 - 1, 77, 2, 77, 3, 77], "u4").tobytes()  # u32 in places of 8 bytes
    layout = (ctypes.c_int, ctypes.c_uint32, [(ctypes.c_int(0), padded)], PERCPU_ARRAY, [0, 1, 3])
    assert read_map(table(*layout))["value"].tolist() == [big + 5]
    each = read_map(table(*layout), per_cpu=True)
    assert each.to_dict("list") == {"key": [0], "value.cpu0": [big], "value.cpu1": [2], "value.cpu3": [3]}
    assert each["value.cpu0"].dtype == "uint32"


def test_text_has_no_sum(table):
    class Named(ctypes.Structure):
        _fields_ = [("comm", ctypes.c_char * 8)]

    layout = (ctypes.c_int, Named, [(ctypes.c_int(0), b"ann".ljust(8, b"\0") + b"bob".ljust(8, b"\0"))])
    with pytest.raises(TypeError, match="'comm' is text.*per_cpu=True"):
        read_map(table(*layout, PERCPU_ARRAY, [0, 1]))
    each = read_map(table(*layout, PERCPU_ARRAY, [0, 1]), per_cpu=True)
    assert (each["comm.cpu0"][0], each["comm.cpu1"][0]) == ("ann", "bob")


def test_it_says_when_it_was_read_and_that_this_is_no_snapshot(table):
    attrs = read_map(table(ctypes.c_int, ctypes.c_int)).attrs
    assert attrs["source"] == "map calls" and attrs["read_begin_ns"] <= attrs["read_end_ns"]
    assert attrs["snapshot"].startswith("no") and attrs["max_entries"] == 10_240


@pytest.mark.parametrize(("kind", "told"), [(HASH, True), (PERCPU_HASH, True), (ARRAY, False), (LRU_HASH, False)])
def test_a_full_hash_is_said_aloud(table, kind, told):
    entries = [(ctypes.c_int(number), ctypes.c_int64(number)) for number in range(3)]
    layout = (ctypes.c_int, ctypes.c_int64, entries, kind, [0] if kind == PERCPU_HASH else None)
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        read_map(table(*layout, 4))
        assert not said
        read_map(table(*layout, 3))
    assert [one.category for one in said] == [MapFull] * told
    assert not said or ("room for 3 keys" in str(said[0].message) and said[0].filename == __file__)


@pytest.mark.parametrize("other", [None, 5, object()])
def test_what_is_no_map(other):
    with pytest.raises(TypeError, match="a map with keys and values"):
        read_map(other)


# ---- batches


class Hash:
    """Answers as the kernel does for a hash: whole buckets, ENOSPC for one that has no room, ENOENT behind the last."""

    def __init__(self, buckets, refuse=0):
        self.buckets, self.refuse, self.calls = buckets, refuse, 0

    def bpf_lookup_batch(self, fd, begin, place, keys, values, count):
        self.calls += 1
        room, count._obj.value = count._obj.value, 0
        if self.refuse:
            ctypes.set_errno(self.refuse)
            return -1
        assert room > 0 and self.calls < 1000  # nobody asks without end
        at, got = begin[0] if begin else 0, []
        while at < len(self.buckets):
            if len(self.buckets[at]) > room - len(got):
                break
            got += self.buckets[at]
            at += 1
        place[0], count._obj.value = at, len(got)
        for number, key in enumerate(got):
            ctypes.memmove(ctypes.addressof(keys) + 4 * number, bytes(ctypes.c_uint32(key)), 4)
            ctypes.memmove(ctypes.addressof(values) + 8 * number, bytes(ctypes.c_uint64(key * 3)), 8)
        ctypes.set_errno(errno.ENOENT if at == len(self.buckets) else errno.ENOSPC if not got else 0)
        return -1 if ctypes.get_errno() else 0

    def bpf_get_first_key(self, fd, key, size):
        return self._key(0, key)

    def bpf_get_next_key(self, fd, key, after):
        keys = sum(self.buckets, [])
        return self._key(keys.index(int.from_bytes(key.raw, "little")) + 1, after)

    def _key(self, number, key):
        keys = sum(self.buckets, [])
        if number == len(keys):
            return -1
        key.raw = bytes(ctypes.c_uint32(keys[number]))
        return 0

    def bpf_lookup_elem(self, fd, key, value):
        value.raw = bytes(ctypes.c_uint64(int.from_bytes(key.raw, "little") * 3))
        return 0


@pytest.fixture
def kernel(monkeypatch):
    bcc = pytest.importorskip("bcc.libbcc")

    def kernel(*arguments, **more):
        fake = Hash(*arguments, **more)
        monkeypatch.setattr(bcc, "lib", fake)
        return fake

    return kernel


def entries(room):
    count, keys, values = map_entries(9, 4, 8, room)
    return list(zip(np.frombuffer(keys, "u4", count).tolist(), np.frombuffer(values, "u8", count).tolist()))


@settings(deadline=None)
@given(sizes=st.lists(st.integers(0, 9), max_size=30), room=st.integers(1, 20))
def test_every_entry_once_whatever_the_room(sizes, room):
    bcc = pytest.importorskip("bcc.libbcc")
    numbers = iter(range(1000))
    fake = Hash([[next(numbers) for _ in range(size)] for size in sizes])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(bcc, "lib", fake)
        assert entries(room) == [(number, number * 3) for number in range(sum(sizes))]


def test_where_the_kernel_has_no_batches(kernel):
    for error in (errno.EINVAL, bcc_internals.ENOTSUPP):
        kernel([[5, 6], [], [7]], refuse=error)
        assert entries(10) == [(5, 15), (6, 18), (7, 21)]


def test_another_error_is_one(kernel):
    kernel([[5]], refuse=errno.EPERM)
    with pytest.raises(PermissionError, match="cannot be read"):
        entries(10)
