"""What the three collectors have in common, and the thread that reads a channel behind them.

A collector (`PerfOutput`, `RingBuffer`, `TracePipe`) knows how to make a `Channel`; everything a learner touches is
here. Each ``with`` is one `Collection`: a new channel, a thread that reads it, and what came.

The channel is opened, read and closed in that thread, because ■ (SIGINT, signal(7)) interrupts only the main thread of
Python: no read is ever torn, and whatever happens in the cell, the channel is closed. The few lines that ensure this
in the main thread are protected by `DeferredInterrupt`.
"""

import os
import select
import sys
import threading
import time
import warnings
import weakref
from collections.abc import Callable, Iterator
from contextlib import suppress
from numbers import Integral
from queue import SimpleQueue
from typing import Any, Protocol, Self, TypeAlias

import pandas as pd
from tqdm import tqdm

from helpers.collect.clocks import realtime_offset_ns
from helpers.collect.columns import Columns
from helpers.collect.interrupts import DeferredInterrupt
from helpers.language import tr

FileDescriptor: TypeAlias = int


class EventsLost(UserWarning):
    """Some events fired but were not received; the message says how many."""


warnings.simplefilter("always", EventsLost)


class Channel(Protocol):
    """Where the events of one collection come from; a context manager that opens and closes it.

    Attributes:
        name: for messages, and ``df.attrs["source"]``.
        clock: what the events' times count, for ``df.attrs["clock"]``.
        advice: what to do about lost events, the end of a sentence.
        event_size: bytes of the struct of the events; 0 when they have none.
        columns: the events received so far.
        lost: events lost so far, exact after `finish`; None if that cannot be known.
        misfits: number of events whose size is not that of the struct, by size in bytes (with padding).
    """

    name: str
    clock: str
    advice: str
    event_size: int
    columns: Columns
    lost: int | None
    misfits: dict[int, int]

    def __enter__(self) -> Self:
        """Open what is read. Events that fire from now on belong to the collection."""

    def __exit__(self, *error: object) -> None:
        """Close it."""

    def is_gone(self) -> bool:
        """Whether nothing more can ever come."""

    def wait(self, stop: FileDescriptor) -> bool:
        """Sleep until something came, or some milliseconds passed, or ``stop`` is readable; return whether it is."""

    def consume(self) -> None:
        """Move what is there into ``columns``."""

    def finish(self) -> None:
        """Consume all that fired before this call, and close the accounts."""


def readable(fd: FileDescriptor, timeout_ms: int) -> bool:
    """Return whether a file descriptor is readable, waiting for it by poll(2).

    Args:
        fd: the file descriptor.
        timeout_ms: how long to wait at most, in milliseconds.
    """
    poll = select.poll()
    poll.register(fd, select.POLLIN)
    return bool(poll.poll(timeout_ms))


