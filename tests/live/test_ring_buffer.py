"""`RingBuffer` on this kernel: rows in order, none made up, and a loss that is known or said to be unknown."""

import os
import signal
import threading
import time

import pytest

from helpers import EventsLost, RingBuffer
from tests.live.conftest import asleep, finish, fire, producer

pytestmark = pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning")

PROGRAM = """
struct event { u64 time_ns; u32 tid; u32 cpu; u64 seq; char comm[16]; };
BPF_RINGBUF_OUTPUT(events, PAGES);
BPF_ARRAY(fired, u64, 1);
BPF_PERCPU_ARRAY(sequence, u64, 1);
COUNTER
PROBE {
    struct event event = {};
    event.time_ns = bpf_ktime_get_ns();
    event.tid = bpf_get_current_pid_tgid();
    event.cpu = bpf_get_smp_processor_id();
    bpf_get_current_comm(&event.comm, sizeof(event.comm));
    fired.atomic_increment(0);
    int zero = 0;
    u64 *seq = sequence.lookup(&zero);
    if (seq) event.seq = (*seq)++;
    if (events.ringbuf_output(&event, sizeof(event), 0)) { COUNT }
    return 0;
}
"""


def program(pages, counter="BPF_ARRAY"):
    text = PROGRAM.replace("PAGES", str(pages)).replace(
        "COUNTER", f"{counter}(events_lost, u64, 1);" if counter else ""
    )
    return text.replace("COUNT", "events_lost.atomic_increment(0);" if counter else "")


def fired(bpf):
    return bpf["fired"][0].value


@pytest.mark.parametrize("calls", [0, 1, 5, 100])
def test_calls_are_rows(load, calls):
    bpf = load(program(8))
    with RingBuffer(bpf["events"]) as events:
        fire(calls)
    fire(3)
    df = events.to_dataframe()
    assert len(df) == events.received == calls and events.lost == 0
    assert {name: str(kind) for name, kind in df.dtypes.items()} == {
        "time_ns": "uint64",
        "tid": "uint32",
        "cpu": "uint32",
        "seq": "uint64",
        "comm": "category",
    }
    assert df["seq"].is_monotonic_increasing and df["time_ns"].is_monotonic_increasing
    assert df["tid"].isin([threading.get_native_id()]).all()
    assert df.attrs["source"] == "ring buffer events" and df.attrs["clock"].startswith("CLOCK_MONOTONIC")


def test_what_waited_before_is_thrown_away(load):
    bpf = load(program(1))
    fire(1000)
    for _ in range(3):
        with RingBuffer(bpf["events"]) as events:
            fire(2)
        assert len(events.to_dataframe()) == 2 and events.lost == 0
        fire(100)


@pytest.mark.parametrize(
    ("pages", "counter"), [(1, "BPF_ARRAY"), (1, "BPF_PERCPU_ARRAY"), (4, "BPF_ARRAY"), (16, "BPF_ARRAY")]
)
@pytest.mark.filterwarnings("ignore::helpers.collect.collection.EventsLost")
def test_under_overload_fired_is_received_and_lost(load, many, pages, counter):
    bpf = load(program(pages, counter))
    cpus = sorted(os.sched_getaffinity(0))[:2]
    with RingBuffer(bpf["events"]) as events:
        finish(*[producer(many, cpu) for cpu in cpus])
    df = events.to_dataframe()
    assert fired(bpf) == many * len(cpus) == len(df) + events.lost
    for _, rows in df.groupby("cpu"):
        assert rows["seq"].is_monotonic_increasing and rows["seq"].is_unique


def test_a_sleeping_reader(load, many):
    bpf = load(program(8))
    with pytest.warns(EventsLost, match="ring buffer events.*more pages|were lost: give the buffer more pages"):
        with RingBuffer(bpf["events"]) as events, asleep(events):
            finish(producer(many))
    assert 0 < events.received < many and events.received + events.lost == many == fired(bpf)


def test_full_without_a_counter_is_said(load, many):
    bpf = load(program(1, counter=None))
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
    bpf = load(program(1, counter=None))
    fits = (4096 - 1) // 48
    with RingBuffer(bpf["events"]) as events, asleep(events):
        fire(fits - 1)
    assert events.lost == 0 and events.received == fits - 1
    with pytest.warns(EventsLost):
        with RingBuffer(bpf["events"]) as events, asleep(events):
            fire(fits + 1)
    assert events.lost is None and events.received == fits


def test_many_events_none_lost(load, many):
    bpf = load(program(1024))
    with RingBuffer(bpf["events"]) as events:
        finish(producer(many := min(many, 80_000)))  # as many as there is room for, however late the reader comes
    df = events.to_dataframe()
    assert len(df) == many and events.lost == 0
    for _, rows in df.groupby("cpu"):
        assert rows["seq"].diff().dropna().eq(1).all()


def test_round_the_ring_many_times(load):
    bpf = load(program(1))
    with RingBuffer(bpf["events"]) as events:
        for n in range(40):
            fire(50)
            deadline = time.monotonic() + 10
            while events.received < 50 * (n + 1) and time.monotonic() < deadline:
                time.sleep(0.001)
    assert events.lost == 0 and events.received == 2000
    assert events.to_dataframe()["seq"].tolist() == list(range(2000)) or len(os.sched_getaffinity(0)) > 1


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
    assert df["n"].tolist() == [n for n in range(30) if n % 3] and df["odd"].tolist() == [
        n & 1 for n in range(30) if n % 3
    ]


def test_stop_keeps_what_came(load, many):
    bpf = load(program(1024))
    events = RingBuffer(bpf["events"])
    with pytest.raises(KeyboardInterrupt):
        with events:
            finish(producer(many))
            os.kill(os.getpid(), signal.SIGINT)
            time.sleep(5)
    assert len(events.to_dataframe()) + events.lost == many == fired(bpf)


def test_cleaned_up_while_collecting(load, capsys):
    bpf = load(program(8))
    with RingBuffer(bpf["events"]) as events:
        fire(3)
        bpf.cleanup()
        assert len(events.collect(seconds=20)) == 3
    assert "cleaned up" in capsys.readouterr().out and events.lost == 0
    with pytest.raises(ValueError, match="run the cell that makes it again"):
        with events:
            pass


def test_one_collection_of_a_table_at_a_time(load):
    bpf = load(program(8))
    with RingBuffer(bpf["events"]) as events:
        with pytest.raises(ValueError, match="another collection reads ring buffer events"):
            RingBuffer(bpf["events"]).collect(seconds=1)
        fire(3)
    assert events.received == 3 and events.lost == 0


def test_nothing_leaks(load):
    bpf = load(program(8))

    def held():
        return (
            sorted(os.listdir("/proc/self/fd")),
            open("/proc/self/maps").read().count("bpf"),
            threading.active_count(),
        )

    events = RingBuffer(bpf["events"])
    before = held()
    for _ in range(100):
        with events:
            fire()
        assert len(events.to_dataframe()) == 1
    assert held() == before


def test_another_kind_of_table(load):
    with pytest.raises(TypeError, match="BPF_RINGBUF_OUTPUT table"):
        RingBuffer(load(program(1))["fired"])
