"""What the three collectors have in common, and the thread that drains a channel behind them.

A collector (`PerfOutput`, `RingBuffer`, `TracePipe`) knows how to make a *channel*; everything a learner touches is
here. A channel is a context manager that opens and closes what it reads from, and has

- ``wait(stop)``: sleep until something came, or some milliseconds passed, or the file descriptor ``stop`` is readable;
- ``drain()``: move what is there into ``table``; ``finish()``: the same for the last time, with the accounts closed;
- ``table``: has ``rows`` and ``to_frame()``; ``lost``: events lost so far, or None if that cannot be known;
- ``gone()``: whether nothing more can ever come; ``odd``: number of events of the wrong size, by size with padding;
- ``name``, ``clock``, ``advice``: words for messages and for ``df.attrs``.

All of it runs in the thread, because ■ (SIGINT, signal(7)) interrupts only the main thread of Python: a drain is never
torn, and whatever happens in the cell, the channel is closed. The few lines that ensure this in the main thread are
protected by `Patience`.
"""

import os
import sys
import threading
import time
import warnings
import weakref
from contextlib import suppress

from tqdm import tqdm

from helpers.collect.clocks import realtime_offset_ns
from helpers.collect.interrupts import Patience


class EventsLost(UserWarning):
    """Some events fired but were not received; the message says how many."""


warnings.simplefilter("always", EventsLost)


class Bar(tqdm):
    """A progress bar without the thread that tqdm would leave behind."""

    monitor_interval = 0


class Drain(threading.Thread):
    """Opens a channel, drains it until told to stop, drains it once more, closes it."""

    def __init__(self, channel):
        super().__init__(name=f"drain {channel.name}", daemon=True)
        self.channel = channel
        self.ready = self.finished = False
        self.error = None
        self.offset = realtime_offset_ns()
        self._stop_fd, self._stop_asked = None, False
        self._stop_lock = threading.Lock()

    def run(self):
        try:
            with self._stop_lock:
                self._stop_fd = os.eventfd(self._stop_asked)
            # The programs watched may keep every CPU busy: reading needs little, and must not wait for its turn.
            with suppress(PermissionError):
                os.setpriority(os.PRIO_PROCESS, threading.get_native_id(), -20)
            with self.channel as channel:
                self.ready = True
                stopping = False
                while not (stopping or channel.gone()):
                    stopping = channel.wait(self._stop_fd)
                    channel.drain()
                channel.finish()
                self.offset = realtime_offset_ns()
        except Exception as error:
            self.error = error
            self.channel.lost = None
        finally:
            self.finished = True
            with self._stop_lock:
                if self._stop_fd is not None:
                    os.close(self._stop_fd)
                self._stop_fd = None

    def stop(self):
        """Ask for the last drain, without waiting for it; may be called again, or before the thread runs."""
        with self._stop_lock:
            self._stop_asked = True
            if self._stop_fd is not None:
                os.eventfd_write(self._stop_fd, 1)


