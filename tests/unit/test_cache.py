"""What is built lies beside other people's files, and under a name that changes with everything it is made of."""

import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from helpers.lab import LabError, building, cache, debian, image, template, vm

MADE = [
    *("image-trixie-0123456789ab", "template-trixie-tcg-0123456789ab", "python-0123456789ab"),
    *("memory-template-trixie-kvm-0123456789ab-1795620000000000000", "image-sid-0123456789ab.partial"),
    *("first-ebpf-binder", "first-ebpf-hub", "first-ebpf-workspaces"),
    "first-ebpf-tests-4194305",
]
FILES = ["kvm-fails-0123456789ab", "first-ebpf-lock", "first-ebpf-python-lock"]
OTHERS = [
    *("photos", "download.partial", "image-of-a-cat", "python-scripts", "binder", "lock.partial"),
    *("template-letters", "template-letters.partial", "tests-2024"),
]


@pytest.fixture
def disk(tmp_path, monkeypatch):
    """A disk of other people's, with a comma and a space in its name, that is given to the lab."""
    folder = tmp_path / "my, disk"
    monkeypatch.setenv("EBPF_LAB_CACHE", str(folder))
    for name in OTHERS:
        (folder / name).mkdir(parents=True)
        (folder / name / "mine").write_text("mine")
    return folder


def test_make_clean_leaves_other_peoples_files(disk):
    for name in MADE:
        (disk / name / "within").mkdir(parents=True)
    for name in FILES:
        (disk / name).write_text("")
    subprocess.run(["make", "--no-print-directory", "clean"], cwd=cache.PROJECT, check=True)
    assert {str(path.relative_to(disk)) for path in disk.rglob("*")} == {*OTHERS, *(f"{name}/mine" for name in OTHERS)}


def test_make_clean_leaves_no_empty_folder(tmp_path, monkeypatch):
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path / "ours"))
    (tmp_path / "ours" / MADE[0]).mkdir(parents=True)
    subprocess.run(["make", "--no-print-directory", "clean"], cwd=cache.PROJECT, check=True)
    assert not list(tmp_path.iterdir())


def test_make_clean_says_what_is_somebody_elses(disk, monkeypatch):
    (disk / MADE[0]).mkdir()

    def refuse(path):
        raise PermissionError

    monkeypatch.setattr(cache.shutil, "rmtree", refuse)
    with pytest.raises(LabError, match=f"You may not.* sudo EBPF_LAB_CACHE='{disk}' make clean"):
        cache.clean()


def test_the_directory_does_not_move_with_the_current_one(tmp_path, monkeypatch):
    """A notebook's kernel has another one than `make`."""
    monkeypatch.setenv("EBPF_LAB_CACHE", "here")
    monkeypatch.chdir(tmp_path)
    assert cache.directory() == tmp_path / "here"


def test_a_build_removes_what_a_killed_one_left_and_nothing_else(disk):
    killed = disk / "template-trixie-tcg-0123456789ab.partial"
    killed.mkdir()
    with building.building(disk / "image-trixie-0123456789ab", print) as scratch:
        (scratch / "file").write_text("built")
    names = {path.name for path in disk.iterdir()}
    assert names == {*OTHERS, "image-trixie-0123456789ab", "first-ebpf-lock"}


def test_what_nobody_has_used_goes_and_nothing_else(disk, monkeypatch):
    used, python = disk / "image-trixie-0123456789ab", disk / "python-0123456789ab"
    for folder in (used, disk / "template-trixie-tcg-0123456789ab", python, disk / "python-ba9876543210"):
        folder.mkdir()
    for folder in disk.iterdir():
        os.utime(folder, (0, 0))
    monkeypatch.setattr(sys, "prefix", str(python))
    template.prune(keep=[used])
    assert {path.name for path in disk.iterdir()} == {*OTHERS, used.name, python.name}


def more(module, name):
    """The same command, or part of a command, with one argument more."""
    before = getattr(module, name)
    return (lambda *given: [*before(*given), "-another"]) if callable(before) else type(before)([*before, "-another"])


