"""Events into columns as they come, and the columns into a DataFrame when asked.

Text is the reason for this module: ten million rows of ``char comm[16]`` are ten million Python strings, or a few
distinct names and a small number for each row. So text is kept as such numbers from the first drain on.
"""

import numpy as np
import pandas as pd


class Columns:
    """Columns that grow by whole arrays of events; their dtypes come from the struct.

    >>> columns = Columns(np.dtype([("pid", "u4"), ("comm", "S16")]))
    >>> columns.append(events)                # a structured array of that dtype: copied
    >>> columns.to_frame()

    One thread may append while another makes frames.
    """

    def __init__(self, dtype, cpu=False):
        """dtype: of the events. cpu: add an int16 column ``cpu``, given with each `append`."""
        self.rows = 0
        self._columns = {}
        for name in dtype.names:
            kind = dtype[name]
            self._columns[name] = Text() if kind.kind == "S" else Numbers(kind.newbyteorder("="))
        self._cpu = Numbers(np.dtype("int16")) if cpu else None

    def append(self, events, cpu=None):
        """Copy a structured array of n events; ``cpu`` is the number of the CPU they all come from."""
        for name, column in self._columns.items():
            column.append(events[name])
        if self._cpu is not None:
            self._cpu.append(np.full(len(events), cpu))
        self.rows += len(events)

    def to_frame(self):
        """A DataFrame of the events so far, its columns in the order of the struct's fields, then ``cpu``.

        Each column is joined by itself and its pieces are let go before the next one, so that memory never holds the
        events twice.
        """
        rows = self.rows
        joined = {name: column.join(rows) for name, column in self._columns.items()}
        if self._cpu is not None:
            joined["cpu"] = self._cpu.join(rows)
        return pd.DataFrame(joined, copy=False)


class Numbers:
    """A column of one NumPy dtype, kept as a list of arrays."""

    def __init__(self, dtype):
        self.dtype = dtype
        self._pieces = [np.empty(0, dtype)]

    def append(self, values):
        self._pieces.append(values.astype(self.dtype))

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

    def __init__(self):
        self._codes = Numbers(np.dtype("int32"))
        self._code_of = {}

    def append(self, values):
        first, codes = distinct(np.ascontiguousarray(values))
        known = [self._code_of.setdefault(text_of(raw), len(self._code_of)) for raw in values[first].tolist()]
        self._codes.append(np.array(known, "int32")[codes])

    def join(self, rows):
        """A Categorical of the first ``rows`` values, categories in alphabetical order."""
        codes = self._codes.join(rows)
        texts = list(self._code_of)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        rank = np.empty(len(texts), np.min_scalar_type(-len(texts) - 1))
        rank[order] = np.arange(len(texts))
        return pd.Categorical.from_codes(rank[codes], pd.Index([texts[i] for i in order], dtype="str"))


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
