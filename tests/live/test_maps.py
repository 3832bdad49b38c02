"""Maps of a real kernel as frames: every kind, against BCC's own reading and against what was counted."""

import ctypes
import os
import time

import numpy as np
import pytest

from helpers import MapFull, detach_all, read_map
from helpers.collect.bcc_internals import BATCH, map_entries, map_layout
from tests.live.probes import finish, fire, producer

KINDS = {
    "BPF_HASH": "BPF_HASH(counts, u32, u64, 1000);",
    "LRU": 'BPF_TABLE("lru_hash", u32, u64, counts, 1000);',
    "BPF_ARRAY": "BPF_ARRAY(counts, u64, 300);",
    "BPF_HISTOGRAM": "BPF_HISTOGRAM(counts, u32, 300);",
    "BPF_PERCPU_HASH": 'BPF_TABLE("percpu_hash", u32, u64, counts, 1000);',
    "LRU per CPU": 'BPF_TABLE("lru_percpu_hash", u32, u64, counts, 1000);',
    "BPF_PERCPU_ARRAY": "BPF_PERCPU_ARRAY(counts, u64, 300);",
}
COUNTING = """
struct key_t { u32 tid; u32 cpu; char comm[16]; };
BPF_HASH(calls, struct key_t, u64, SIZE);
BPF_HISTOGRAM(gaps);
BPF_PERCPU_ARRAY(fired, u64, 1);
BPF_HASH(last, u32, u64);
PROBE {
    struct key_t key = {.tid = bpf_get_current_pid_tgid(), .cpu = bpf_get_smp_processor_id()};
    u64 now = bpf_ktime_get_ns(), *before = last.lookup(&key.tid);
    bpf_get_current_comm(&key.comm, sizeof(key.comm));
    calls.atomic_increment(key);
    fired.increment(0);
    if (before)
        gaps.atomic_increment(bpf_log2l(now - *before));
    last.update(&key.tid, &now);
    return 0;
}
"""


@pytest.fixture
def text():
    """A function: C text without a probe, to a BPF object."""
    from bcc import BPF

    yield lambda text: BPF(text=text + "\nint unused(void *ctx) { return 0; }")
    detach_all()


