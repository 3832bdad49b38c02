"""The face of the collectors, on a channel that needs no kernel."""

import _thread
import gc
import io
import os
import re
import resource
import signal
import sys
import threading
import time
import warnings
import weakref
from types import SimpleNamespace

import numpy as np
import pytest

from helpers import detach_all
from helpers.collect.collection import Collector, EventsLost, readable
from helpers.collect.columns import Columns
from helpers.collect.interrupts import DeferredInterrupt
from tests.moments import moments, press

EVENT = np.dtype([("n", "i8"), ("comm", "S8")])


class HandFed:
    """A channel whose events the test puts in; fails where it is told to."""

    name, clock, advice, event_size = "by hand", "none", "do better", 16

    def __init__(self, fail=None):
        self.columns, self.lost, self.misfits = Columns.of(EVENT), 0, {}
        self.fail, self.waiting, self.closed, self.ended = fail, [], False, False

    def __enter__(self):
        if self.fail == "open":
            raise OSError("will not open")
        return self

    def __exit__(self, *error):
        self.closed = True

    def wait(self, stop):
        return readable(stop, 5)

    def is_gone(self):
        return self.ended

    def consume(self):
        if self.fail == "consume" and self.columns.rows >= 3:
            raise OSError("the reading broke")
        while self.waiting:
            self.columns.append(np.array([(self.waiting.pop(0), b"x")], EVENT))

    def finish(self):
        self.consume()


class Collect(Collector):
    def __init__(self, fail=None, kind=HandFed):
        self.made = made = []

        def new_channel():
            made.append(kind)
            return kind(fail)

        super().__init__(new_channel)

    @property
    def channel(self):
        return self._collection.channel

    @property
    def has_begun(self):
        return len(self.made) > 1

    def fire(self, *numbers):
        self.channel.waiting.extend(numbers)


@pytest.fixture(autouse=True)
def nothing_left_over():
    before = threading.active_count(), len(os.listdir("/proc/self/fd"))
    yield
    gc.collect()
    deadline = time.monotonic() + 20
    while (threading.active_count(), len(os.listdir("/proc/self/fd"))) != before and time.monotonic() < deadline:
        time.sleep(0.01)
    assert (threading.active_count(), len(os.listdir("/proc/self/fd"))) == before


def later(seconds, function, *arguments):
    timer = threading.Timer(seconds, function, arguments)
    timer.start()
    return timer


def press_stop(seconds):
    """What ■ does: SIGINT to this process."""
    return later(seconds, os.kill, os.getpid(), signal.SIGINT)


def test_no_file_descriptor_left():
    """The cell gets the kernel's words at once, and the next collection works."""
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, before[1]))
    try:
        with pytest.raises(OSError, match="Too many open files"):
            with Collect():
                pass
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, before)
    with Collect() as events:
        events.fire(1)
    assert events.received == 1


def test_events_of_the_block_are_all_there():
    with Collect() as events:
        events.fire(1, 2, 3)
    df = events.to_dataframe()
    assert df["n"].tolist() == [1, 2, 3] and events.received == 3 and events.lost == 0
    assert abs(df.attrs.pop("realtime_offset_ns") - (time.time_ns() - time.monotonic_ns())) < 10_000_000
    assert df.attrs == {"source": "by hand", "lost": 0, "clock": "none", "kernel": os.uname().release}


def test_usable_again_and_each_time_from_nothing():
    events = Collect()
    for n in range(3):
        with events:
            events.fire(n)
        assert events.to_dataframe()["n"].tolist() == [n]


def test_frames_while_it_runs():
    with Collect() as events:
        for n in range(3):
            events.fire(n)
            deadline = time.monotonic() + 20
            while events.received <= n and time.monotonic() < deadline:
                time.sleep(0.001)
            assert events.to_dataframe()["n"].tolist() == list(range(n + 1))


