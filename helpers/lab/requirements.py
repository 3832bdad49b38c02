"""The parts of the locked Python requirements: what the VM needs, and what this machine does."""

import re
import tomllib
from pathlib import Path

# pip's own copy is there before any package is.
from pip._vendor.packaging.markers import Marker

from . import LabError
from .cache import PROJECT

LOCK, PYPROJECT = PROJECT / "binder/requirements.txt", PROJECT / "pyproject.toml"


def for_guest(python: str, **files: Path) -> str:
    """Return the lock's lines for what a notebook imports and for the tests that run in the VM; see `locked`."""
    return locked(f"{python}.9", ["dependencies", "test"], **files)


def locked(python: str, lists: list[str], lock: Path = LOCK, pyproject: Path = PYPROJECT) -> str:
    """Return the lock's lines, hashes included, for some of the lists in pyproject.toml; "dependencies" is one of them.

    *python* is a version such as "3.13.5": for the guest pip would judge the lock's markers by its own instead.
    The lock names for each package which others asked for it ("# via"), and that is followed backwards.
    """
    blocks, wanted_by = {}, {}
    for block in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", lock.read_text(), flags=re.M)):
        head = re.match(r"(\S+?)==(\S+)(?: ; (.*?))? \\\n", block)
        if head:
            name, version, marker = head.groups()
            environment = {"python_version": ".".join(python.split(".")[:2]), "python_full_version": python}
            if marker is None or Marker(marker).evaluate(environment):
                hashes = re.findall(r"--hash=\S+", block)
                blocks[name] = f"{name}=={version} " + " ".join(hashes)
                wanted_by[name] = set(re.findall(r"^    #(?: via|  ) +([\w.-]+)", block, flags=re.M))

    project = tomllib.loads(pyproject.read_text())["project"]
    all_lists = project["optional-dependencies"] | {"dependencies": project["dependencies"]}
    wanted = {name for each in lists for name in all_lists[each]}
    missing = wanted - blocks.keys()
    if missing:
        names = ", ".join(sorted(missing))
        raise LabError(f"{lock.name} does not lock {names}.", "Its first lines say how to make it anew.")
    while more := {name for name in blocks.keys() - wanted if wanted_by[name] & wanted}:
        wanted |= more
    return "\n".join(blocks[name] for name in sorted(wanted)) + "\n"
