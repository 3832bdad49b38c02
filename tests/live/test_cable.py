"""A cable is gone whatever happens, and a million packets on it are all accounted for."""

import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from helpers import attach_tc, cable, detach_all, read_map, transmit, udp_frame
from helpers.collect.interrupts import DeferredInterrupt
from tests.conftest import REPEATS
from tests.live.test_stress import held, in_the_kernel, nothing_new
from tests.moments import moments, press

PROGRAM = """
BPF_PERCPU_ARRAY(sent, u64, 1);
BPF_PERCPU_ARRAY(dropped, u64, 1);
BPF_PERCPU_ARRAY(received, u64, 1);
int sender(struct xdp_md *ctx) { sent.increment(0); return XDP_TX; }
int coin(struct xdp_md *ctx) {
    if (bpf_get_prandom_u32() & 1)
        return XDP_PASS;
    dropped.increment(0);
    return XDP_DROP;
}
int at_socket(struct __sk_buff *skb) { received.increment(0); return 0; }
int on_tc(struct __sk_buff *skb) { return 0; }
"""
HERE = Path("/proc/thread-self/ns/net")


@pytest.fixture
def bpf():
    from bcc import BPF

    yield BPF(text=PROGRAM)
    detach_all()


def outside():
    """What can be seen of networks from here: this thread's own, its interfaces, and the named namespaces."""
    links = subprocess.run(["ip", "-brief", "link"], capture_output=True, text=True, check=True).stdout
    names = Path("/run/netns")
    return os.readlink(HERE), [line.split()[0] for line in links.splitlines()], names.exists() and os.listdir(names)


def pinned():
    return sorted(str(path) for path in Path("/sys/fs/bpf").rglob("*"))


def equip(bpf, bob):
    """Put a program into each of bob's places."""
    from bcc import BPF

    with bob:
        BPF.attach_xdp("bob", bpf.load_func("coin", BPF.XDP))
        subprocess.run(["tc", "qdisc", "add", "dev", "bob", "clsact"], check=True)
        for direction in ("ingress", "egress"):
            attach_tc(bpf.load_func("on_tc", BPF.SCHED_CLS), "bob", direction)


def when_it_sends(bpf, act):
    """Act, in a thread of its own, as soon as the function `sender` has counted a packet."""

    def look():
        while not read_map(bpf["sent"])["value"].sum():
            time.sleep(0.01)
        act()

    threading.Thread(target=look, daemon=True).start()


def test_two_computers_that_hear_each_other():
    with cable() as (ann, bob), bob, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.bind((bob.address, 7))
        with ann, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            assert [name for _, name in socket.if_nameindex()] == ["lo", "ann"]
            mouth.sendto(b"tea", (bob.address, 7))
        assert [name for _, name in socket.if_nameindex()] == ["lo", "bob"]
        assert ear.recv(100) == b"tea"


def test_nobody_speaks_unasked():
    with cable() as (ann, bob):
        for end in (ann, bob):
            with end:
                said = subprocess.run(["ip", "-stats", "link", "show", end.name], capture_output=True, text=True).stdout
                rows = [line.split() for line in said.splitlines()]
                assert [rows[place][1] for place in (3, 5)] == ["0", "0"], said
                # With an address of IPv6 it would, within a second.
                assert subprocess.check_output(["ip", "-6", "address", "show", "dev", end.name]) == b""


def test_it_is_gone_after_its_block(bpf):
    before, programs, pins = outside(), in_the_kernel(), pinned()
    with cable() as (ann, bob):
        equip(bpf, bob)
        with bob:
            namespace = os.readlink(HERE)
        assert in_the_kernel() - programs and pinned() == pins
    assert outside() == before and namespace != before[0]
    with pytest.raises(ValueError, match="gone"), ann:
        pass
    bpf.cleanup()
    assert nothing_new(programs)


def test_it_is_gone_after_an_error(bpf):
    before, programs = outside(), in_the_kernel()
    with pytest.raises(ZeroDivisionError), cable() as (ann, bob):
        equip(bpf, bob)
        with bob, ann:
            raise ZeroDivisionError
    assert outside() == before
    bpf.cleanup()
    assert nothing_new(programs)


def test_an_impossible_cable_leaves_nothing(monkeypatch):
    before, files = outside(), held()
    with pytest.raises(OSError, match="could not be laid"), cable(["a name that is far too long", "bob"]):
        pass
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError), cable():
        pass
    monkeypatch.undo()
    assert (outside(), held()) == (before, files)