def test_before_the_first_collection():
    events = Collect()
    df = events.to_dataframe()
    assert len(df) == 0 and [str(kind) for kind in df.dtypes] == ["int64", "category"] and df.attrs["lost"] == 0
    assert repr(events) == "<Collect, idle: 0 received, 0 lost>"


def test_changing_the_frame_does_not_change_the_collection():
    with Collect() as events:
        events.fire(1, 2)
    df = events.to_dataframe()
    df.loc[0, "n"] = 99
    df["more"] = 1
    df.attrs["lost"] = 99
    again = events.to_dataframe()
    assert again["n"].tolist() == [1, 2] and list(again.columns) == ["n", "comm"] and again.attrs["lost"] == 0


def test_attrs_survive_the_usual_steps():
    with Collect() as events:
        events.fire(1, 2)
    df = events.to_dataframe()
    by_one_step = df.head(1), df[df["n"] > 1], df.copy(), df.assign(m=1), df.sort_values("n"), df.drop(columns="n")
    for next_frame in by_one_step:
        assert next_frame.attrs == df.attrs


# ---- collect()


def test_collect_for_some_seconds():
    events = Collect()
    begin = time.monotonic()
    df = events.collect(seconds=0.2)
    assert 0.2 <= time.monotonic() - begin < 10 and len(df) == 0


@pytest.mark.parametrize("until", [5, np.int64(5)])
def test_collect_until_a_number_of_events(until):
    with Collect() as events:
        timers = [later(0.02 * n, events.fire, n) for n in range(5)]
        df = events.collect(until=until)
        assert len(df) == 5
        [timer.join() for timer in timers]


def test_collect_until_a_function_says_so():
    asked = []
    Collect().collect(until=lambda: asked.append(1) or len(asked) == 3, seconds=60)
    assert len(asked) == 3


def test_collect_seconds_come_first():
    assert len(Collect().collect(seconds=0.05, until=10)) == 0


@pytest.mark.parametrize("wrong", [{"until": 0}, {"until": "5"}, {"seconds": 0}, {"seconds": -1}])
def test_collect_with_wrong_arguments(wrong):
    with pytest.raises(ValueError, match="seconds=|until="):
        Collect().collect(**wrong)


def test_an_error_in_until_ends_the_collection():
    events = Collect()
    with pytest.raises(ZeroDivisionError):
        events.collect(until=lambda: 1 / 0)
    assert events.channel.closed


def test_quiet_when_nobody_watches(capsys):
    Collect().collect(seconds=0.05)
    assert capsys.readouterr() == ("", "")


def test_progress_where_somebody_watches(monkeypatch):
    class Terminal(io.StringIO):
        def isatty(self):
            return True

    monkeypatch.setattr(sys, "stdout", Terminal())
    Collect().collect(seconds=0.15)
    assert "by hand" in sys.stdout.getvalue() and "0 events" in sys.stdout.getvalue()


def test_the_end_of_the_bpf_object_ends_it(capsys):
    with Collect() as events:
        events.fire(1)
        timer = later(0.05, setattr, events.channel, "ended", True)
        df = events.collect(seconds=10)
        timer.join()
    assert df["n"].tolist() == [1] and "cleaned up" in capsys.readouterr().out


# ---- ■


def test_stop_in_the_block_keeps_what_came():
    events = Collect()
    with pytest.raises(KeyboardInterrupt):
        with events:
            events.fire(1, 2)
            timer = press_stop(0.1)
            time.sleep(5)
    timer.join()
    assert events.to_dataframe()["n"].tolist() == [1, 2] and events.channel.closed


def test_stop_in_collect_lets_the_cell_go_on(capsys):
    events = Collect()
    with events:
        events.fire(1, 2)
        timer = press_stop(0.1)
        df = events.collect(seconds=10)
    timer.join()
    assert df["n"].tolist() == [1, 2]
    assert re.fullmatch(r"■ stopped after \d\.\d s, with 2 events kept\n", capsys.readouterr().out)


