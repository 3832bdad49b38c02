"""What Jupyter servers keep: in /tmp, where many people's begin and end, and beside the notebooks."""

import asyncio
import os
import resource
import subprocess
import sys
from pathlib import Path

from jupyter_server.services.contents.largefilemanager import AsyncLargeFileManager
from traitlets.config import Config

from helpers.lab import serve


def test_directories_of_others_come_and_go(tmp_path, monkeypatch):
    """No process has this number; the second directory is gone as soon as it has been listed."""
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path / "cache"))
    monkeypatch.setattr(serve, "RUNTIME_PARENT", str(tmp_path))
    monkeypatch.setattr(serve.sockets, "possible", lambda: False)
    left, vanishing = (tmp_path / f"{serve.RUNTIME_PREFIX}4194305-{name}" for name in ("left", "vanishing"))
    left.mkdir()
    monkeypatch.setattr(Path, "glob", lambda *_: iter([vanishing, left]))
    directory, _ = serve.prepare()
    assert not left.exists() and directory.name.startswith(f"{serve.RUNTIME_PREFIX}{os.getpid()}-")


def test_notebooks_of_one_name_have_checkpoints_of_their_own(tmp_path, monkeypatch):
    monkeypatch.setenv("EBPF_LAB_NOTEBOOK_DIR", str(tmp_path))
    options = serve.options()
    manager = AsyncLargeFileManager(config=Config(options), root_dir=options["ServerApp"]["root_dir"])
    english, chinese = tmp_path / "01.txt", tmp_path / "zh/01.txt"

    async def revert():
        checkpoints = [await manager.create_checkpoint(path) for path in ("01.txt", "zh/01.txt")]
        english.write_text("a slip")
        await manager.restore_checkpoint(checkpoints[0]["id"], "01.txt")

    chinese.parent.mkdir()
    english.write_text("English")
    chinese.write_text("中文")
    asyncio.run(revert())
    assert (english.read_text(), chinese.read_text()) == ("English", "中文")


def test_a_full_disk_leaves_no_part_of_a_notebook(tmp_path):
    """The file that may not grow any more stands for it."""
    course = tmp_path / "course"
    for name in ("helpers/small.py", "notebooks/large.ipynb"):
        (course / name).parent.mkdir(parents=True)
    (course / "notebooks/large.ipynb").write_text("{" + " " * 10_000 + "}")
    code = "import pathlib, sys; from helpers.lab import student; student.hand_out(*map(pathlib.Path, sys.argv[1:]))"

    def hand_out(size: int) -> int:
        limit = [resource.RLIMIT_FSIZE, (size, resource.RLIM_INFINITY)]
        command = [sys.executable, "-c", code, course, tmp_path / "home"]
        return subprocess.run(command, preexec_fn=lambda: resource.setrlimit(*limit), stderr=subprocess.PIPE).returncode

    assert hand_out(4_000) == 1
    assert hand_out(resource.RLIM_INFINITY) == 0
    assert (tmp_path / "home/notebooks/large.ipynb").stat().st_size == 10_002
