"""The kernel's lists of its functions, written by the test, and what `helpers.collect.functions` makes of them."""

import re

import pytest

import helpers.collect.functions as functions
from helpers.collect.functions import kernel_functions, probeable

TRACEABLE = (
    b"vfs_open\nvfs_read\ndo_open.isra.0\nshow\nshow\nstep\next4_open [ext4]\nbad_open\nx_open [mod]\n__ia32_sys_sync\n"
)
REFUSED = b"0xffffffff81000000-0xffffffff81000010\tbad_open\n0x10-0x20\tx_open [mod]\n"
SYMBOLS = b"""\
ffffffff81000000 T vfs_open
ffffffff81000010 t vfs_read
ffffffff81000020 t do_open.isra.0
ffffffff81000030 t show
ffffffff81000040 t show
ffffffff81000050 t step
ffffffff81000060 d step
ffffffff81000070 t hidden_open
ffffffff81000090 T __x64_sys_sync
ffffffff81000090 T __ia32_sys_sync
ffffffff81000080 t bad_open
ffffffffc0000000 t ext4_open\t[ext4]
ffffffffc0000010 t x_open\t[mod]
ffffffffc0000020 t __pfx_ext4\t[ext4]
"""


@pytest.mark.parametrize(
    ("pattern", "names"),
    [
        ("vfs_open", ["vfs_open"]),
        ("vfs_*", ["vfs_open", "vfs_read"]),
        ("*open", ["ext4_open", "vfs_open"]),  # a module's too, none that is refused, none without a trace
        ("*open*", ["do_open.isra.0", "ext4_open", "vfs_open"]),
        ("vfs_rea?", ["vfs_read"]),
        ("vfs.open", []),  # a dot is a dot
        ("fs_open", []),  # the whole name
        ("[ev]*", []),
        ("show", []),  # two of that name
        ("step", []),  # and one that is no function
        ("", []),
        ("*sys_sync", ["__ia32_sys_sync", "__x64_sys_sync"]),  # one function with two names
    ],
)
def test_patterns(pattern, names):
    assert probeable(pattern, TRACEABLE, REFUSED, SYMBOLS) == names


def test_addresses_that_are_hidden_say_nothing():
    hidden = re.sub(rb"^\S+", b"0000000000000000", SYMBOLS, flags=re.MULTILINE)
    assert probeable("*sys_sync", TRACEABLE, REFUSED, hidden) == ["__ia32_sys_sync"]
    assert probeable("*_open", TRACEABLE, REFUSED, hidden) == ["ext4_open", "vfs_open"]


def test_all():
    assert probeable("*", TRACEABLE, REFUSED, SYMBOLS) == [
        "__ia32_sys_sync",
        "__x64_sys_sync",
        "do_open.isra.0",
        "ext4_open",
        "vfs_open",
        "vfs_read",
    ]
    assert probeable("*", b"", REFUSED, SYMBOLS) == []


@pytest.fixture
def lists(tmp_path, monkeypatch):
    """The three lists as files."""
    files = {"available_filter_functions": TRACEABLE, "blacklist": REFUSED, "kallsyms": SYMBOLS}
    for name, text in files.items():
        (tmp_path / name).write_bytes(text)
    monkeypatch.setattr(functions, "tracefs", lambda: tmp_path)
    monkeypatch.setattr(functions, "BLACKLIST", tmp_path / "blacklist")
    monkeypatch.setattr(functions, "SYMBOLS", tmp_path / "kallsyms")
    return tmp_path


def test_from_files(lists):
    assert kernel_functions("*open") == ["ext4_open", "vfs_open"]


def test_without_debugfs(lists):
    (lists / "blacklist").unlink()
    assert kernel_functions("*open") == ["bad_open", "ext4_open", "vfs_open", "x_open"]


def test_a_kernel_without_the_list(lists):
    (lists / "available_filter_functions").unlink()
    with pytest.raises(FileNotFoundError, match="CONFIG_DYNAMIC_FTRACE"):
        kernel_functions("vfs_open")


def test_without_tracefs(lists, monkeypatch):
    def missing():
        raise FileNotFoundError("mount it")

    monkeypatch.setattr(functions, "tracefs", missing)
    with pytest.raises(FileNotFoundError, match="mount it"):
        kernel_functions("vfs_open")
