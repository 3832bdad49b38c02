"""What JupyterHub starts for a student, as that student: a copy of the course, and a Jupyter server on it.

The code outside the virtual machine stays the teacher's: $EBPF_LAB_NOTEBOOK_DIR is what the machine and Jupyter's files
see.
"""

import os
import shutil
import sys
from pathlib import Path

from . import cache, serve


def main(arguments: list[str]) -> None:
    """Become the student's Jupyter server; *arguments* are the hub's."""
    os.umask(0o077)
    notebook_dir = Path.home() / "first-ebpf"
    hand_out(cache.PROJECT, notebook_dir)
    os.environ["EBPF_LAB_NOTEBOOK_DIR"] = str(notebook_dir)
    os.chdir(notebook_dir)
    serve.become(["jupyterhub-singleuser", *arguments])


def hand_out(course: Path, notebook_dir: Path) -> None:
    """Copy the helpers as they are today, and those notebooks that are not there yet."""
    notebook_dir.mkdir(exist_ok=True)
    notebook_dir.chmod(0o700)
    for folder, copy in ("helpers", shutil.copyfile), ("notebooks", _copy_new):
        ignore = shutil.ignore_patterns("__pycache__", ".ipynb_checkpoints")
        shutil.copytree(course / folder, notebook_dir / folder, copy_function=copy, dirs_exist_ok=True, ignore=ignore)


def _copy_new(source: str, target: str) -> None:
    if not os.path.lexists(target):
        # Whole or not at all: where the disk is full, the next time copies it.
        shutil.copyfile(source, f"{target}.partial")
        os.rename(f"{target}.partial", target)


if __name__ == "__main__":
    main(sys.argv[1:])