class Collector:
    """Collects events while a block runs, or until told to end; see `PerfOutput`, `RingBuffer`, `TracePipe`.

    >>> with PerfOutput(bpf["events"]) as events:
    ...     run_sync(times=5)
    >>> df = events.to_dataframe()

    Each ``with`` begins a new collection. Events that fire before it begins are not in it; all that fire before the
    block ends are. Interrupting the block (■, Ctrl-C) ends the collection; what has come by then makes the frame.
    """

    def __init__(self):
        self._drain = self._patience = self._forgotten = None
        self._frame = None

    def _channel(self):
        """A new channel for one collection."""
        raise NotImplementedError

    def __enter__(self):
        self._patience = Patience(Collector.__enter__, Collector.__exit__)
        try:
            self._finish()
            self._frame = None
            self._drain = Drain(self._channel())
            self._forgotten = weakref.finalize(self, self._drain.stop)
            self._drain.start()
            while not (self._drain.ready or self._drain.finished):
                time.sleep(0.0005)
            if self._drain.error:
                raise self._drain.error
            self._patience.let_through()
        except BaseException:
            self._finish()
            self._patience.end()
            raise
        return self

    def __exit__(self, kind, error, traceback):
        try:
            self._finish()
            if self._drain.error and (kind is None or issubclass(kind, KeyboardInterrupt)):
                raise self._drain.error
            self._say_what_is_missing()
        finally:
            self._patience.end()

    def _finish(self):
        """Wait for the last drain, however often ■ is pressed meanwhile."""
        if self._drain:
            self._drain.stop()
            while self._drain.ident and not self._drain.finished:
                time.sleep(0.0005)
            if self._drain.ident:
                self._drain.join()
        if self._forgotten:
            self._forgotten.detach()  # else it would keep the events of this collection beside those of the next

    def _say_what_is_missing(self):
        channel = self._drain.channel
        if self._drain.error:
            self._warn(f"{channel.name} was read only until {type(self._drain.error).__name__}: {self._drain.error}")
        elif self.lost is None:
            self._warn(f"events of {channel.name} may have been lost, and nobody counted them: {channel.advice}")
        elif self.lost:
            share = self.lost / (self.lost + self.received)
            self._warn(
                f"{self.lost:,} of {self.lost + self.received:,} events ({share:.2%}) were lost: {channel.advice}"
            )
        if channel.odd:
            sizes = ", ".join(f"{count:,} of up to {size} bytes" for size, count in channel.odd.items())
            problem = f"{channel.name}: {sizes} do not fit the event's struct of {channel.event_size} bytes"
            if not self.received:
                raise ValueError(problem + ". Declare the struct by hand, as a ctypes.Structure, and pass event=…")
            self._warn(problem + "; they are not in the frame")

    def _warn(self, message):
        warnings.warn(message, EventsLost, stacklevel=4)

    @property
    def received(self):
        """Events in the collection so far (int); grows while it runs."""
        return self._drain.channel.table.rows if self._drain else 0

    @property
    def lost(self):
        """Events that fired but could not be kept (int); exact once the collection has ended. None if it cannot be known."""
        return self._drain.channel.lost if self._drain else 0

    def collect(self, seconds=None, until=None):
        """Wait for events caused elsewhere, with a progress bar; returns the DataFrame of what came.

        >>> df = PerfOutput(bpf["events"]).collect(seconds=10)

        seconds: how long at most. until: a number of events, or a function without arguments that returns True when there
        are enough. With neither, until ■ is pressed. ■ ends it early and keeps what has come: the cell goes on.
        Inside a ``with`` block it waits as part of that collection; elsewhere it makes a collection of its own.
        """
        if until is not None and not callable(until) and not (isinstance(until, int) and until > 0):
            raise ValueError(f"until= must be a number of events or a function, not {until!r}")
        if seconds is not None and not seconds > 0:
            raise ValueError(f"seconds= must be above 0, not {seconds!r}")
        begin = time.monotonic()
        try:
            if self._drain and not self._drain.finished:
                self._watch(seconds, until)
            else:
                with self:
                    self._watch(seconds, until)
        except KeyboardInterrupt:
            print(f"■ stopped after {time.monotonic() - begin:.1f} s, with {self.received:,} events kept")
        return self.to_dataframe()

    def _watch(self, seconds, until):
        """Sleep until there are enough, and show the progress."""
        begin = time.monotonic()
        seen = sys.stdout.isatty() or type(sys.stdout).__module__.startswith("ipykernel")
        total = until if isinstance(until, int) else seconds
        layout = "{percentage:3.0f}% |{bar:30}| {desc}" if total else "{desc}"
        # A size, because tqdm would ask the terminal behind Jupyter for its own, which may have none and so no room.
        with Bar(
            total=total,
            desc=self._drain.channel.name,
            file=sys.stdout,
            disable=not seen,
            leave=False,
            bar_format=layout,
            ncols=80,
            nrows=20,
        ) as bar:
            while True:
                elapsed, received = time.monotonic() - begin, self.received
                bar.set_description_str(
                    f"{self._drain.channel.name}: {received:,} events, {elapsed:.1f} s", refresh=False
                )
                bar.n = min(received if total is until else elapsed, total or 0)
                bar.refresh()
                if seconds is not None and elapsed >= seconds:
                    return
                if until() if callable(until) else until is not None and received >= until:
                    return
                if self._drain.error:
                    raise self._drain.error
                if self._drain.finished:
                    print(f"{self._drain.channel.name} has ended: its BPF object was cleaned up")
                    return
                left = 0.1 if seconds is None else seconds - elapsed
                time.sleep(max(0, min(0.1 if seen else 0.02, left)))

    def to_dataframe(self):
        """The events as a DataFrame: one row per event, one typed column per field; also while the collection runs.

        ``df.attrs`` says what the numbers are worth: ``source``, ``lost`` (int, or None if it cannot be known),
        ``clock`` of its times, ``kernel`` (its release) and ``realtime_offset_ns``, which `wall_clock` uses.
        Changing the frame does not change the collection. Without events the columns and dtypes are the same.
        """
        channel = self._drain.channel if self._drain else self._channel()
        if self._frame is None or len(self._frame) != channel.table.rows:
            self._frame = channel.table.to_frame()
        self._frame.attrs = {
            "source": channel.name,
            "lost": channel.lost,
            "clock": channel.clock,
            "kernel": os.uname().release,
            "realtime_offset_ns": self._drain.offset if self._drain else realtime_offset_ns(),
        }
        return self._frame.copy(deep=False)

    def __repr__(self):
        state = "collecting" if self._drain and not self._drain.finished else "idle"
        return f"<{type(self).__name__}, {state}: {self.received:,} received, {self.lost} lost>"
