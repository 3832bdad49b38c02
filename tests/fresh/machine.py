"""A fresh machine: a Debian root with an ordinary user who has sudo, entered in namespaces of its own.

Nothing is copied into it but the repository, and what this machine needs to reach Debian and PyPI. It shares this
machine's kernel, devices and network. Takes root.
"""

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from helpers.lab import cache
from tests.binder.build import CERTIFICATES, pip_settings

ENTER = Path(__file__).with_name("enter.sh")
USER = "learner"
PACKAGES = ["ca-certificates", "git", "make", "python3", "sudo"]


def make_root(suite: str, root: Path, packages: list[str] = PACKAGES) -> None:
    """Make the root file system of a Debian release in the directory *root*, with its user and the repository."""
    root.mkdir(parents=True)
    options = ["--quiet", "--variant=minbase", f"--include={','.join(packages)}", '--aptopt=Acquire::Languages "none"']
    subprocess.run(["mmdebstrap", *options, suite, root], check=True)
    for command in (
        ["useradd", "--create-home", "--shell", "/bin/bash", "--groups", "sudo", USER],
        ["useradd", "--create-home", "--shell", "/bin/bash", "guest"],
    ):
        subprocess.run(["chroot", root, *command], check=True)
    (root / "etc/sudoers.d/nobody-types").write_text("%sudo ALL=(ALL:ALL) NOPASSWD: ALL\n")
    connect(root)
    repository(root / "srv/first-ebpf.git")
    (root / "etc/gitconfig").write_text("[safe]\ndirectory = *\n")  # whoever clones; it belongs to root


def connect(root: Path) -> None:
    """Give a root a name, and this machine's way to Debian and PyPI."""
    (root / "etc/hostname").write_text("fresh\n")
    (root / "etc/hosts").write_text("127.0.0.1 localhost\n127.0.1.1 fresh\n")
    shutil.copy("/etc/resolv.conf", root / "etc/resolv.conf")
    shutil.copy(CERTIFICATES, root / CERTIFICATES.relative_to("/"))
    for settings in Path("/etc/apt/apt.conf.d").glob("99*"):
        shutil.copy(settings, root / "etc/apt/apt.conf.d")
    (root / "etc/pip.conf").write_text(pip_settings(CERTIFICATES))


def repository(path: Path) -> None:
    """Make a bare repository of the project as it lies here, with what is not committed yet."""
    git = ["git", f"--git-dir={path}", "-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", "init", "--quiet", "--bare", "--initial-branch=main", path], check=True)
    for command in (["add", "--all"], ["commit", "--quiet", "--message", "as it lies here"]):
        subprocess.run([*git, f"--work-tree={cache.PROJECT}", *command], check=True, cwd=cache.PROJECT)


@contextlib.contextmanager
def copy(root: Path) -> Iterator[Path]:
    """Give a copy of a root that costs nothing, and is gone with the block."""
    with tempfile.TemporaryDirectory(dir=root.parent) as folder:
        lower, upper, work, merged = root, *(Path(folder, name) for name in ("upper", "work", "merged"))
        for path in (upper, work, merged):
            path.mkdir()
        subprocess.run(
            ["mount", "-t", "overlay", "overlay", "-o", f"lowerdir={lower},upperdir={upper},workdir={work}", merged],
            check=True,
        )
        try:
            yield merged
        finally:
            subprocess.run(["umount", merged], check=True)


def start(
    root: Path, command: str, user: str = USER, around: Sequence[str] = (), before: str = "true", **options
) -> subprocess.Popen:
    """Start a shell command of a user who has just logged in; when its first process ends, all of them do.

    *before* is a command that root runs on that machine first; *around* begins the command that enters it.
    """
    enter = ["unshare", "--mount", "--uts", "--pid", "--fork", "--kill-child", "bash", ENTER]
    streams = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.STDOUT, "text": True}
    words = [*around, *enter, root, user, command, before]
    return subprocess.Popen(words, env={"PATH": os.environ["PATH"], "LANG": "C.UTF-8"}, **{**streams, **options})
