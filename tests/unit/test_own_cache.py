"""The tests have a cache of their own, and the person's stays as it was; as root they are told what the person said."""

import os
import subprocess

from helpers.lab import cache
from tests import __main__ as tests
from tests.__main__ import own_cache


def test_root_is_told_what_the_person_said(monkeypatch):
    """Such as where notebooks run: sudo forgets the environment."""
    monkeypatch.setenv("EBPF_LAB", "vm")
    monkeypatch.setenv("EBPF_LAB_CACHE", "/a path")
    started = []
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    monkeypatch.setattr(tests.shutil, "which", lambda name: name)
    monkeypatch.setattr(subprocess, "run", lambda command, **_: subprocess.CompletedProcess(command, 0))
    monkeypatch.setattr(os, "execvp", lambda program, words: started.extend(words))
    tests.become_root(["unit"])
    assert {"sudo", "EBPF_LAB=vm", "EBPF_LAB_CACHE=/a path"} <= set(started) and started[-3:] == ["-m", "tests", "unit"]


def test_own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    image, template, verdict = (f"{name}-0123456789ab" for name in ("image-trixie", "template-trixie-tcg", "kvm-fails"))
    for name in (image, template, f"{template}.partial", "first-ebpf-workspaces", "image-of-a-cat", "tests-4194305"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("the person's")
    (tmp_path / verdict).write_text("why")
    # Of a run that was killed: no process has this number.
    (tmp_path / "first-ebpf-tests-4194305" / "image").mkdir(parents=True)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*") if "first-ebpf-tests-" not in str(path)}
    with own_cache():
        ours = cache.directory()
        assert ours.parent == tmp_path and {path.name for path in tmp_path.glob("first-ebpf-tests-*")} == {ours.name}
        assert {path.name for path in ours.iterdir()} == {image, template, verdict}
        assert (ours / image / "file").stat().st_ino == before[tmp_path / image / "file"]
        (ours / template / "file").unlink()
        (ours / "first-ebpf-workspaces").mkdir()
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before
