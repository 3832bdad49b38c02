"""`PerfOutput` on this kernel: types are the struct's, and a loss is exact."""

import ctypes
import gc

import numpy as np
import pytest

from helpers import EventsLost, PerfOutput, detach_all
from tests.live.probes import PERF, asleep, finish, fire, fired, producer, two_cpus

pytestmark = pytest.mark.filterwarnings("ignore:not a bytes object:DeprecationWarning")


def test_loss_is_exact_when_the_last_events_are_lost(load, many):
    """The kernel writes its LOST record only when there is room again: here there never is."""
    bpf = load(PERF)
    with PerfOutput(bpf["events"], pages=1).new_channel() as channel:
        finish(producer(many))
        channel.finish()
    received = channel.columns.rows
    assert 0 < received < many and received + channel.lost == fired(bpf) == many


def test_loss_is_said(load, many):
    bpf = load(PERF)
    with pytest.warns(EventsLost, match="events .* were lost"):
        with PerfOutput(bpf["events"], pages=1) as events, asleep(events):
            finish(producer(many))
    assert events.lost > 0


def test_usable_again_after_loss(load, many):
    bpf = load(PERF)
    events = PerfOutput(bpf["events"], pages=1)
    with pytest.warns(EventsLost):
        with events, asleep(events):
            finish(producer(many))
    with events:
        fire(5)
    assert events.lost == 0 and len(events.to_dataframe()) == 5


def test_gives_the_table_back_to_open_perf_buffer(load, monkeypatch):
    bpf, heard, complaints = load(PERF), [], []
    monkeypatch.setattr("sys.unraisablehook", complaints.append)
    bpf["events"].open_perf_buffer(lambda cpu, data, size: heard.append(size))
    with PerfOutput(bpf["events"]) as events:
        fire(3)
    fire(2)
    bpf.perf_buffer_poll(timeout=0)
    assert (events.received, len(heard)) == (3, 2)
    detach_all()
    del bpf, events
    gc.collect()
    assert not complaints  # BCC's table would complain here if its places were empty


def test_two_tables_do_not_mix(load):
    bpf = load("""
        struct event { u32 which; };
        BPF_PERF_OUTPUT(first);
        BPF_PERF_OUTPUT(second);
        PROBE {
            struct event event = {1};
            first.perf_submit(ctx, &event, sizeof(event));
            event.which = 2;
            second.perf_submit(ctx, &event, sizeof(event));
            second.perf_submit(ctx, &event, sizeof(event));
            return 0;
        }""")
    with PerfOutput(bpf["first"]) as first, PerfOutput(bpf["second"]) as second:
        fire(10)
    assert first.to_dataframe()["which"].tolist() == [1] * 10
    assert second.to_dataframe()["which"].tolist() == [2] * 20


# ---- types


def test_every_type_that_bcc_describes(load):
    bpf = load("""
        enum colour { RED = 1, GREEN = 70000 };
        struct event {
            __int128 big; unsigned __int128 ubig;
            u64 a; s64 b; u32 c; s32 d; u16 e; s16 f; u8 g; s8 h;
            long i; unsigned long j; long long k; unsigned long long l;
            short m; unsigned short n; int o; unsigned int p;
            char q; unsigned char r; enum colour s; void *t; char *u;
            char v[7]; u32 w[3]; s16 x[2]; u8 y[4]; u64 z;
        };
        BPF_PERF_OUTPUT(events);
        PROBE {
            struct event e = {};
            e.big = -2; e.ubig = ((unsigned __int128)5 << 64) | 6;
            e.a = ~0ULL; e.b = -(1LL << 63); e.c = ~0U; e.d = -5; e.e = 65535; e.f = -32768; e.g = 255; e.h = -128;
            e.i = -1; e.j = ~0UL; e.k = -7; e.l = 8; e.m = -9; e.n = 65000; e.o = -11; e.p = 4000000000U;
            e.q = 'Q'; e.r = 200; e.s = GREEN; e.t = (void *)0x1234; e.u = (char *)0x5678;
            e.v[0] = 'h'; e.v[1] = 0xff; e.v[2] = 'i';
            e.w[0] = 1; e.w[2] = 3; e.x[1] = -4; e.y[3] = 9;
            events.perf_submit(ctx, &e, sizeof(e));
            return 0;
        }""")
    with PerfOutput(bpf["events"]) as events:
        fire(2)
    df = events.to_dataframe()
    assert len(df) == 2
    row = df.iloc[0].to_dict()
    row.pop("cpu")
    # fmt: off
    assert row == {
        "big[0]": -2, "big[1]": -1, "ubig[0]": 6, "ubig[1]": 5,
        "a": (1 << 64) - 1, "b": -(1 << 63), "c": (1 << 32) - 1, "d": -5, "e": 65535, "f": -32768, "g": 255, "h": -128,
        "i": -1, "j": (1 << 64) - 1, "k": -7, "l": 8, "m": -9, "n": 65000, "o": -11, "p": 4000000000,
        "q": ord("Q"), "r": 200, "s": 70000, "t": 0x1234, "u": 0x5678, "v": "h\\xffi",
        "w[0]": 1, "w[1]": 0, "w[2]": 3, "x[0]": 0, "x[1]": -4, "y[0]": 0, "y[1]": 0, "y[2]": 0, "y[3]": 9, "z": 0,
    }
    # fmt: on
    found = [str(df[name].dtype) for name in "abcdefgh"]
    assert found == ["uint64", "int64", "uint32", "int32", "uint16", "int16", "uint8", "int8"]


