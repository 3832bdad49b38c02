"""Every "no" of the machine report, on made-up /proc and /sys trees."""

import platform
import re
import subprocess
import sys
import time
from pathlib import Path

import pytest

from helpers.lab import machine
from helpers.lab.machine import missing_for_kprobes, report

PROJECT = Path(__file__).parents[2]
RELEASE = "6.12.94+deb13-amd64"
SITE = "usr/lib/python3/dist-packages"
STATUS = "Name:\tpython\nUid:\t{0}\t{0}\t{0}\t{0}\nCapEff:\t{1}\n"
EVERY_CAPABILITY = "000001ffffffffff"
MOUNTS = "proc /proc proc rw 0 0\ntracefs /sys/kernel/tracing tracefs rw,nosuid 0 0\n"


def write(root, name, text=""):
    path = root / name
    assert path.is_relative_to(root), f"{name} would leave the made-up tree"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def in_pid_namespace(root, inode):
    link = root / "proc/self/ns/pid"
    link.parent.mkdir(exist_ok=True)
    link.unlink(missing_ok=True)
    link.symlink_to(f"pid:[{inode}]")


@pytest.fixture
def good(tmp_path, monkeypatch):
    """A machine that can do everything."""
    monkeypatch.setattr(sys, "path", ["", "/somewhere/else", f"/{SITE}"])
    write(tmp_path, "proc/sys/kernel/osrelease", RELEASE + "\n")
    write(tmp_path, "proc/self/status", STATUS.format(0, EVERY_CAPABILITY))
    write(tmp_path, "proc/self/mounts", MOUNTS)
    in_pid_namespace(tmp_path, 4026531836)
    write(tmp_path, "proc/sys/kernel/unprivileged_bpf_disabled", "2\n")
    write(tmp_path, "sys/bus/event_source/devices/kprobe/type", "8\n")
    write(tmp_path, "sys/bus/event_source/devices/tracepoint/type", "2\n")
    write(tmp_path, "sys/kernel/tracing/trace_pipe")
    write(tmp_path, "sys/kernel/tracing/events/syscalls/sys_enter_sync/id", "1\n")
    write(tmp_path, "sys/kernel/btf/vmlinux")
    write(tmp_path, "sys/kernel/security/lockdown", "[none] integrity confidentiality\n")
    write(tmp_path, f"lib/modules/{RELEASE}/build/include/linux/kconfig.h")
    write(tmp_path, f"{SITE}/bcc/__init__.py")
    write(tmp_path, f"{SITE}/bcc/libbcc.py")
    write(tmp_path, f"{SITE}/bcc/version.py", "__version__ = '0.31.0'\n")
    return tmp_path


def remove(root, name):
    (root / name).rename(root / "removed")


def the(root, name):
    [check] = [check for check in report(root) if check.name == name]
    return check


def test_a_good_machine(good):
    assert missing_for_kprobes(good) == []
    assert all(check.ok and not check.fix for check in report(good))
    assert the(good, "kernel").found == f"Linux {RELEASE} on {platform.machine()}"
    assert the(good, "BCC").found == f"0.31.0 in {good}/{SITE}/bcc"
    assert "also for system calls" in the(good, "tracepoints").found
    assert report(good).summary == "This machine can run every program of the course."


def not_root(root):
    write(root, "proc/self/status", STATUS.format(1000, "0" * 16))


def root_in_a_container(root):
    write(root, "proc/self/status", STATUS.format(0, "00000000a80425fb"))


def old_kernel(root):
    write(root, "proc/sys/kernel/osrelease", "5.4.0-216-generic\n")
    write(root, "lib/modules/5.4.0-216-generic/build/include/linux/kconfig.h")


def dangling_headers(root):
    remove(root, f"lib/modules/{RELEASE}/build")
    (root / f"lib/modules/{RELEASE}/build").symlink_to("/usr/src/gone")


def no_tracefs(root):
    write(root, "proc/self/mounts", "proc /proc proc rw 0 0\n")
    remove(root, "sys/kernel/tracing")


def locked_down(root):
    write(root, "sys/kernel/security/lockdown", "none integrity [confidentiality]\n")


def other_bcc(root):
    (root / SITE / "bcc/libbcc.py").unlink()


NOES = [
    (not_root, "user", "user 1000, without CAP_SYS_ADMIN", "sudo make lab"),
    (root_in_a_container, "user", "root, without CAP_SYS_ADMIN", "docker run --privileged"),
    (lambda root: in_pid_namespace(root, 4026532227), "PIDs", "a PID namespace of its own", "--pid=host"),
    (old_kernel, "kernel", "Linux 5.4.0-216-generic", "sudo apt install linux-image"),
    (lambda root: remove(root, "proc/sys/kernel/unprivileged_bpf_disabled"), "bpf()", "no such system call", "kernel"),
    (lambda root: remove(root, "sys/bus/event_source/devices/kprobe"), "kprobes", "without them", "sudo apt install"),
    (no_tracefs, "tracefs", "not mounted", "sudo mount -t tracefs tracefs /sys/kernel/tracing"),
    (lambda root: remove(root, "lib"), "headers", "none in /lib", f"sudo apt install linux-headers-{RELEASE} "),
    (dangling_headers, "headers", "points nowhere", "sudo apt install linux-headers"),
    (locked_down, "lockdown", "confidentiality", "update-grub"),
    (lambda root: remove(root, SITE), "BCC", "cannot import", "sudo apt install python3-bpfcc"),
    (other_bcc, "BCC", "another project's package", "-m pip uninstall bcc"),
]


