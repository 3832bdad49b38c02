"""The lines of trace_pipe to a DataFrame.

``bpf_trace_printk()`` writes into the kernel's trace buffer, which all programs share; reading the file ``trace_pipe``
takes the lines out. A line looks like this, its task name 16 characters wide (kernel documentation, trace/ftrace)::

              bash-1234    [001] d..21  5678.901234: bpf_trace_printk: Hello World!
"""

import errno
import os
import re
import time
from contextlib import ExitStack
from pathlib import Path
from typing import Any, NamedTuple, Self

import numpy as np
from numpy.typing import NDArray

from helpers.collect.collection import Collector, FileDescriptor, readable
from helpers.collect.columns import Columns, Strings, Text
from helpers.collect.tracefs import tracefs
from helpers.language import tr

PAUSE_MS, NAME_TRIES = 10, 10
NO_NAME = b"<...>".rjust(16)
# How much is read at once: as much as stays in a CPU's cache while it is taken apart.
READ_BYTES = 1 << 18
BLANK = 240

HEADER = re.compile(
    rb"(?P<task>.{16})-(?P<tid>\d+ *) (?:\([ \d-]{7}\) )?\[(?P<cpu>\d+)\] (?:(?P<flags>\S+) )?"
    rb"(?P<seconds> *\d+)\.(?P<micros>\d{6}): (?:(?P<function>[^\s:]+)(?:: ?| (?=<-)))?(?P<message>.*)",
    re.DOTALL,
)
LOST = re.compile(rb"CPU:\d+ \[LOST (?:(\d+) )?EVENTS\]")
FIELDS = np.dtype(
    [("task", "S16"), ("tid", "i4"), ("cpu", "i2"), ("flags", "S8"), ("time_ns", "i8"), ("function", "S64")]
)


class TracePipe(Collector):
    """Collect the lines that BPF programs write with ``bpf_trace_printk()``.

    >>> with TracePipe() as lines:
    ...     run_sync(times=5)
    >>> lines.to_dataframe()

    A collection begins with an empty trace buffer: older lines are thrown away. The columns:

    - task (category): name of the thread that ran into the probe; ``<...>`` if the kernel no longer knew it
    - tid (int32): its thread id, which the article and BCC call pid
    - cpu (int16), flags (category): where, and in what state (interrupts, preemption), as the kernel writes it
    - time_ns (int64): nanoseconds since boot, in steps of 1000, by CLOCK_MONOTONIC
    - function (category): who wrote the line: ``bpf_trace_printk`` for BPF programs (the kernel does not say which),
      ``tracing_mark_write`` for user space, the event's name for other tracepoints
    - message (str): the text; one that ends in a newline, or has several lines, is kept as it is

    While it runs, the trace clock is ``mono``, so that times compare with ``bpf_ktime_get_ns()``; otherwise the kernel
    uses ``local``, which drifts away from it. When the buffer is full the kernel drops the oldest lines and says how
    many.

    Raises:
        PermissionError: when a collection begins, without root.
        FileNotFoundError: without tracefs.
        OSError: (EBUSY) while somebody else reads trace_pipe, such as a BPF object whose ``trace_print()`` or
            ``trace_fields()`` was called: `detach_all`.
    """

    def __init__(self) -> None:
        super().__init__(Pipe)


