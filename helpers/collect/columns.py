"""Events into columns as they come, and the columns into a DataFrame when asked.

Text is the reason for this module: ten million rows of ``char comm[16]`` are ten million Python strings, or a few
distinct names and a small number for each row. So text is kept as such numbers from the first drain on.
"""

import mmap
from itertools import chain, islice

import numpy as np
import pandas as pd

BLOCK = 1 << 20


class Columns:
    """Columns that grow by whole arrays of events.

    >>> columns = Columns.of(np.dtype([("pid", "u4"), ("comm", "S16")]))
    >>> columns.append(events)                # a structured array of that dtype: copied
    >>> columns.to_frame()

    One thread may append while another makes frames.
    """

    def __init__(self, columns):
        """columns: `Numbers`, `Text` or `Strings` by name."""
        self.rows = 0
        self._columns = columns

    @classmethod
    def of(cls, dtype, **more):
        """Columns for a structured dtype, in its order, and ``more`` columns by name (instead, or behind)."""
        plain = {name: Text() if dtype[name].kind == "S" else Numbers(dtype[name]) for name in dtype.names}
        return cls(plain | more)

    def append(self, events, **more):
        """Copy n events: a structured array of them, and ``more`` columns by name."""
        if not len(events):
            return
        for name, column in self._columns.items():
            column.append(more[name] if name in more else events[name])
        self.rows += len(events)

    def to_frame(self):
        """A DataFrame of the events so far.

        Each column is joined by itself and its pieces are let go before the next one, so that memory never holds the
        events twice.
        """
        rows = self.rows
        return pd.DataFrame({name: column.join(rows) for name, column in self._columns.items()}, copy=False)


class Numbers:
    """A column of one NumPy dtype (in the machine's byte order), kept as a list of arrays."""

    def __init__(self, dtype):
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self._pieces = [np.empty(0, self.dtype)]
        self._room = self._pieces[0]

    def append(self, values):
        count = len(values)
        if count > len(self._room):
            # Pages of its own, so that they go back to the kernel with the last piece in them; a heap would keep them.
            size = max(BLOCK, count * self.dtype.itemsize)
            self._room = np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), self.dtype)
        piece, self._room = self._room[:count], self._room[count:]
        piece[:] = values
        self._pieces.append(piece)

    def join(self, rows):
        """One array of the first ``rows`` values (they end where a piece ends). Replaces the pieces it is made of.

        An interrupt leaves either the pieces or the joined array, and a thread that appends is not disturbed.
        """
        count, found = 1, len(self._pieces[0])
        while found < rows:
            found += len(self._pieces[count])
            count += 1
        if count > 1:
            self._pieces[:count] = [np.concatenate(self._pieces[:count])]
        return self._pieces[0]


class Text:
    """A column of C strings (dtype ``S``): a code for each row, and the distinct texts."""

    def __init__(self, clean=bytes):
        """clean: what to do with the bytes of each distinct value first."""
        self._codes = Numbers("int32")
        self._code_of = {}
        self._clean = clean

    def append(self, values):
        first, codes = distinct(np.ascontiguousarray(values))
        texts = [text_of(self._clean(raw)) for raw in values[first].tolist()]
        known = [self._code_of.setdefault(text, len(self._code_of)) for text in texts]
        self._codes.append(np.array(known, "int32")[codes])

    def join(self, rows):
        """A Categorical of the first ``rows`` values, categories in alphabetical order."""
        codes = self._codes.join(rows)
        texts = list(self._code_of)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        rank = np.empty(len(texts), np.min_scalar_type(-len(texts) - 1))
        rank[order] = np.arange(len(texts))
        return pd.Categorical.from_codes(rank[codes], pd.Index([texts[i] for i in order], dtype="str"))


class Strings:
    """A column of texts that may all differ (list of bytes, of any length)."""

    def __init__(self):
        self._values = []

    def append(self, values):
        text = {raw: text_of(raw) for raw in set(values)}
        self._values.append([text[raw] for raw in values])

    def join(self, rows):
        """A pandas array (dtype ``str``) of the first ``rows`` values."""
        return pd.array(list(islice(chain.from_iterable(self._values), rows)), dtype="str")


def text_of(raw):
    """The text of a C string: bytes up to the first NUL, as UTF-8. A byte that is not UTF-8 reads ``\\xff``."""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def distinct(values):
    """The distinct values of an array of bytes: (first, codes), where ``values[first][codes]`` equals ``values``.

    values: contiguous, dtype ``S``, n of them. first: int64, one row for each distinct value; codes: int64, n of them.
    Takes time in proportion to n: values are compared through a 64-bit hash, which is checked; should two values share
    a hash (or the values be of a width that is no multiple of 8 bytes), they are sorted instead.
    """
    if len(values) == 0:
        return np.empty(0, "int64"), np.empty(0, "int64")
    width = values.dtype.itemsize
    if width % 8:
        values = values.astype(f"S{-(-width // 8) * 8}")
    words = values.view("u8").reshape(len(values), -1)
    if (words == words[0]).all():
        return np.zeros(1, "int64"), np.zeros(len(values), "int64")
    mixed = np.zeros(len(values), "u8")
    for word in words.T:
        mixed = (mixed ^ word) * np.uint64(0x9E3779B97F4A7C15)
        mixed ^= mixed >> np.uint64(29)
    codes, hashes = pd.factorize(mixed)
    first = np.empty(len(hashes), "int64")
    first[codes[::-1]] = np.arange(len(values))[::-1]
    if (words[first[codes]] == words).all():
        return first, codes
    _, first, codes = np.unique(values, return_index=True, return_inverse=True)
    return first, codes
