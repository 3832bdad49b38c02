"""The tests have a cache of their own, and the person's stays as it was."""

from helpers.lab import cache
from tests.__main__ import own_cache


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