def test_stop_in_a_collect_of_its_own(capsys):
    events = Collect()
    timer = press_stop(0.1)
    assert len(events.collect()) == 0
    timer.join()
    assert "■ stopped" in capsys.readouterr().out and events.channel.closed


def test_stop_at_any_time():
    """Two hundred times, from before the block to after it: nothing hangs, leaks, or gets lost."""
    rng = np.random.default_rng(4)
    for delay in rng.uniform(0, 0.012, 200):
        events = Collect()
        count = 0
        timer = threading.Timer(delay, _thread.interrupt_main)
        try:
            timer.start()
            with events:
                for count in range(1, 4):
                    events.fire(count)
                    time.sleep(0.002)
            events.to_dataframe()
            timer.join()
            time.sleep(0.001)
        except KeyboardInterrupt:
            pass
        timer.join()
        if events.has_begun:
            assert events.channel.closed and events.received in (count, count - 1, count + 1)
            assert events.to_dataframe()["n"].tolist() == list(range(1, events.received + 1))


def test_stop_at_every_moment():
    """Not by chance but one by one: when ■ comes through, the channel is closed; and it does come through."""
    events = Collect()

    def cell():
        with events:
            events.fire(1, 2, 3)
        events.to_dataframe()

    for moment in moments(cell):
        assert press(cell, moment), moment
        assert events.channel.closed and threading.active_count() == 1, moment
    cell()
    assert events.to_dataframe()["n"].tolist() == [1, 2, 3]


def press_and_wait():
    """Press ■, and wait until it has been noticed."""
    os.kill(os.getpid(), signal.SIGINT)
    deadline = time.monotonic() + 20
    while not DeferredInterrupt.pending and time.monotonic() < deadline:
        time.sleep(0.01)
    assert DeferredInterrupt.pending


def test_stop_while_it_opens_waits_until_it_is_open():
    class Slow(HandFed):
        def __enter__(self):
            press_and_wait()
            return super().__enter__()

    events = Collect(kind=Slow)
    with pytest.raises(KeyboardInterrupt):
        with events:
            pytest.fail("the block ran")
    assert events.channel.closed


def test_a_block_within_another_defers_its_own_stop():
    def leave():
        signal.raise_signal(signal.SIGINT)
        return DeferredInterrupt.pending

    outer = DeferredInterrupt(press_and_wait)
    inner = DeferredInterrupt(leave)
    try:
        assert leave()
        with pytest.raises(KeyboardInterrupt):
            inner.end()
    finally:
        outer.end()
    assert not DeferredInterrupt.pending and signal.getsignal(signal.SIGINT) is not outer


def test_stop_while_it_ends_does_not_hide_the_loss():
    class Slow(HandFed):
        def finish(self):
            press_and_wait()
            super().finish()

    events = Collect()
    with pytest.raises(KeyboardInterrupt), pytest.warns(EventsLost, match="7 of 8"):
        with events:
            events.fire(1)
            events.channel.lost = 7
            events.channel.__class__ = Slow
    assert events.channel.closed


def test_a_collection_in_another_thread_does_not_take_the_stop_of_this_one():
    elsewhere = []

    def another():
        try:
            with Collect() as events:
                events.fire(1)
            elsewhere.append(events.received)
        except KeyboardInterrupt as error:
            elsewhere.append(error)

    class Slow(HandFed):
        def finish(self):
            press_and_wait()
            thread = threading.Thread(target=another)
            thread.start()
            thread.join()
            super().finish()

    events = Collect()
    with pytest.raises(KeyboardInterrupt):
        with events:
            events.channel.__class__ = Slow
    assert elsewhere == [1]


def test_a_handler_of_ones_own_is_called():
    pressed = []
    before = signal.signal(signal.SIGINT, lambda *_: pressed.append("x"))
    with Collect(), Collect():
        os.kill(os.getpid(), signal.SIGINT)
    assert pressed == ["x"]
    signal.signal(signal.SIGINT, before)


# ---- trouble


def test_an_error_while_opening():
    with pytest.raises(OSError, match="will not open"):
        with Collect("open"):
            pytest.fail("the block ran")


