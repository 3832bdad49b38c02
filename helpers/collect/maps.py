"""Any BPF map to a DataFrame: `read_map(bpf["counts"])`.

A map is a result that waits in the kernel until somebody asks. It is read as a whole, by bpf(2) BPF_MAP_LOOKUP_BATCH: a
million entries in a few system calls, and no Python for each of them.
"""

import ctypes
import os
import time
import warnings
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from helpers.collect.bcc_internals import BATCH, HASH, PERCPU_HASH, map_entries, map_layout
from helpers.collect.clocks import BPF_CLOCK, realtime_offset_ns
from helpers.collect.columns import Text
from helpers.collect.records import dtype_of
from helpers.language import tr


class MapFull(UserWarning):
    """A hash has as many keys as it has room for: others may have been refused; the message says how many fit."""


warnings.simplefilter("always", MapFull)


def read_map(table: Any, *, per_cpu: bool = False) -> pd.DataFrame:
    """Read a BCC table of any kind that has keys and values: hash, array, histogram, LRU, per CPU, LPM trie.

    >>> read_map(bpf["calls"]).sort_values("value")

    The fields of a struct are columns under their names in C, flattened as those of an event are (`records.dtype_of`);
    a plain key is the column ``key``, a plain value the column ``value``. Where key and value have a field of the same
    name, the value's is ``value.NAME``. Numbers keep width and sign, ``char comm[16]`` is a category. An empty map has
    the same columns and dtypes.

    ``df.attrs`` says what the numbers are worth: ``source``; ``read_begin_ns`` and ``read_end_ns``, between which the
    entries were read (``clock``: nanoseconds since boot); ``snapshot``: that it is none, as a program that goes on
    meanwhile may have changed one entry after it was read, and another one before; ``max_entries``, the number of keys
    that there is room for; ``kernel`` (its release) and ``realtime_offset_ns``, which `wall_clock` uses.

    Args:
        table: what ``bpf["NAME"]`` gives.
        per_cpu: of a map with a value for each CPU, make a column for each, ``value.cpu0``, … instead of their sum,
            which is 64 bits wide.

    Returns:
        A row for each entry, the columns of the key first; an array's in the order of its index, others in no order.

    Raises:
        TypeError: no such table; or a field that cannot be a column, or not be summed.
        ValueError: the BPF object was cleaned up.
        OSError: the kernel refused to read the map.
    """
    layout = map_layout(table)
    key, value = _dtype(layout.key, "key"), _dtype(layout.value, "value")
    cpus = len(layout.cpus) if layout.cpus else 1
    size = -(-value.itemsize // 8) * 8 if layout.cpus else value.itemsize  # the kernel pads each CPU's value
    begin = time.monotonic_ns()
    rows, keys, values = map_entries(layout.fd, key.itemsize, size * cpus, min(BATCH, layout.max_entries + 1))
    end = time.monotonic_ns()
    columns = _fields(np.ndarray(rows, key, keys))
    for name, each in _fields(np.ndarray((rows, cpus), value, values, strides=(size * cpus, size))).items():
        name = f"value.{name}" if name in columns else name
        if layout.cpus and per_cpu:
            columns |= {f"{name}.cpu{cpu}": each[:, place] for place, cpu in enumerate(layout.cpus)}
        else:
            columns[name] = _sum(name, each) if layout.cpus else each[:, 0]
    df = pd.DataFrame({name: _column(each) for name, each in columns.items()}, copy=False)
    df.attrs = {
        "source": f"map {layout.name}",
        "read_begin_ns": begin,
        "read_end_ns": end,
        "snapshot": tr("no: one entry after the other, while the program went on"),
        "max_entries": layout.max_entries,
        "clock": BPF_CLOCK,
        "kernel": os.uname().release,
        "realtime_offset_ns": realtime_offset_ns(),
    }
    if layout.kind in (HASH, PERCPU_HASH) and rows >= layout.max_entries:
        warnings.warn(
            tr(
                "map {name} is full: it has room for {rows:,} keys, and a new one is refused. "
                "Declare a larger one: the last argument of BPF_HASH(…)",
                name=layout.name,
                rows=rows,
            ),
            MapFull,
            stacklevel=2,
        )
    return df


def _dtype(kind: type[Any], plain: str) -> "np.dtype[Any]":
    """Return the structured dtype of keys or values; what is no struct is one with the field `plain`."""
    if not issubclass(kind, (ctypes.Structure, ctypes.Union)):
        kind = type(plain, (ctypes.Structure,), {"_fields_": [(plain, kind)]})
    return dtype_of(kind)


def _fields(array: NDArray[Any]) -> dict[str, NDArray[Any]]:
    """Return the fields of a structured array, without those that BCC puts where C leaves room."""
    return {name: array[name] for name in array.dtype.names or () if not name.startswith("__pad_")}


def _sum(name: str, each: NDArray[Any]) -> NDArray[Any]:
    """Return the sums of n values over their CPUs (n × CPUs): uint64, int64 or float64.

    Raises:
        TypeError: they are text.
    """
    if each.dtype.kind == "S":
        raise TypeError(tr("{name!r} is text, which has no sum over the CPUs: read_map(…, per_cpu=True)", name=name))
    return each.sum(axis=1)  # type: ignore[no-any-return]


def _column(values: NDArray[Any]) -> Any:
    """Return n values as pandas keeps them: text as a Categorical, numbers as an array of their own."""
    if values.dtype.kind != "S":
        return np.ascontiguousarray(values, values.dtype.newbyteorder("="))
    text = Text()
    text.append(values)
    return text.join(len(values))
