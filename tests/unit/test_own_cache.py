"""The tests have a cache of their own, and the person's stays as it was."""

from helpers.lab import cache
from tests.__main__ import own_cache


def test_own_cache(tmp_path, monkeypatch):
    monkeypatch.setenv("EBPF_LAB_CACHE", str(tmp_path))
    for name in ("image-trixie-0", "template-trixie-tcg-0", "template-trixie-tcg-1.partial", "workspaces"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text("the person's")
    (tmp_path / "kvm-fails-0").write_text("why")
    # Of a run that was killed: no process has this number.
    (tmp_path / "tests-4194305" / "image").mkdir(parents=True)
    before = {path: path.stat().st_ino for path in tmp_path.rglob("*") if "tests-" not in str(path)}
    with own_cache():
        ours = cache.directory()
        assert ours.parent == tmp_path and {path.name for path in tmp_path.glob("tests-*")} == {ours.name}
        assert {path.name for path in ours.iterdir()} == {"image-trixie-0", "template-trixie-tcg-0", "kvm-fails-0"}
        assert (ours / "image-trixie-0/file").stat().st_ino == before[tmp_path / "image-trixie-0/file"]
        (ours / "template-trixie-tcg-0/file").unlink()
        (ours / "workspaces").mkdir()
    assert {path: path.stat().st_ino for path in tmp_path.rglob("*")} == before
