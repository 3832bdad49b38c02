"""`RingBuffer` on this kernel: rows in order, none made up, and a loss that is known or said to be unknown."""

import time

import pytest

from helpers import EventsLost, RingBuffer
from tests.live.probes import asleep, finish, fire, fired, producer, ring

pytestmark = pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning")


def test_a_sleeping_reader(load, many):
    bpf = load(ring(8))
    with pytest.warns(EventsLost, match="ring buffer events.*more pages|were lost: give the buffer more pages"):
        with RingBuffer(bpf["events"]) as events, asleep(events):
            finish(producer(many))
    assert 0 < events.received < many and events.received + events.lost == many == fired(bpf)


def test_full_without_a_counter_is_said(load, many):
    bpf = load(ring(1, counter=None))
    events = RingBuffer(bpf["events"])
    with pytest.warns(EventsLost, match="may have been lost.*ran full.*BPF_ARRAY\\(events_lost"):
        with events, asleep(events):
            finish(producer(many))
    assert events.lost is None and events.to_dataframe().attrs["lost"] is None
    with events:
        fire(5)
    assert events.lost == 0 and len(events.to_dataframe()) == 5


def test_just_not_full(load):
    """The largest number of records that fit (56 bytes with their header, in 4096): full to the brim, and none lost."""
    bpf = load(ring(1, counter=None))
    fits = (4096 - 1) // 56
    with RingBuffer(bpf["events"]) as events, asleep(events):
        fire(fits - 1)
    assert events.lost == 0 and events.received == fits - 1
    with pytest.warns(EventsLost):
        with RingBuffer(bpf["events"]) as events, asleep(events):
            fire(fits + 1)
    assert events.lost is None and events.received == fits


def test_round_the_ring_many_times(load):
    bpf = load(ring(1))
    with RingBuffer(bpf["events"]) as events:
        for n in range(40):
            fire(50)
            deadline = time.monotonic() + 10
            while events.received < 50 * (n + 1) and time.monotonic() < deadline:
                time.sleep(0.001)
            assert events.received == 50 * (n + 1)
    assert events.lost == 0 and events.received == 2000
    for _, rows in events.to_dataframe().groupby("on_cpu"):
        assert rows["seq"].diff().dropna().eq(1).all()


def test_reserve_submit_and_discard(load):
    bpf = load("""
        struct event { u64 n; u32 odd; };
        BPF_RINGBUF_OUTPUT(events, 8);
        BPF_ARRAY(calls, u64, 1);
        PROBE {
            int zero = 0;
            u64 *n = calls.lookup(&zero);
            struct event *event = events.ringbuf_reserve(sizeof(struct event));
            if (!n || !event) { if (event) events.ringbuf_discard(event, 0); return 0; }
            event->n = (*n)++;
            event->odd = event->n & 1;
            if (event->n % 3 == 0) events.ringbuf_discard(event, 0);
            else events.ringbuf_submit(event, 0);
            return 0;
        }""")
    with RingBuffer(bpf["events"]) as events:
        fire(30)
    df = events.to_dataframe()
    assert df["n"].tolist() == [n for n in range(30) if n % 3] and df["odd"].eq(df["n"] & 1).all()
