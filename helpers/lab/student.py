"""What JupyterHub starts for a student, as that student: a desk with a copy of the course, and a Jupyter server on it.

The code outside the virtual machine stays the teacher's: $EBPF_LAB_DESK is what the machine and Jupyter's files see.
"""

import os
import shutil
import sys
from pathlib import Path

from . import cache, serve


def main(arguments: list[str]):
    os.umask(0o077)
    desk = Path.home() / "first-ebpf"
    lay(cache.PROJECT, desk)
    os.environ["EBPF_LAB_DESK"] = str(desk)
    os.chdir(desk)
    serve.become(["jupyterhub-singleuser", *arguments])


def lay(course: Path, desk: Path):
    """Copy the helpers as they are today, and those notebooks that are not on the desk yet."""
    desk.mkdir(exist_ok=True)
    desk.chmod(0o700)
    for folder, copy in ("helpers", shutil.copyfile), ("notebooks", copy_new):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(course / folder, desk / folder, copy_function=copy, dirs_exist_ok=True, ignore=ignore)


def copy_new(source: str, target: str):
    if not os.path.lexists(target):
        shutil.copyfile(source, target)


if __name__ == "__main__":
    main(sys.argv[1:])