class Pipe:
    """The channel of a `TracePipe`."""

    name = "trace_pipe"
    clock = tr("CLOCK_MONOTONIC, by the trace clock mono: nanoseconds since boot, time asleep left out")
    advice = tr("fire fewer events, or give the trace buffer more room (buffer_size_kb beside trace_pipe)")
    event_size = 0  # lines are as long as they are, and none is a misfit

    def __init__(self) -> None:
        self.columns = Columns.of(FIELDS, task=Text(clean=lambda task: task.lstrip(b" ")), message=Strings())
        self.lost: int | None = 0
        self.misfits: dict[int, int] = {}
        self._nameless: set[int] = set()

    def __enter__(self) -> Self:
        self._tracefs = tracefs()
        with ExitStack() as closing:
            self._fd = self._open()
            closing.callback(os.close, self._fd)
            size = self._file("buffer_size_kb").read_text()
            if "expanded" in size:
                # The kernel keeps its trace buffer tiny until somebody asks for the usual size.
                self._file("buffer_size_kb").write_text(size.partition("expanded:")[2].strip(" )\n"))
            clock = self._file("trace_clock").read_text().partition("[")[2].partition("]")[0]
            # Choosing a clock empties the buffer, as lines stamped by different clocks could not be put in order.
            self._file("trace_clock").write_text("mono")
            if clock != "mono":
                closing.callback(self._file("trace_clock").write_text, clock)
            self._closing = closing.pop_all()
        return self

    def __exit__(self, *error: object) -> None:
        self._closing.close()

    def _open(self) -> int:
        try:
            return os.open(self._file("trace_pipe"), os.O_RDONLY | os.O_NONBLOCK)
        except OSError as error:
            if error.errno == errno.EBUSY:
                error.strerror = tr(
                    "{error}: somebody else is reading trace_pipe. A BPF object does from its first "
                    "trace_print() or trace_fields() on, until it is cleaned up: detach_all()",
                    error=error.strerror,
                )
            raise

    def _file(self, name: str) -> Path:
        return self._tracefs / name

    def is_gone(self) -> bool:
        """Return False: the next line may always come."""
        return False

    def wait(self, stop: FileDescriptor) -> bool:
        """Return whether ``stop`` is readable, or sleep; see `Channel`."""
        # Not for the pipe: it would wake us for every line, and reading at the writer's heels slows the writer.
        return readable(stop, PAUSE_MS)

    def consume(self) -> None:
        """See `Channel`: a quarter of a megabyte of lines, or what there is."""
        self._consume()

    def _consume(self) -> int | None:
        """Return when the last line read was written (ns since boot); None when the pipe is empty or not to be read."""
        texts, size = list[bytes](), 0
        try:
            while size < READ_BYTES:
                texts.append(os.read(self._fd, 1 << 16))
                size += len(texts[-1])
        except BlockingIOError:
            pass
        text = b"".join(texts)
        found = parse(text)
        self._ask_for_names(found.fields)
        self.columns.append(found.fields, message=found.messages)
        self.lost = None if self.lost is None or found.lost is None else self.lost + found.lost
        if text and not found.messages and not LOST.search(text):
            self.lost = None
            self.advice = tr(
                "its lines have another format. Write 0 to options/latency-format and 1 to options/context-info, "
                "beside trace_pipe"
            )
        return int(found.fields["time_ns"][-1]) if size >= READ_BYTES and found.messages else None

    def _ask_for_names(self, fields: NDArray[Any]) -> None:
        """Fill in names that were read too early: the kernel notes a thread's name when it next leaves its CPU."""
        unknown = fields["task"] == NO_NAME
        threads = set(fields["tid"][unknown].tolist()) - self._nameless
        for _ in range(NAME_TRIES):
            if not threads:
                return
            time.sleep(PAUSE_MS / 1000)
            for line in self._file("saved_cmdlines").read_bytes().split(b"\n"):
                tid, _, name = line.partition(b" ")
                if tid.isdigit() and int(tid) in threads:
                    fields["task"][unknown & (fields["tid"] == int(tid))] = name
                    threads.remove(int(tid))
        self._nameless |= threads

    def finish(self) -> None:
        """See `Channel`: until the pipe is empty, or what comes is younger than this call."""
        now = time.monotonic_ns()
        while (self._consume() or now) < now:
            pass


class Lines(NamedTuple):
    """What `parse` found, line by line.

    Attributes:
        fields: structured array (n,) of FIELDS.
        messages: n texts.
        lost: number of lost events; None when the kernel did not say how many.
    """

    fields: NDArray[Any]
    messages: list[bytes]
    lost: int | None