def test_stop_at_every_moment():
    """One ■ at each place where Python looks for one: this thread is back home, and no file keeps a namespace."""
    before = outside()

    def cell():
        with cable() as (ann, bob):
            with bob, ann:
                pass
            with ann:
                pass

    cell()
    files = held()
    found = moments(cell)
    for moment in found[:: max(1, len(found) // (4 * REPEATS))]:
        press(cell, moment)
        assert (outside(), held()) == (before, files), moment
    assert not DeferredInterrupt.pending


KILLED = """
import os, signal, subprocess, sys
from bcc import BPF
from tests.live.test_cable import PROGRAM, equip
from helpers import cable
bpf = BPF(text=PROGRAM)
with cable() as (ann, bob):
    equip(bpf, bob)
    print("there", flush=True)
    sys.stdin.read()
"""


def test_it_is_gone_when_python_is_killed():
    before, programs, pins = outside(), in_the_kernel(), pinned()
    python = subprocess.Popen([sys.executable, "-c", KILLED], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    assert python.stdout.readline() == "there\n"
    assert in_the_kernel() - programs
    python.send_signal(signal.SIGKILL)
    python.wait()
    python.stdin.close(), python.stdout.close()
    assert nothing_new(programs)
    assert (outside(), pinned()) == (before, pins)


def test_a_million_packets_are_all_accounted_for(bpf, happened):
    from bcc import BPF

    with cable() as (ann, bob):
        equip(bpf, bob)
        with bob, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
            ear.bind((bob.address, 7))
            ear.setsockopt(socket.SOL_SOCKET, 50, bpf.load_func("at_socket", BPF.SOCKET_FILTER).fd)
            with ann:
                begin = time.monotonic()
                transmit(bpf.load_func("sender", BPF.XDP), udp_frame(ann, bob), 1_000_000, "ann")
                took = time.monotonic() - begin
            said = subprocess.run(["ip", "-stats", "link", "show", "bob"], capture_output=True, text=True).stdout
    sent, dropped, received = (int(read_map(bpf[name])["value"].sum()) for name in ("sent", "dropped", "received"))
    lost = int(said.splitlines()[4].split()[3])
    assert received + dropped + lost == sent == 1_000_000
    assert dropped > 490_000 and received + lost > 490_000
    happened("a million packets through XDP", f"{received:,} + {dropped:,} + {lost:,} lost = {sent:,}, in {took:.1f} s")


def test_stop_while_it_sends(bpf):
    """■ ends a transmission, and what was sent is still accounted for."""
    from bcc import BPF

    sender = bpf.load_func("sender", BPF.XDP)
    with cable() as (ann, bob):
        equip(bpf, bob)
        alarm = signal.signal(signal.SIGALRM, signal.default_int_handler)
        try:
            with ann, pytest.raises(KeyboardInterrupt):
                when_it_sends(bpf, lambda: signal.pthread_kill(threading.main_thread().ident, signal.SIGALRM))
                transmit(sender, udp_frame(ann, bob), 1 << 31, "ann")
        finally:
            signal.signal(signal.SIGALRM, alarm)
        said = subprocess.run(["ip", "-stats", "link", "show", "bob"], capture_output=True, text=True)
        assert said.returncode, "this thread is not back home"
    assert 0 < read_map(bpf["sent"])["value"].sum() < 1 << 31


def test_the_frame_is_what_the_kernel_would_send():
    with cable() as (ann, bob):
        ours = udp_frame(ann, bob, port=7, data=b"some tea")
        with bob:
            ear = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(0x0800))
        with ear, ann, socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as mouth:
            mouth.bind((ann.address, 7))
            mouth.sendto(b"some tea", (bob.address, 7))
            theirs = ear.recv(1000)
    # All but the number and the flags of the IP packet, with its checksum, and the checksum of UDP.
    for begin, end in ((0, 18), (22, 24), (26, 40), (42, None)):
        assert ours[begin:end] == theirs[begin:end]
    assert checksum(ours[14:34]) == checksum(theirs[14:34]) == 0xFFFF


def checksum(header):
    total = sum(struct.unpack("!10H", header))
    return (total & 0xFFFF) + (total >> 16)


def test_tc_refuses_in_words(bpf):
    from bcc import BPF

    function = bpf.load_func("on_tc", BPF.SCHED_CLS)
    with cable() as (_, bob), bob:
        with pytest.raises(OSError, match="clsact"):
            attach_tc(function, "bob")
        with pytest.raises(ValueError, match="sideways"):
            attach_tc(function, "bob", "sideways")
        with pytest.raises(OSError):
            attach_tc(function, "nobody")


def test_transmit_refuses_in_words(bpf):
    from bcc import BPF

    with cable() as (ann, bob), ann:
        with pytest.raises(OSError, match="could not be sent"):
            transmit(bpf.load_func("on_tc", BPF.SCHED_CLS), udp_frame(ann, bob), 1, "ann")
