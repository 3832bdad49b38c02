"""Events into columns as they come, and the columns into a DataFrame when asked.

Text is the reason for this module: ten million rows of ``char comm[16]`` are ten million Python strings, or a few
distinct names and a small number for each row. So text is kept as such numbers from the beginning.
"""

import mmap
from collections.abc import Callable, Mapping, Sequence
from itertools import chain, islice
from typing import Any, Protocol, Self

import numpy as np
import pandas as pd
from numpy.typing import DTypeLike, NDArray

BLOCK_BYTES = 1 << 20


class Column(Protocol):
    """What `Columns` asks of each of its columns."""

    def append(self, values: Any) -> None:
        """Copy values, one for each event."""

    def join(self, rows: int) -> Any:
        """Return one array.

        Args:
            rows: number of values, from the first on.
        """


class Columns:
    """Columns that grow by whole arrays of events.

    >>> columns = Columns.of(np.dtype([("pid", "u4"), ("comm", "S16")]))
    >>> columns.append(events)                # a structured array of that dtype: copied
    >>> columns.to_frame()

    One thread may append while another makes frames.
    """

    def __init__(self, columns: Mapping[str, Column]) -> None:
        """The columns by name: `Numbers`, `Text` or `Strings`."""
        self.rows = 0
        self._columns = columns

    @classmethod
    def of(cls, dtype: "np.dtype[Any]", **more: Column) -> Self:
        """Columns for events.

        Args:
            dtype: structured dtype of the events; a column for each field, in its order.
            **more: columns by name, instead of a field's or behind them all.

        Returns:
            Columns without rows.
        """
        plain: dict[str, Column] = {
            name: Text() if dtype[name].kind == "S" else Numbers(dtype[name]) for name in dtype.names or ()
        }
        return cls(plain | more)

    def append(self, events: NDArray[Any], **more: Sequence[Any] | NDArray[Any]) -> None:
        """Copy n events: a structured array of them, and ``more`` columns (n values each) by name."""
        if not len(events):
            return
        for name, column in self._columns.items():
            column.append(more[name] if name in more else events[name])
        self.rows += len(events)

    def to_frame(self) -> pd.DataFrame:
        """A DataFrame of the events so far.

        Each column is joined by itself and its pieces are let go before the next one, so that memory never holds the
        events twice.

        Returns:
            A frame of ``rows`` rows: NumPy dtypes for `Numbers`, ``category`` for `Text`, ``str`` for `Strings`.
        """
        rows = self.rows
        return pd.DataFrame({name: column.join(rows) for name, column in self._columns.items()}, copy=False)


class Numbers:
    """A column of one NumPy dtype (in the machine's byte order), kept as a list of arrays."""

    def __init__(self, dtype: DTypeLike) -> None:
        self.dtype = np.dtype(dtype).newbyteorder("=")
        self._pieces: list[NDArray[Any]] = [np.empty(0, self.dtype)]
        self._room = self._pieces[0]

    def append(self, values: NDArray[Any]) -> None:
        """Copy values (1-d array, of this dtype but for its byte order)."""
        count = len(values)
        if count > len(self._room):
            # Pages of its own, so that they go back to the kernel with the last piece in them; a heap would keep them.
            size = max(BLOCK_BYTES, count * self.dtype.itemsize)
            self._room = np.frombuffer(mmap.mmap(-1, size, mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS), self.dtype)
        piece, self._room = self._room[:count], self._room[count:]
        piece[:] = values
        self._pieces.append(piece)

    def join(self, rows: int) -> NDArray[Any]:
        """Return an array (rows,) of this dtype, which replaces the pieces it is made of.

        An interrupt leaves either the pieces or the joined array, and a thread that appends is not disturbed.

        Args:
            rows: number of values, from the first on; they end where a piece ends.
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

    def __init__(self, clean: Callable[[bytes], bytes] = bytes) -> None:
        """With ``clean``, a function through which each distinct value goes first."""
        self._codes = Numbers("int32")
        self._code_of: dict[str, int] = {}
        self._clean = clean

    def append(self, values: NDArray[np.bytes_]) -> None:
        """Copy C strings (1-d array, dtype ``S``)."""
        first, codes = distinct(np.ascontiguousarray(values))
        texts = [text_of(self._clean(raw)) for raw in values[first].tolist()]
        known = [self._code_of.setdefault(text, len(self._code_of)) for text in texts]
        self._codes.append(np.array(known, "int32")[codes])

    def join(self, rows: int) -> pd.Categorical:
        """Return a Categorical, its categories in alphabetical order.

        Args:
            rows: number of values, from the first on.
        """
        codes = self._codes.join(rows)
        texts = list(self._code_of)
        order = sorted(range(len(texts)), key=texts.__getitem__)
        rank = np.empty(len(texts), np.min_scalar_type(-len(texts) - 1))
        rank[order] = np.arange(len(texts))
        return pd.Categorical.from_codes(rank[codes], pd.Index([texts[i] for i in order], dtype="str"))


class Strings:
    """A column of texts that may all differ (list of bytes, of any length)."""

    def __init__(self) -> None:
        self._values: list[list[str]] = []

    def append(self, values: Sequence[bytes]) -> None:
        """Copy texts, one for each event."""
        text = {raw: text_of(raw) for raw in set(values)}
        self._values.append([text[raw] for raw in values])

    def join(self, rows: int) -> Any:
        """Return a pandas array (dtype ``str``).

        Args:
            rows: number of values, from the first on.
        """
        return pd.array(list(islice(chain.from_iterable(self._values), rows)), dtype="str")


def text_of(raw: bytes) -> str:
    r"""Return the text of a C string: bytes up to the first NUL, as UTF-8. A byte that is not UTF-8 reads ``\xff``."""
    return raw.partition(b"\0")[0].decode("utf-8", "backslashreplace")


def distinct(values: NDArray[np.bytes_]) -> tuple[NDArray[np.int64], NDArray[np.int64]]:
    """The distinct values of an array of bytes.

    Takes time in proportion to n: values are compared through a 64-bit hash, which is checked; should two values share
    a hash, they are sorted instead.

    Args:
        values: contiguous array (n,) of dtype ``S``.

    Returns:
        first: index (int64) of one of each distinct value.
        codes: n indices (int64) into ``first``, so that ``values[first][codes]`` equals ``values``.
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
