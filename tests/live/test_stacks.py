"""Stacks, and times on and off the CPU, against what a process and the kernel's own account say of them."""

import ctypes
import errno
import os
from pathlib import Path

import pytest

from helpers import detach_all, fold_stacks, read_map
from helpers.collect import bcc_internals
from tests.watched import Watched

PROGRAM = """
struct place_t { u32 pid; int kernel_stack; int user_stack; };
struct left_t { u64 time_ns; struct place_t place; };
BPF_ARRAY(watched, u32, 1);
BPF_HASH(left, u32, struct left_t);
BPF_HASH(came, u32, u64);
BPF_HASH(off_ns, struct place_t, u64);
BPF_HASH(on_ns, u32, u64);
BPF_HASH(switches, u32, u64);
BPF_HASH(unseen, u32, u64);
BPF_HASH(samples, struct place_t, u64);
BPF_STACK_TRACE(stacks, SIZE);

TRACEPOINT_PROBE(sched, sched_switch) {
    u64 now = bpf_ktime_get_ns();
    int zero = 0;
    u32 *pid = watched.lookup(&zero), tid = bpf_get_current_pid_tgid(), next = args->next_pid;
    struct left_t *away = left.lookup(&next);
    if (away) {
        off_ns.increment(away->place, now - away->time_ns);
        left.delete(&next);
        came.update(&next, &now);
    }
    if (!pid || !*pid || bpf_get_current_pid_tgid() >> 32 != *pid)  // 0 is nobody, and the idle CPU's
        return 0;
    u64 *begin = came.lookup(&tid);
    if (begin)
        on_ns.increment(*pid, now - *begin);
    switches.increment(*pid);
    if (left.lookup(&tid))
        unseen.increment(*pid);
    struct left_t leaves = {.time_ns = now, .place = {.pid = *pid}};
    leaves.place.kernel_stack = stacks.get_stackid(args, 0);
    leaves.place.user_stack = stacks.get_stackid(args, BPF_F_USER_STACK);
    left.update(&tid, &leaves);
    return 0;
}

int sample(void *ctx) {
    int zero = 0;
    u32 *pid = watched.lookup(&zero);
    if (!pid || !*pid || bpf_get_current_pid_tgid() >> 32 != *pid)  // 0 is nobody, and the idle CPU's
        return 0;
    struct place_t place = {.pid = *pid};
    place.kernel_stack = stacks.get_stackid(ctx, 0);
    place.user_stack = stacks.get_stackid(ctx, BPF_F_USER_STACK);
    samples.increment(place);
    return 0;
}
"""

# Three functions, each with a frame pointer, of which one calls the next; the innermost counts down from 2**26.
CODE = bytes.fromhex(
    "554889e5e802000000 5dc3 554889e5e802000000 5dc3 554889e5 48c7c100000004 48ffc9 75fb 5dc3".replace(" ", "")
)
CHAIN = f"""
import ctypes, mmap, os
code = {CODE!r}
page = mmap.mmap(-1, len(code), prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC)
page.write(code)
address = ctypes.addressof(ctypes.c_char.from_buffer(page))
with open(f"/tmp/perf-{{os.getpid()}}.map", "w") as file:
    for name, begin, end in (("outer", 0, 11), ("middle", 11, 22), ("inner", 22, len(code))):
        file.write(f"{{address + begin:x}} {{end - begin:x}} {{name}}\\n")
outer = ctypes.CFUNCTYPE(None)(address)
"""


@pytest.fixture
def load():
    """A function: the number of stacks that there is room for, to a BPF object that is attached."""
    from bcc import BPF, PerfSWConfig, PerfType

    def load(size=16384):
        bpf = BPF(text=PROGRAM.replace("SIZE", str(size)))
        bpf.attach_perf_event(
            ev_type=PerfType.SOFTWARE, ev_config=PerfSWConfig.CPU_CLOCK, fn_name="sample", sample_freq=99
        )
        return bpf

    yield load
    detach_all()


def watch(bpf, process):
    bpf["watched"][0] = ctypes.c_uint32(process.pid)


def total(bpf, name):
    return int(read_map(bpf[name])["value"].sum())


@pytest.mark.parametrize("work", ["time.sleep(0.01)", "sum(range(200_000))", "time.sleep(0.002); sum(range(100_000))"])
def test_on_and_off_the_cpu_add_up_to_the_time_that_passed(load, work):
    bpf = load()
    with Watched(work) as watched:
        watch(bpf, watched)
        done_again, asleep_again = watched.work()
        # A cloud machine's kernel may keep its provider's processes out of every trace, and so who got the CPU next.
        for _ in range(20):
            done, asleep = done_again, asleep_again
            before, unseen = total(bpf, "on_ns") + total(bpf, "off_ns"), total(bpf, "unseen")
            counted, switches = total(bpf, "switches"), watched.switches()
            done_again, asleep_again = watched.work()
            assert total(bpf, "switches") - counted == watched.switches() - switches > 0
            if total(bpf, "unseen") == unseen:
                break
        else:
            pytest.fail("the process got its CPU without sched_switch in each of 20 rounds")
        # From when it went to sleep, between these two moments, to when it did so again.
        spent = total(bpf, "on_ns") + total(bpf, "off_ns") - before
        assert done_again - asleep <= spent <= asleep_again - done