def test_an_error_while_reading_is_told_and_keeps_what_came():
    events = Collect("consume")
    with pytest.raises(OSError, match="the reading broke"):
        with events:
            events.fire(1, 2, 3)
            events._collection.join(20)
    assert events.to_dataframe()["n"].tolist() == [1, 2, 3] and events.channel.closed
    assert events.lost is None and events.to_dataframe().attrs["lost"] is None


def test_stop_does_not_hide_an_error_while_reading():
    with pytest.raises(OSError, match="the reading broke"):
        with Collect("consume") as events:
            events.fire(1, 2, 3)
            events._collection.join(20)
            raise KeyboardInterrupt


def test_an_error_while_reading_ends_the_waiting_for_more(capsys):
    with (
        pytest.raises(OSError, match="the reading broke"),
        pytest.warns(EventsLost, match="was read only until OSError"),
    ):
        with Collect("consume") as events:
            events.fire(1, 2, 3)
            events.collect(seconds=60)
    assert capsys.readouterr().out == ""


def test_the_error_of_the_block_comes_first():
    said = pytest.warns(EventsLost, match="was read only until OSError: the reading broke")
    with pytest.raises(ZeroDivisionError), said:
        with Collect("consume") as events:
            events.fire(1, 2, 3)
            events._collection.join(20)
            raise ZeroDivisionError


def test_the_error_of_the_block_comes_before_events_of_another_size():
    said = pytest.warns(EventsLost, match="2 of up to 24 bytes do not fit")
    with pytest.raises(ZeroDivisionError), said:
        with Collect() as events:
            events.channel.misfits = {24: 2}
            raise ZeroDivisionError


def test_a_forgotten_collection_ends_by_itself():
    events = Collect()
    events.__enter__()
    channel = events.channel
    del events
    gc.collect()
    deadline = time.monotonic() + 20
    while not channel.closed and time.monotonic() < deadline:
        time.sleep(0.01)
    assert channel.closed


def test_a_collection_does_not_keep_the_one_before():
    events = Collect()
    with events:
        events.fire(1)
    first = weakref.ref(events.channel)
    with events:
        pass
    gc.collect()
    assert first() is None


def test_entering_twice_ends_the_first():
    events = Collect()
    events.__enter__()
    first = events.channel
    with events:
        assert first.closed and not events.channel.closed


def test_nothing_to_detach_without_bcc(monkeypatch):
    monkeypatch.delitem(sys.modules, "bcc", raising=False)
    assert detach_all() == 0


def test_a_proxy_of_something_gone_does_not_keep_from_detaching(monkeypatch):
    monkeypatch.setitem(sys.modules, "bcc", SimpleNamespace(BPF=Collect))
    proxy = [weakref.proxy(Collect())]
    with pytest.raises(ReferenceError):
        repr(proxy[0].channel)
    assert detach_all() == 0


# ---- loss


def test_loss_is_said_every_time():
    for _ in range(2):
        with pytest.warns(EventsLost, match=r"1,000 of 1,002 events \(99.80%\) were lost: do better") as said:
            with Collect() as events:
                events.fire(1, 2)
                events.channel.lost = 1000
        assert events.lost == events.to_dataframe().attrs["lost"] == 1000
        assert said[0].filename == __file__  # where the learner's block is


def test_loss_that_nobody_counted():
    with pytest.warns(EventsLost, match="nobody counted"):
        with Collect() as events:
            events.channel.lost = None
    assert events.to_dataframe().attrs["lost"] is None


def test_no_loss_no_words():
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with Collect() as events:
            events.fire(1)


def test_events_of_another_size():
    with pytest.warns(EventsLost, match="2 of up to 24 bytes do not fit the event's struct of 16 bytes"):
        with Collect() as events:
            events.fire(1)
            events.channel.misfits = {24: 2}
    with pytest.raises(ValueError, match="Declare the struct by hand"):
        with Collect() as events:
            events.channel.misfits = {24: 2}
