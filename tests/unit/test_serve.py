"""What a Jupyter server finds in /tmp, where many people's servers begin and end."""

import os
from pathlib import Path

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
