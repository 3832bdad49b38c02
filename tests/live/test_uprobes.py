"""Probes in user space, and that nothing of them stays: neither after detach_all() nor after the end of a Python.

A uprobe is a breakpoint in the memory of every process that has the file, so whether there is one is seen from outside:
in the code of libc's getppid, which nobody is tracing but these tests.
"""

import ctypes
import os
import signal
import subprocess
import sys
import textwrap

import pytest
from bcc import BPF

from helpers import detach_all, run
from helpers.lab.cache import PROJECT

COUNTING = """
BPF_ARRAY(calls, u64, 2);
int on_call(void *ctx) { calls.atomic_increment(0); return 0; }
int on_return(void *ctx) { calls.atomic_increment(1); return 0; }
"""
BREAKPOINT = 0xCC


def first_byte():
    """The first byte of libc's getppid, in this process."""
    return ctypes.string_at(ctypes.CDLL("libc.so.6").getppid, 1)[0]


@pytest.fixture(autouse=True)
def whole():
    assert first_byte() != BREAKPOINT
    yield
    detach_all()
    assert first_byte() != BREAKPOINT


def counting():
    detach_all()
    return BPF(text=COUNTING)


def attach(bpf, **where):
    bpf.attach_uprobe(name="c", sym="getppid", fn_name="on_call", **where)
    bpf.attach_uretprobe(name="c", sym="getppid", fn_name="on_return", **where)


def test_every_call_and_every_return_of_every_process():
    bpf = counting()
    attach(bpf)
    run(os.getppid, times=1000, name=["ann", "bob"])
    assert [bpf["calls"][place].value for place in (0, 1)] == [2000, 2000]


def test_only_one_process():
    bpf = counting()
    attach(bpf, pid=os.getpid())
    run(os.getppid, times=1000)
    os.getppid()
    assert [bpf["calls"][place].value for place in (0, 1)] == [1, 1]


def test_detached_all():
    bpf = counting()
    attach(bpf)
    assert first_byte() == BREAKPOINT
    assert detach_all() == 1
    assert first_byte() != BREAKPOINT


def test_what_is_attached_twice_is_detached_twice():
    bpf = counting()
    attach(bpf)
    attach(bpf)
    os.getppid()
    assert [bpf["calls"][place].value for place in (0, 1)] == [2, 2]
    detach_all()
    assert first_byte() != BREAKPOINT


def test_a_kprobe_attached_twice_leaves_no_file_open():
    counting()
    detach_all()
    before = len(os.listdir("/proc/self/fd"))
    bpf = counting()
    for _ in range(3):
        bpf.attach_kprobe(event=bpf.get_syscall_fnname("getppid"), fn_name="on_call")
    os.getppid()
    assert bpf["calls"][0].value == 3
    detach_all()
    assert len(os.listdir("/proc/self/fd")) == before


@pytest.mark.parametrize("death", [signal.SIGKILL, signal.SIGTERM, signal.SIGINT])
def test_nothing_outlives_a_python(death):
    script = textwrap.dedent(f"""
        import time
        from bcc import BPF
        bpf = BPF(text={COUNTING!r})
        bpf.attach_uprobe(name="c", sym="getppid", fn_name="on_call")
        bpf.attach_uretprobe(name="c", sym="getppid", fn_name="on_return")
        print("attached", flush=True)
        time.sleep(600)
    """)
    command = [sys.executable, "-c", script]
    with subprocess.Popen(command, cwd=PROJECT, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True) as python:
        assert python.stdout.readline() == "attached\n"
        assert first_byte() == BREAKPOINT
        python.send_signal(death)
    assert first_byte() != BREAKPOINT