def test_a_struct_that_bcc_describes_wrong_is_refused(load):
    """BCC makes two u64 of an __int128, which start at the next 8 bytes; in C it starts at the next 16."""
    bpf = load("""
        struct event { u64 a; unsigned __int128 b; };
        BPF_PERF_OUTPUT(events);
        PROBE { struct event e = {}; e.a = 1; e.b = 2; events.perf_submit(ctx, &e, sizeof(e)); return 0; }""")
    with pytest.raises(ValueError, match="1 of up to 36 bytes do not fit the event's struct of 24 bytes"):
        with PerfOutput(bpf["events"]):
            fire()


NESTED = """
    struct where { u16 line; char name[6]; };
    struct event { u64 time_ns; struct where where; union { u32 word; u16 half[2]; } either; pid_t pid; };
    BPF_PERF_OUTPUT(events);
    PROBE {
        struct event e = {};
        e.time_ns = 1; e.where.line = 2; e.where.name[0] = 'x'; e.either.word = 0x00040003; e.pid = -5;
        events.perf_submit(ctx, &e, sizeof(e));
        return 0;
    }"""


def test_a_field_that_bcc_cannot_describe_is_named(load):
    bpf = load(NESTED)
    with pytest.raises(TypeError, match="(?s)field 'where' of type 'struct where'.*class Event.*event=Event"):
        PerfOutput(bpf["events"])


def test_a_struct_declared_by_hand(load):
    class Where(ctypes.Structure):
        _fields_ = [("line", ctypes.c_uint16), ("name", ctypes.c_char * 6)]

    class Either(ctypes.Union):
        _fields_ = [("word", ctypes.c_uint32), ("half", ctypes.c_uint16 * 2)]

    class Event(ctypes.Structure):
        _fields_ = [("time_ns", ctypes.c_uint64), ("where", Where), ("either", Either), ("pid", ctypes.c_int32)]

    with PerfOutput(load(NESTED)["events"], event=Event) as events:
        fire()
    df = events.to_dataframe().drop(columns="cpu")
    names = ["time_ns", "where.line", "where.name", "either.word", "either.half[0]", "either.half[1]", "pid"]
    assert list(df.columns) == names and df.iloc[0].tolist() == [1, 2, "x", 0x40003, 3, 4, -5]


def test_a_struct_declared_wrong(load):
    class Event(ctypes.Structure):
        _fields_ = [("time_ns", ctypes.c_uint64)]

    with pytest.raises(ValueError, match="do not fit the event's struct of 8 bytes"):
        with PerfOutput(load(NESTED)["events"], event=Event):
            fire(3)


def test_a_cpu_column_of_the_struct_is_kept(load):
    bpf = load("""
        struct event { u32 cpu; };
        BPF_PERF_OUTPUT(events);
        PROBE { struct event e = {4711}; events.perf_submit(ctx, &e, sizeof(e)); return 0; }""")
    with PerfOutput(bpf["events"]) as events:
        fire()
    assert events.to_dataframe()["cpu"].tolist() == [4711]


@pytest.mark.parametrize("pages", [0, -1, 3, 2.0, "8", None])
def test_pages_is_a_power_of_two(load, pages):
    with pytest.raises(ValueError, match="power of two"):
        PerfOutput(load(PERF)["events"], pages=pages)


def test_events_of_one_cpu_are_not_those_of_another(load):
    bpf = load(PERF)
    cpus = two_cpus()
    with PerfOutput(bpf["events"]) as events:
        finish(*[producer(50 + cpu, cpu) for cpu in cpus])
    df = events.to_dataframe()
    assert df["cpu"].value_counts().to_dict() == {cpu: 50 + cpu for cpu in cpus}
    assert isinstance(df["cpu"].iloc[0], np.int16) and df["cpu"].eq(df["on_cpu"]).all()
