"""`kernel_functions` on this kernel: it takes the names that it lists, and no other."""

import random
import re
from pathlib import Path

import pytest

from helpers import detach_all, kernel_functions

SAMPLE = 40


@pytest.fixture
def takes(capfd):
    """Whether the kernel takes a kprobe on the function of a name."""
    from bcc import BPF

    bpf = BPF(text="int on_call(void *ctx) { return 0; }")

    def takes(name):
        try:
            bpf.attach_kprobe(event=name, fn_name="on_call")
        except Exception as error:
            assert "Failed to attach" in str(error)
            return False
        bpf.detach_kprobe(event=name, fn_name="on_call")
        return True

    yield takes
    detach_all()


def test_the_kernel_takes_what_is_listed_and_nothing_else(takes):
    listed = kernel_functions("*")
    assert len(listed) == len(set(listed)) > 10_000
    text = re.findall(r"^\S+ [tTwW] (\S+)", Path("/proc/kallsyms").read_text(), re.MULTILINE)
    # Parts of a function that the compiler put elsewhere are no functions; most can be probed all the same.
    others = sorted(name for name in set(text) - set(listed) if ".cold" not in name)
    refused = re.findall(r"^\S+\t(\S+)", Path("/sys/kernel/debug/kprobes/blacklist").read_text(), re.MULTILINE)
    choose = random.Random(8)
    wrong = [name for name in choose.sample(listed, SAMPLE) if not takes(name)]
    wrong += [name for name in choose.sample(others, SAMPLE) if takes(name)]
    wrong += [name for name in choose.sample(sorted(set(refused)), SAMPLE) if name in listed or takes(name)]
    assert not wrong


def test_it_finds_what_the_course_probes(takes):
    for name in ("__x64_sys_openat", "__x64_sys_sync", "vfs_open"):
        assert kernel_functions(name) == [name]
    assert kernel_functions("blk_start_request") == []  # gone since Linux 5.0
    assert set(kernel_functions("vfs_*")) > {"vfs_open", "vfs_read", "vfs_write"}