def test_a_processor_whose_rings_nobody_has_read(good, monkeypatch):
    monkeypatch.setattr(platform, "machine", lambda: "aarch64")
    check = the(good, "kernel")
    assert not check.ok and "aarch64" in check.found and "EBPF_LAB=vm" in check.fix


@pytest.mark.parametrize("spoil, name, found, fix", NOES)
def test_each_no_and_what_to_do(good, spoil, name, found, fix):
    spoil(good)
    [check] = missing_for_kprobes(good)
    assert (check.name, check.ok, check.needed) == (name, False, True)
    assert found in check.found and fix in check.fix
    text = str(report(good))
    assert f"NO   {name}" in text and fix in text and f"see {name}." in text


@pytest.mark.parametrize(
    "spoil, name",
    [
        (lambda root: remove(root, "sys/kernel/btf"), "BTF"),
        (lambda root: remove(root, "sys/bus/event_source/devices/tracepoint"), "tracepoints"),
    ],
)
def test_what_the_course_can_do_without(good, spoil, name):
    spoil(good)
    assert missing_for_kprobes(good) == []
    assert not the(good, name).ok and "can do without" in the(good, name).fix


@pytest.mark.parametrize("spoil", [other_bcc, dangling_headers, old_kernel])
def test_packages_are_named_for_three_families(good, spoil):
    spoil(good)
    [check] = missing_for_kprobes(good)
    assert re.search(r"sudo apt install \S+ .*Fedora: \S+; Arch: \S+\)$", check.fix)


def test_other_ways_to_a_yes(good):
    remove(good, "sys/bus/event_source/devices/kprobe")
    write(good, "sys/kernel/tracing/kprobe_events")
    assert the(good, "kprobes").ok

    write(good, "proc/self/mounts", "proc /proc proc rw 0 0\n")
    (good / "sys/kernel/debug").mkdir()
    (good / "sys/kernel/tracing").rename(good / "sys/kernel/debug/tracing")
    assert the(good, "tracefs").ok

    write(good, "sys/kernel/security/lockdown", "none [integrity] confidentiality\n")
    assert the(good, "lockdown").ok and "allows tracing" in the(good, "lockdown").found
    (good / "sys/kernel/security/lockdown").unlink()
    assert the(good, "lockdown").found == "not in force"


def test_headers_inside_the_kernel(good):
    remove(good, "lib")
    write(good, "sys/kernel/kheaders.tar.xz")
    assert the(good, "headers").ok


def test_tracefs_that_only_root_may_read(good, monkeypatch):
    def refuse(path, exists=Path.exists):
        if "tracing/" in str(path):
            raise PermissionError(path)
        return exists(path)

    monkeypatch.setattr(Path, "exists", refuse)
    assert the(good, "tracefs").ok and the(good, "kprobes").ok and the(good, "tracepoints").found == "yes"


def test_an_empty_tree_is_all_no_and_no_crash(tmp_path):
    assert [check.name for check in report(tmp_path) if check.ok] == ["PIDs", "lockdown"]


def test_notebook_table_escapes_and_takes_the_colours_of_the_page(good):
    write(good, "proc/sys/kernel/osrelease", "6.12-<b>&\n")
    table = report(good)._repr_html_()
    assert "6.12-&lt;b&gt;&amp;" in table and "color" not in table
    assert table.count("<tr>") == len(report(good)) + 1


def test_importing_it_is_light():
    code = (
        "import sys, helpers.lab.machine; print(*sorted({'bcc', 'numpy', 'pandas', 'matplotlib'} & set(sys.modules)))"
    )
    assert subprocess.check_output([sys.executable, "-c", code], cwd=PROJECT, text=True).strip() == ""


def test_this_machine_in_a_terminal():
    begin = time.monotonic()
    done = subprocess.run([sys.executable, "-m", "helpers.lab.machine"], cwd=PROJECT, text=True, capture_output=True)
    assert time.monotonic() - begin < 10
    assert done.returncode == (1 if missing_for_kprobes() else 0) and done.stderr == ""
    assert f"Linux {platform.release()} on" in done.stdout
    for check in report():
        assert check.name in done.stdout


def test_this_machine_for_somebody_without_rights():
    """Nobody sees the same machine, but for the files that only root may read."""
    found = machine.kprobes(Path("/")).ok, machine.tracefs(Path("/")).ok
    code = (
        "import os, sys; sys.path.insert(0, sys.argv[1]);"
        "from pathlib import Path; from helpers.lab import machine as m;"
        "os.setgroups([]); os.setgid(65534); os.setuid(65534);"
        "print(m.user(Path('/')).ok, m.kprobes(Path('/')).ok, m.tracefs(Path('/')).ok)"
    )
    if not the("/", "user").ok:
        pytest.skip("only root can become somebody else")
    done = subprocess.run([sys.executable, "-c", code, str(PROJECT)], text=True, capture_output=True, check=True)
    assert done.stdout.split() == ["False", *map(str, found)]
