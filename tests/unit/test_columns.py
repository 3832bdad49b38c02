"""Columns: what goes in comes out, typed; text through few distinct values; interrupts and threads do no harm."""

import pickle
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import numpy as np
import pandas as pd
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from helpers.collect import columns as columns_module
from helpers.collect.columns import Columns, Numbers, Strings, Text, distinct, text_of

EVENT = np.dtype(
    {"names": ["time_ns", "pid", "comm"], "formats": ["u8", "i4", "S16"], "offsets": [0, 8, 12], "itemsize": 32}
)


def events(rows):
    return np.array(rows, EVENT)


def test_rows_in_order_with_their_dtypes():
    columns = Columns.of(EVENT, cpu=Numbers("int16"))
    columns.append(events([(1, -1, b"bash"), (2, 5, b"sync")]), cpu=np.array([0, 0]))
    columns.append(events([((1 << 64) - 1, 7, b"bash")]), cpu=np.array([3]))
    frame = columns.to_frame()
    assert list(frame.columns) == ["time_ns", "pid", "comm", "cpu"]
    assert [str(kind) for kind in frame.dtypes] == ["uint64", "int32", "category", "int16"]
    assert frame.values.tolist() == [[1, -1, "bash", 0], [2, 5, "sync", 0], [(1 << 64) - 1, 7, "bash", 3]]
    assert columns.rows == 3


def test_no_events_have_the_same_columns_and_dtypes():
    columns = Columns.of(EVENT, message=Strings())
    empty = columns.to_frame()
    columns.append(events([(1, 2, b"x")]), message=[b"hello"])
    full = columns.to_frame()
    assert len(empty) == 0 and list(empty.columns) == list(full.columns)
    assert [kind.name for kind in empty.dtypes] == [kind.name for kind in full.dtypes]
    assert empty["comm"].cat.categories.dtype == full["comm"].cat.categories.dtype


def test_frames_between_appends():
    columns = Columns.of(EVENT)
    for n in range(20):
        columns.append(events([(n, n, b"n%d" % n)] * n))
        assert columns.to_frame()["pid"].tolist() == [i for i in range(n + 1) for _ in range(i)]


def test_appending_copies():
    columns, some = Columns.of(EVENT), events([(1, 2, b"x")])
    columns.append(some)
    some["pid"] = 99
    assert columns.to_frame()["pid"].tolist() == [2]