def test_a_known_function_of_the_kernel(load):
    bpf = load()
    with Watched("time.sleep(0.01)") as watched:
        watch(bpf, watched)
        watched.work()
        df = read_map(bpf["off_ns"])
        folded = fold_stacks(df, bpf["stacks"], "value")
    asleep = folded[folded["stack"].str.contains("nanosleep_[k]", regex=False)]
    assert asleep["value"].sum() >= (20 - total(bpf, "unseen")) * 10_000_000
    assert folded["value"].sum() == df["value"].sum()
    assert folded["stack"].iloc[0].endswith("schedule_[k]") or "sched_switch" in folded["stack"].iloc[0]


def test_a_chain_of_known_functions_of_a_process(load):
    bpf = load()
    with Watched("outer()", CHAIN) as watched:
        watch(bpf, watched)
        watched.work()  # before the first time it leaves its CPU, nobody knows since when it has been there
        before = total(bpf, "on_ns"), total(bpf, "samples")
        watched.work()
        ran_s = (total(bpf, "on_ns") - before[0]) / 1e9
        sampled = total(bpf, "samples") - before[1]
        df = read_map(bpf["samples"])
        folded = fold_stacks(df, bpf["stacks"], "value")
    # The clock ticks 99 times a second that it runs; ticks are left out where an emulated CPU has to wait for its turn.
    assert 3 < sampled <= ran_s * 99 * 1.1 + 2
    assert folded["value"].sum() == df["value"].sum()
    assert folded.loc[folded["stack"].str.endswith("outer;middle;inner"), "value"].sum() > 0.8 * df["value"].sum()
    gone = fold_stacks(df, bpf["stacks"], "value")  # BCC has kept what it read while the process lived
    assert gone["stack"].iloc[0].endswith("outer;middle;inner")


def test_a_process_that_was_never_asked_about_while_it_lived(load):
    bpf = load()
    with Watched("time.sleep(0.01)") as watched:
        watch(bpf, watched)
        watched.work()
    folded = fold_stacks(read_map(bpf["off_ns"]), bpf["stacks"], "value", kernel=None)
    # At the very end of its exit it left its CPU without any memory of its own.
    assert set(";".join(folded["stack"]).split(";")) - {"[user stack: EFAULT]"} == {"[process has ended]"}
    assert folded["stack"].iloc[0].endswith("[process has ended]")


def test_stacks_without_room_are_counted(load):
    bpf = load(size=1)
    with Watched("time.sleep(0.002)") as watched:
        watch(bpf, watched)
        watched.work()
        df = read_map(bpf["off_ns"])
        folded = fold_stacks(df, bpf["stacks"], "value")
    assert folded["value"].sum() == df["value"].sum()
    without = df[(df["kernel_stack"] == -errno.EEXIST) | (df["user_stack"] == -errno.EEXIST)]["value"].sum()
    assert folded[folded["stack"].str.contains("EEXIST")]["value"].sum() == without > 0
    assert max(folded.attrs["missing"].values()) <= without <= sum(folded.attrs["missing"].values())


def test_what_is_attached_twice_leaves_no_file_open(load):
    from bcc import BPF, PerfSWConfig, PerfType

    load()
    detach_all()
    before = len(os.listdir("/proc/self/fd"))
    bpf = BPF(text="".join(f"int {name}(void *ctx) {{ return 0; }}\n" for name in ("one", "two", "three", "sample")))
    for cpu in (-1, 0, 0):
        bpf.attach_perf_event(
            ev_type=PerfType.SOFTWARE, ev_config=PerfSWConfig.CPU_CLOCK, fn_name="sample", sample_freq=99, cpu=cpu
        )
    for name, place in (("one", "tp"), ("two", "tp_re"), ("three", "tp")):
        bpf.attach_tracepoint(**{place: "sched:sched_switch"}, fn_name=name)
    assert detach_all() == 1 and len(os.listdir("/proc/self/fd")) == before


def test_what_bcc_keeps_of_processes_leaves_room_for_other_files(monkeypatch):
    def opened():
        return len(os.listdir("/proc/self/fd"))

    before, more = opened(), []
    monkeypatch.setattr(bcc_internals, "MOST_FILES", before + 20)
    for _ in range(8):
        with Watched("pass") as watched:
            maps = [line.split() for line in Path(f"/proc/{watched.pid}/maps").read_text().splitlines()]
            [libc] = [line[0] for line in maps if "x" in line[1] and line[-1].endswith("/libc.so.6")]
            address = int(libc.partition("-")[0], 16) + 4096
            assert bcc_internals.symbol(address, watched.pid)[1] == "libc.so.6"
        more.append(opened() - before)
    assert 20 < 8 * more[0] and max(more) <= 20 + more[0]


def test_what_is_no_table_of_stacks(load):
    bpf = load()
    df = read_map(bpf["off_ns"])
    with pytest.raises(TypeError, match="reads a BPF_STACK_TRACE table"):
        fold_stacks(df, bpf["off_ns"], "value")
    stacks = bpf["stacks"]
    detach_all()
    with pytest.raises(ValueError, match="was cleaned up"):
        fold_stacks(df, stacks, "value")
