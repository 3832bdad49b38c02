"""The locks of the lists of Python packages in pyproject.toml: each list has a file in binder/requirements."""

import tomllib
from pathlib import Path

# pip's own copy is there before any package is.
from pip._vendor.packaging.requirements import Requirement

from . import LabError
from .cache import PROJECT

LOCKS, PYPROJECT = PROJECT / "binder/requirements", PROJECT / "pyproject.toml"
GUEST = ("dependencies", "test")  # what a notebook imports, and the tests that run in the VM


def lock(name: str) -> Path:
    """Return the lock of a list in pyproject.toml, such as "lab" or "dependencies", for pip's option --requirement.

    Raises:
        LabError: the list names a package that the lock does not have.
    """
    content = tomllib.loads(PYPROJECT.read_text())
    lists = {"dependencies": content["project"]["dependencies"], **content["dependency-groups"]}
    file = LOCKS / f"{name}.txt"
    if missing := set(lists[name]) - {requirement.name for requirement, _ in _locked(file)}:
        raise LabError(f"{file.name} does not lock {', '.join(sorted(missing))}.", "Lock it: make lock")
    return file


def for_guest(python: str) -> str:
    """Return what the VM needs as lines for pip, hashes included, without markers.

    Pip would judge the markers by the Python and the processor that it runs on instead.

    Args:
        python: The guest's Python, such as "3.13".

    Raises:
        LabError: see `lock`.
    """
    guest = {"python_version": python, "python_full_version": f"{python}.9", "platform_machine": "x86_64"}
    lines = {
        requirement.name: f"{requirement.name}{requirement.specifier} {hashes}"
        for name in GUEST
        for requirement, hashes in _locked(lock(name))
        if requirement.marker is None or requirement.marker.evaluate(guest)
    }
    return "\n".join(lines[name] for name in sorted(lines)) + "\n"


def _locked(file: Path) -> list[tuple[Requirement, str]]:
    lines = (line for line in file.read_text().replace("\\\n", "").splitlines() if not line.startswith("#"))
    parts = (line.partition("--hash") for line in lines)
    return [(Requirement(head), " ".join((mark + hashes).split())) for head, mark, hashes in parts]