def test_more_at_once_than_a_block_holds():
    values = np.arange(columns_module.BLOCK_BYTES // 8 + 1)
    columns = Columns({"n": Numbers("int64")})
    for piece in (values[:5], values, values[:5]):
        columns.append(np.rec.fromarrays([piece], names="n"))
    assert columns.to_frame()["n"].tolist() == [*range(5), *values, *range(5)]


def test_nothing_to_append_costs_nothing():
    columns = Columns.of(EVENT, message=Strings())
    before = len(pickle.dumps(columns._columns))
    for _ in range(1000):
        columns.append(events([]), message=[])
    assert len(pickle.dumps(columns._columns)) == before


def test_byte_order_of_the_network():
    columns = Columns.of(np.dtype([("port", ">u2")]))
    columns.append(np.array([(80,), (443,)], [("port", ">u2")]))
    assert columns.to_frame()["port"].tolist() == [80, 443]
    assert columns.to_frame()["port"].dtype == np.dtype("uint16")


# fmt: off
@pytest.mark.parametrize("raw, text", [
    (b"bash", "bash"), (b"", ""), (b"a\0garbage", "a"), (b"\0left over", ""),
    ("naïve 漢".encode(), "naïve 漢"), (b"\xff\xfe!", "\\xff\\xfe!"),
    (b"cut \xe6\xbc", "cut \\xe6\\xbc"), (b"two\nlines", "two\nlines"),
])
# fmt: on
def test_text_of_c_strings(raw, text):
    assert text_of(raw) == text


def test_bytes_behind_the_nul_make_no_second_category():
    text = Text()
    text.append(np.array([b"a\0one", b"a\0two", b"a", b"b\0\0x"], "S16"))
    column = text.join(4)
    assert list(column) == ["a", "a", "a", "b"] and list(column.categories) == ["a", "b"]


def test_bytes_and_their_spelling_share_a_category():
    text = Text()
    text.append(np.array([b"\xff", rb"\xff"], "S16"))
    assert list(text.join(2)) == ["\\xff", "\\xff"]


def test_categories_are_sorted_and_codes_small():
    text = Text()
    for name in (b"zsh", b"bash", b"awk"):
        text.append(np.array([name] * 3, "S16"))
    assert list(text.join(9).categories) == ["awk", "bash", "zsh"] and text.join(9).codes.dtype == "int8"


@pytest.mark.parametrize("count", [127, 128, 129, 130, 32_769, 70_000])
def test_many_categories(count):
    text = Text()
    names = [b"%d" % n for n in range(count)]
    text.append(np.array(names, "S8"))
    assert list(text.join(count)) == [name.decode() for name in names]


@settings(max_examples=300, deadline=None)
@given(st.integers(1, 20), st.lists(st.binary(max_size=20), max_size=60))
@example(9, [b"12345678a", b"12345678b"])
def test_distinct(width, values):
    values = np.array([value[:width] for value in values], f"S{width}")
    first, codes = distinct(values)
    assert (values[first][codes] == values).all()
    assert len(set(values.tolist())) == len(first) == len(set(values[first].tolist()))


def test_distinct_when_hashes_collide(monkeypatch):
    monkeypatch.setattr(columns_module.pd, "factorize", lambda mixed: (np.zeros(len(mixed), "int64"), mixed[:1]))
    values = np.array([b"one", b"two", b"one", b"three"], "S16")
    first, codes = distinct(values)
    assert values[first][codes].tolist() == values.tolist() and len(first) == 3


def test_ten_million_names_take_seconds():
    which = np.random.default_rng(0).integers(0, 4, 10_000_000)
    names = np.array([b"bash", b"sync", b"python3", b"<...>"], "S16")[which]
    text, begin = Text(), time.process_time()
    for piece in np.array_split(names, 100):
        text.append(piece)
    column = text.join(len(names))
    assert time.process_time() - begin < 10
    assert (column.astype("object")[:1000] == names[:1000].astype("U")).all()


def test_frames_while_another_thread_appends():
    columns, stop = Columns.of(EVENT, message=Strings()), threading.Event()

    def append():
        n = 0
        while not stop.is_set():
            columns.append(events([(n + i, n + i, b"c%d" % (n % 7)) for i in range(3)]), message=[b"m%d" % n] * 3)
            n += 3
        return n

    with ThreadPoolExecutor() as thread:
        appended = thread.submit(append)
        try:
            until = time.monotonic() + 1.5
            while time.monotonic() < until:
                frame = columns.to_frame()
                assert frame["pid"].tolist() == list(range(len(frame)))
                assert frame["comm"].tolist() == [f"c{n // 3 * 3 % 7}" for n in range(len(frame))]
                assert frame["message"].tolist() == [f"m{n // 3 * 3}" for n in range(len(frame))]
        finally:
            stop.set()
    assert len(columns.to_frame()) == appended.result() > 0


def test_an_interrupt_in_the_middle_of_a_frame_loses_nothing(monkeypatch):
    columns = Columns.of(EVENT)
    for n in range(5):
        columns.append(events([(n, n, b"x")]))
    real, left = np.concatenate, [2]

    def interrupted(pieces):
        left[0] -= 1
        if left[0] == 0:
            raise KeyboardInterrupt
        return real(pieces)

    monkeypatch.setattr(columns_module.np, "concatenate", interrupted)
    with pytest.raises(KeyboardInterrupt):
        columns.to_frame()
    monkeypatch.undo()
    columns.append(events([(5, 5, b"y")]))
    assert columns.to_frame().values.tolist() == [*([n, n, "x"] for n in range(5)), [5, 5, "y"]]


def test_memory_is_let_go_column_by_column():
    columns = Columns.of(np.dtype([(name, "u8") for name in "abcd"]))
    for _ in range(64):
        columns.append(np.zeros(10_000, [(name, "u8") for name in "abcd"]))
    import tracemalloc

    tracemalloc.start()
    frame = columns.to_frame()
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert isinstance(frame, pd.DataFrame) and peak < 1.05 * frame.memory_usage().sum()