class Collection(threading.Thread):
    """What one run of a collector holds; and the thread that opens its channel, consumes until told to stop, closes it.

    Attributes:
        channel: where the events come from.
        is_open: whether it is running; false before and after.
        error: what ended the reading early.
        offset_ns: nanoseconds from CLOCK_MONOTONIC to CLOCK_REALTIME, measured at the end (until then: the beginning).
    """

    def __init__(self, channel: Channel, owner: "Collector") -> None:
        super().__init__(name=f"collect {channel.name}", daemon=True)
        self.channel = channel
        self.is_open = False
        self.error: Exception | None = None
        self.offset_ns = realtime_offset_ns()
        self._frame: pd.DataFrame | None = None
        self._opened: SimpleQueue[Exception | None] = SimpleQueue()
        self._stop_fd: FileDescriptor | None = None
        self._stop_asked = False
        self._stop_lock = threading.Lock()
        self._forgotten = weakref.finalize(owner, self.stop)

    def begin(self) -> None:
        """Start the thread, and wait until the channel is open. Raises what kept it from opening."""
        self.start()
        if error := self._opened.get():
            raise error

    def run(self) -> None:
        """The thread."""
        try:
            with self._stop_lock:
                self._stop_fd = os.eventfd(self._stop_asked)
            # The programs watched may keep every CPU busy: reading needs little, and must not wait for its turn.
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
            with self.channel as channel:
                self.is_open = True
                self._opened.put(None)
                stopping = False
                while not (stopping or channel.is_gone()):
                    stopping = channel.wait(self._stop_fd)
                    channel.consume()
                channel.finish()
                self.offset_ns = realtime_offset_ns()
        except Exception as error:
            self.error = error
            self.channel.lost = None
        finally:
            self.is_open = False
            self._opened.put(self.error)
            with self._stop_lock:
                if self._stop_fd is not None:
                    os.close(self._stop_fd)
                self._stop_fd = None

    def stop(self) -> None:
        """Ask for the end, without waiting for it; may be called again, or before the thread runs."""
        with self._stop_lock:
            self._stop_asked = True
            if self._stop_fd is not None:
                os.eventfd_write(self._stop_fd, 1)

    def end(self) -> None:
        """Stop, and wait until the last events are in and the channel is closed."""
        self.stop()
        if self.ident:
            self.join()
        self._forgotten.detach()  # else it would keep these events beside those of the next collection

    def shortfall(self, may_raise: bool) -> Iterator[str]:
        """What is missing in this collection.

        Args:
            may_raise: whether an error may be raised, as the block has none of its own.

        Yields:
            A sentence for each thing.

        Raises:
            ValueError: not one event has the size of the struct.
        """
        channel, received = self.channel, self.channel.columns.rows
        if self.error:
            error = f"{type(self.error).__name__}: {self.error}"
            yield tr("{name} was read only until {error}", name=channel.name, error=error)
        elif channel.lost is None:
            yield tr(
                "events of {name} may have been lost, and nobody counted them: {advice}",
                name=channel.name,
                advice=channel.advice,
            )
        elif channel.lost:
            fired = channel.lost + received
            yield tr(
                "{lost:,} of {fired:,} events ({share:.2%}) were lost: {advice}",
                lost=channel.lost,
                fired=fired,
                share=channel.lost / fired,
                advice=channel.advice,
            )
        if channel.misfits:
            sizes = ", ".join(
                tr("{count:,} of up to {size} bytes", count=count, size=size) for size, count in channel.misfits.items()
            )
            problem = tr(
                "{name}: {sizes} do not fit the event's struct of {bytes} bytes",
                name=channel.name,
                sizes=sizes,
                bytes=channel.event_size,
            )
            if not received and may_raise:
                raise ValueError(
                    tr(
                        "{problem}. Declare the struct by hand, as a ctypes.Structure, and pass event=…",
                        problem=problem,
                    )
                )
            yield tr("{problem}; they are not in the frame", problem=problem)

    def to_dataframe(self) -> pd.DataFrame:
        """Return the events so far; see `Collector.to_dataframe`."""
        channel = self.channel
        if self._frame is None or len(self._frame) != channel.columns.rows:
            self._frame = channel.columns.to_frame()
        self._frame.attrs = {
            "source": channel.name,
            "lost": channel.lost,
            "clock": channel.clock,
            "kernel": os.uname().release,
            "realtime_offset_ns": self.offset_ns,
        }
        return self._frame.copy(deep=False)