def test_mmdebstrap_works_where_others_get_through(tmp_path, monkeypatch):
    """pytest's folders are closed to others, as libpam-tmpdir's are."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        missing = Path(folder, "missing")
        closed = (tmp_path, 1000, "/var/tmp"), (folder, 1000, "/var/tmp"), (missing, 1000, "/var/tmp")
        for named, user, found in (*closed, (tmp_path, 0, tmp_path)):
            monkeypatch.setenv("TMPDIR", str(named))
            monkeypatch.setattr(image.os, "geteuid", lambda user=user: user)
            assert image.work() == Path(found)
        os.chmod(folder, 0o711)
        monkeypatch.setenv("TMPDIR", folder)
        monkeypatch.setattr(image.os, "geteuid", lambda: 1000)
        assert image.work() == Path(folder)


@pytest.mark.parametrize("name", ["qemu_arguments", "HARDWARE"])
def test_a_machine_is_named_after_each_argument_of_qemu(disk, monkeypatch, name):
    """Also after those that do not say which hardware there is."""
    another_name(monkeypatch, vm, name, more(vm, name))


@pytest.mark.parametrize(
    ("module", "name", "value"),
    [
        (vm, "MEMORY", 2048),
        (vm, "KERNEL_COMMAND_LINE", "root=/dev/vda"),
        (vm, "ACCELERATORS", {"tcg": ["-accel", "tcg", "-cpu", "Skylake-Client"]}),
        (vm, "qemu_version", lambda: "QEMU emulator version 99.0"),
        (template, "AGENT", image.INIT),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_a_machine_is_named_after_what_it_is_made_of(disk, monkeypatch, module, name, value):
    another_name(monkeypatch, module, name, value)


def another_name(monkeypatch, module, name, value):
    image.target(image.DEFAULT_SUITE).mkdir()
    before = template.location(image.DEFAULT_SUITE, "tcg")
    assert before == template.location(image.DEFAULT_SUITE, "tcg")
    monkeypatch.setattr(module, name, value)
    assert template.location(image.DEFAULT_SUITE, "tcg") != before


@pytest.mark.parametrize("name", ["mmdebstrap", "pip", "pack", "UNREAD", "WHEELS"])
def test_a_disk_is_named_after_each_argument(disk, monkeypatch, name):
    before = image.target(image.DEFAULT_SUITE)
    monkeypatch.setattr(image, name, more(image, name))
    assert image.target(image.DEFAULT_SUITE) != before


SCRIPTS = ["DPKG_OPTIONS", "SITE", "INITRD", "TRIM", "PYTHON", "COMPILE", "QUICK", "BOOT", "EXT4", "ARCHITECTURE"]


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_disk_is_named_after_each_script(disk, monkeypatch, name):
    before = image.target(image.DEFAULT_SUITE)
    monkeypatch.setattr(image, name, getattr(image, name) + "another")
    assert image.target(image.DEFAULT_SUITE) != before


@pytest.mark.parametrize(("name", "text"), [("INIT", "#\n"), ("PRECOMPILE", "#\n"), ("FRONT", "//\n")])
def test_a_disk_is_named_after_each_file(disk, tmp_path, monkeypatch, name, text):
    before = image.target(image.DEFAULT_SUITE)
    changed = tmp_path / getattr(image, name).name
    changed.write_text(getattr(image, name).read_text() + text)
    monkeypatch.setattr(image, name, changed)
    assert image.target(image.DEFAULT_SUITE) != before


def test_a_disk_is_named_after_the_packages_in_it(disk, tmp_path, monkeypatch):
    before = image.target(image.DEFAULT_SUITE)
    packages = tmp_path / "apt.txt"
    packages.write_text(debian.APT_LIST.read_text() + "another   # guest\n")
    monkeypatch.setattr(debian, "APT_LIST", packages)
    assert image.target(image.DEFAULT_SUITE) != before


def test_a_course_that_changes_while_its_disk_is_made(disk, tmp_path, monkeypatch):
    """Such as by git pull: what was made of both is not kept under the name of one."""
    packages = tmp_path / "apt.txt"
    packages.write_text(debian.APT_LIST.read_text())
    monkeypatch.setattr(debian, "APT_LIST", packages)
    monkeypatch.setattr(image, "build", lambda *_: packages.write_text("another   # guest\n"))
    with pytest.raises(LabError, match="The course has changed"):
        image.ensure()
    assert not list(disk.glob("image-trixie-*"))


def test_a_course_that_changes_before_its_machine_boots(disk):
    with pytest.raises(LabError, match="The course has changed"):
        template.build(image.DEFAULT_SUITE, "tcg", print)


def test_a_course_that_changes_while_its_machine_boots(disk, tmp_path, monkeypatch):
    agent = tmp_path / "guest.py"
    agent.write_bytes(template.AGENT.read_bytes())
    monkeypatch.setattr(template, "AGENT", agent)
    monkeypatch.setattr(template, "freeze", lambda *_: agent.write_text(""))
    image.target(image.DEFAULT_SUITE).mkdir()
    with pytest.raises(LabError, match="The course has changed"):
        template.build(image.DEFAULT_SUITE, "tcg", print)
    assert not list(disk.glob("template-trixie-*"))


@pytest.mark.parametrize("program", ["mmdebstrap", "mke2fs", "qemu-img"])
def test_a_program_that_is_missing_is_named_at_once(disk, monkeypatch, program):
    there = shutil.which
    monkeypatch.setattr(image.shutil, "which", lambda name, **path: None if name == program else there(name, **path))
    monkeypatch.setattr(image.causes, "run", lambda *_, **options: pytest.fail("it builds"))
    monkeypatch.setattr(image, "gather", lambda *_: None)
    with pytest.raises(LabError, match=f"{program} is missing"):
        image.build(disk, image.DEFAULT_SUITE, print)


def test_a_disk_does_not_depend_on_where_the_course_lies(disk, tmp_path, monkeypatch):
    before = image.target(image.DEFAULT_SUITE)
    for name in ("INIT", "PRECOMPILE", "FRONT"):
        moved = tmp_path / getattr(image, name).name
        moved.write_bytes(getattr(image, name).read_bytes())
        monkeypatch.setattr(image, name, moved)
    assert image.target(image.DEFAULT_SUITE) == before