def parse(text: bytes) -> Lines:
    """Take the text of trace_pipe apart.

    Nearly all lines have each field at the same place as the first one. They are taken apart together, column by
    column; the others one by one. A line without a header belongs to the message before it.

    Args:
        text: what read(2) gave; an unfinished line at its end is left out.

    Returns:
        The lines, in order.
    """
    lines = text.split(b"\n")[:-1]
    fields, messages, alike = _those_like_the_first(lines)
    whole, skip = alike.copy(), -1
    lost: int | None = 0
    last: int | None = None
    for row in np.flatnonzero(~alike).tolist():
        if row == skip:
            continue
        if row and whole[row - 1]:
            last = row - 1
        line = lines[row]
        match = HEADER.fullmatch(line)
        if not match and len(line) < 16 and row + 1 < len(lines):
            # The newline may be part of the task's name, which any program can choose for itself.
            match = HEADER.fullmatch(line + b"\n" + lines[row + 1])
            skip = row + 1 if match else -1
        if match:
            time_ns = int(match["seconds"]) * 10**9 + int(match["micros"]) * 1000
            tid, cpu, flags, function = int(match["tid"]), int(match["cpu"]), match["flags"], match["function"]
            fields[row] = (match["task"], tid, cpu, flags or b"", time_ns, function or b"")
            messages[row] = match["message"]
            whole[row], last = True, row
        elif loss := LOST.fullmatch(line):
            lost = None if lost is None or loss[1] is None else lost + int(loss[1])
        elif last is not None:
            messages[last] += b"\n" + line
    if not whole.all():
        fields, messages = fields[whole], [messages[row] for row in np.flatnonzero(whole).tolist()]
    return Lines(fields, messages, lost)


def _those_like_the_first(lines: list[bytes]) -> tuple[NDArray[Any], list[bytes], NDArray[np.bool_]]:
    """Return fields and messages of the lines like the first whole header, and which lines those are (bool array)."""
    fields = np.zeros(len(lines), FIELDS)
    headers = (match for match in map(HEADER.fullmatch, lines) if match and match["flags"] and match["function"])
    layout = next(headers, None)
    if layout is None:
        return fields, [b""] * len(lines), np.zeros(len(lines), bool)
    begin = layout.start("message")
    bytes_ = np.array(lines, f"S{begin}").view("u1").reshape(len(lines), begin)
    spans = [layout.span(name) for name in ("tid", "cpu", "seconds", "micros")]
    same, number = np.ones(begin, bool), np.zeros(begin, bool)
    for first, end in [layout.span("task"), layout.span("flags"), *spans]:
        same[first:end] = False
    for first, end in spans:
        number[first:end] = True
    # Digits become 0 to 9; a blank becomes 240, as bytes begin again at 256.
    digits = np.ascontiguousarray(bytes_.T[number]) - np.uint8(ord("0"))
    alike = (bytes_[:, same] == np.frombuffer(layout[0][:begin], "u1")[same]).all(1)
    alike &= ((digits < 10) | (digits == BLANK)).all(0)
    tid, cpu, seconds, micros = map(_number, np.split(digits, np.cumsum([end - first for first, end in spans])[:-1]))
    fields["task"] = np.ascontiguousarray(bytes_[:, :16]).view("S16")[:, 0]
    fields["tid"], fields["cpu"], fields["function"] = tid, cpu, layout["function"]
    flags = np.ascontiguousarray(bytes_[:, slice(*layout.span("flags"))])
    fields["flags"] = flags.view(f"S{flags.shape[1]}")[:, 0]
    fields["time_ns"] = seconds * 10**9 + micros * 1000
    return fields, [line[begin:] for line in lines], alike


def _number(digits: NDArray[np.uint8]) -> NDArray[np.int64]:
    """Return decimal numbers (int64) from their digits, a row for each place; blanks before or after do not count."""
    value = np.zeros(digits.shape[1], "i8")
    for digit in digits:
        value = np.where(digit == BLANK, value, value * 10 + digit)
    return value