@pytest.mark.parametrize("kind", KINDS)
def test_every_kind_says_what_bcc_says(text, kind):
    table = text(KINDS[kind])["counts"]
    layout = map_layout(table)
    rng = np.random.default_rng(3)
    places = len(layout.cpus or [0])
    for key in rng.permutation(300)[:200].tolist():
        values = rng.integers(0, 2**62 // places, places).tolist()
        table[table.Key(key)] = table.Leaf(*values)
    df = read_map(table).sort_values("key", ignore_index=True)
    wanted = {key.value: sum(leaf) if layout.cpus else leaf.value for key, leaf in table.items()}
    assert dict(zip(df["key"].tolist(), df["value"].tolist())) == wanted
    assert len(df) == len(wanted) == (300 if "ARRAY" in kind or "HISTOGRAM" in kind and layout.kind == 2 else 200)
    if layout.cpus:
        each = read_map(table, per_cpu=True).sort_values("key", ignore_index=True)
        assert (each.filter(like="value.cpu").sum(axis=1) == df["value"]).all()


def test_a_trie_of_prefixes(text):
    table = text("struct net { u32 length; u32 address; };\nBPF_LPM_TRIE(nets, struct net, u32, 10);")["nets"]
    for length in (8, 16, 24):
        table[table.Key(length, 0x0A0A0A0A)] = table.Leaf(length)
    df = read_map(table)
    assert df["length"].tolist() == df["value"].tolist() and sorted(df["length"]) == [8, 16, 24]


@pytest.mark.parametrize("kind", ["BPF_HASH", "BPF_PERCPU_ARRAY", "LRU"])
def test_small_batches_and_none(text, kind):
    from helpers.collect import bcc_internals

    table = text(KINDS[kind])["counts"]
    for key in range(100):
        table[table.Key(key)] = table.Leaf(*[key + 1] * len(map_layout(table).cpus or [0]))
    sizes = ctypes.sizeof(table.Key), ctypes.sizeof(table.Leaf)

    def entries(count, keys, values):
        at = [bytes(keys[n * sizes[0] : (n + 1) * sizes[0]]) for n in range(count)]
        return dict(zip(at, [bytes(values[n * sizes[1] : (n + 1) * sizes[1]]) for n in range(count)])), count

    whole = entries(*map_entries(table.map_fd, *sizes, room=BATCH))
    assert whole[1] >= 100
    assert entries(*map_entries(table.map_fd, *sizes, room=1)) == whole
    assert entries(*bcc_internals._entries_one_by_one(table.map_fd, *sizes)) == whole


def test_what_was_fired_is_counted_once_on_each_cpu(load):
    bpf = load(COUNTING.replace("SIZE", "1000"))
    cpus = sorted(os.sched_getaffinity(0))
    finish(*[producer(2000, cpu) for cpu in (cpus[0], cpus[-1])])
    calls = read_map(bpf["calls"])
    assert calls["value"].sum() == 4000 and len(calls) == 2
    assert sorted(calls["cpu"].tolist()) == [cpus[0], cpus[-1]]
    assert (calls["comm"].str.startswith("python")).all()
    each = read_map(bpf["fired"], per_cpu=True)
    wanted = {f"value.cpu{cpu}": sum(calls.loc[calls["cpu"] == cpu, "value"]) for cpu in cpus}
    assert {name: each[name][0] for name in wanted} == wanted
    assert read_map(bpf["gaps"])["value"].sum() == 4000 - 2


def test_a_full_hash(load):
    bpf = load(COUNTING.replace("SIZE", "4"))
    finish(*[producer(10) for _ in range(4)])
    assert read_map(bpf["fired"])["value"].sum() == 40
    with pytest.warns(MapFull, match="room for 4 keys"):
        before = read_map(bpf["calls"])
    fire(5)
    with pytest.warns(MapFull):
        assert read_map(bpf["calls"])["value"].sum() == before["value"].sum()


def test_reading_while_it_counts(load):
    bpf = load(COUNTING.replace("SIZE", "1000"))
    work, sums = producer(10**12), []
    try:
        while len(set(sums)) <= 3:
            assert work.poll() is None
            df = read_map(bpf["calls"])
            assert df.attrs["read_begin_ns"] <= df.attrs["read_end_ns"] <= time.monotonic_ns()
            sums.append(int(df["value"].sum()))
    finally:
        work.kill()
        work.wait()
    assert sums == sorted(sums)
    assert sums[-1] <= read_map(bpf["calls"])["value"].sum() == read_map(bpf["fired"])["value"].sum()


def test_a_map_whose_object_was_cleaned_up(load):
    bpf = load(COUNTING.replace("SIZE", "1000"))
    table = bpf["calls"]
    detach_all()
    with pytest.raises(ValueError, match="cleaned up"):
        read_map(table)


def test_what_has_no_keys_and_values(text):
    bpf = text("BPF_PERF_OUTPUT(events);\nBPF_STACK_TRACE(stacks, 64);")
    for name in ("events", "stacks"):
        with pytest.raises(TypeError, match="a map with keys and values"):
            read_map(bpf[name])


def test_ten_times_as_fast_as_bcc(text):
    table = text("BPF_HASH(counts, u64, u64, 200000);")["counts"]
    numbers = (ctypes.c_uint64 * 100_000)(*range(100_000))
    table.items_update_batch(numbers, numbers)
    times = {}
    for name, read in (
        ("bcc", lambda: {k.value: v.value for k, v in table.items()}),
        ("ours", lambda: read_map(table)),
    ):
        begin = time.process_time()
        found = read()
        times[name] = time.process_time() - begin
        assert len(found) == 100_000
    assert times["bcc"] > 10 * times["ours"], times