class Collector:
    """Collects events while a block runs, or until told to end; see `PerfOutput`, `RingBuffer`, `TracePipe`.

    >>> with PerfOutput(bpf["events"]) as events:
    ...     run_sync(times=5)
    >>> df = events.to_dataframe()

    Each ``with`` begins a new collection. Events that fire before it begins are not in it; all that fire before the
    block ends are. Interrupting the block (■, Ctrl-C) ends the collection; what has come by then makes the frame.
    """

    def __init__(self, new_channel: Callable[[], Channel]) -> None:
        self.new_channel = new_channel
        self._collection = Collection(new_channel(), self)  # without events, until the first one begins

    def __enter__(self) -> Self:
        self._interrupt = DeferredInterrupt(Collector.__enter__, Collector.__exit__)
        try:
            self._collection.end()
            self._collection = Collection(self.new_channel(), self)
            self._collection.begin()
            self._interrupt.deliver()
        except BaseException:
            self._collection.end()
            self._interrupt.end()
            raise
        return self

    def __exit__(self, kind: type[BaseException] | None, *error: object) -> None:
        try:
            self._collection.end()
            may_raise = kind is None or issubclass(kind, KeyboardInterrupt)
            if self._collection.error and may_raise:
                raise self._collection.error
            for message in self._collection.shortfall(may_raise):
                warnings.warn(message, EventsLost, stacklevel=2)
        finally:
            self._interrupt.end()

    @property
    def received(self) -> int:
        """Number of events in the collection so far; grows while it runs."""
        return self._collection.channel.columns.rows

    @property
    def lost(self) -> int | None:
        """Number of events that fired but could not be kept, exact once the collection has ended; None if unknown."""
        return self._collection.channel.lost

    def collect(self, seconds: float | None = None, until: int | Callable[[], Any] | None = None) -> pd.DataFrame:
        """Wait for events caused elsewhere, with a progress bar.

        >>> df = PerfOutput(bpf["events"]).collect(seconds=10)

        With neither argument it waits until ■ is pressed. ■ ends it early and keeps what has come: the cell goes on.
        Inside a ``with`` block it waits as part of that collection; elsewhere it makes a collection of its own.

        Args:
            seconds: how long at most, in seconds.
            until: a number of events, or a function without arguments that returns True when there are enough.

        Returns:
            The events, as from `to_dataframe`.

        Raises:
            ValueError: ``seconds`` or ``until`` is not above 0.
        """
        if isinstance(until, Integral):
            until = int(until)  # what pandas counts is NumPy's
        if until is not None and not callable(until) and not (isinstance(until, int) and until > 0):
            raise ValueError(tr("until= must be a number of events or a function, not {until!r}", until=until))
        if seconds is not None and not seconds > 0:
            raise ValueError(tr("seconds= must be above 0, not {seconds!r}", seconds=seconds))
        begin = time.monotonic()
        try:
            if self._collection.is_open:
                self._watch(seconds, until)
            else:
                with self:
                    self._watch(seconds, until)
        except KeyboardInterrupt:
            took, kept = time.monotonic() - begin, self.received
            print(tr("■ stopped after {took:.1f} s, with {kept:,} events kept", took=took, kept=kept))
        return self.to_dataframe()

    def _watch(self, seconds: float | None, until: int | Callable[[], Any] | None) -> None:
        """Sleep until there are enough, and show the progress."""
        collection, begin = self._collection, time.monotonic()
        name = collection.channel.name
        seen = sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
        total = until if isinstance(until, int) else seconds
        with Bar(total, name, seen) as bar:
            while True:
                elapsed, received = time.monotonic() - begin, self.received
                values: dict[str, object] = {"name": name, "received": received, "elapsed": elapsed}
                bar.set_description_str(tr("{name}: {received:,} events, {elapsed:.1f} s", **values), refresh=False)
                bar.n = min(received if total is until else elapsed, total or 0)
                bar.refresh()
                if seconds is not None and elapsed >= seconds:
                    return
                if until() if callable(until) else until is not None and received >= until:
                    return
                if not collection.is_open:
                    if collection.error:
                        raise collection.error
                    print(tr("{name} has ended: its BPF object was cleaned up", name=name))
                    return
                left = 0.1 if seconds is None else seconds - elapsed
                time.sleep(max(0, min(0.1 if seen else 0.02, left)))

    def to_dataframe(self) -> pd.DataFrame:
        """The events as a DataFrame; also while the collection runs.

        ``df.attrs`` says what the numbers are worth: ``source``, ``lost`` (int, or None if it cannot be known),
        ``clock`` of its times, ``kernel`` (its release) and ``realtime_offset_ns``, which `wall_clock` uses.
        Changing the frame does not change the collection.

        Returns:
            One row per event, one typed column per field; without events the columns and dtypes are the same.
        """
        return self._collection.to_dataframe()

    def __repr__(self) -> str:
        state = tr("collecting") if self._collection.is_open else tr("idle")
        values = {"name": type(self).__name__, "state": state, "received": self.received, "lost": self.lost}
        return tr("<{name}, {state}: {received:,} received, {lost} lost>", **values)


class Bar(tqdm):  # type: ignore[misc]
    """A progress bar without the thread that tqdm would leave behind.

    Args:
        total: events or seconds at its end; None when nobody knows.
        name: of the channel.
        seen: whether there is anybody to see it.
    """

    monitor_interval = 0

    def __init__(self, total: float | None, name: str, seen: bool) -> None:
        layout = "{percentage:3.0f}% |{bar:30}| {desc}" if total else "{desc}"
        # A size, because tqdm would ask the terminal behind Jupyter for its own, which may have none and so no room.
        size = {"ncols": 80, "nrows": 20}
        super().__init__(
            total=total, desc=name, file=sys.stdout, disable=not seen, leave=False, bar_format=layout, **size
        )
