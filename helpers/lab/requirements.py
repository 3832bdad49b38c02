"""The part of the locked Python requirements that the VM needs."""

import re
import tomllib
from pathlib import Path

# pip's own copy is there before any package is.
from pip._vendor.packaging.markers import Marker

from . import LabError
from .cache import PROJECT

LOCK = PROJECT / "binder/requirements.txt"


def for_guest(python: str, lock: Path = LOCK, pyproject: Path = PROJECT / "pyproject.toml") -> str:
    """Return the lock's lines, hashes included, for what a notebook imports and for the tests that run in the VM.

    *python* is the guest's version, such as "3.13": pip would judge the lock's markers by its own version instead.
    The lock names for each package which others asked for it ("# via"), and that is followed backwards.
    """
    blocks, wanted_by = {}, {}
    for block in re.split(r"\n(?=[a-z])", re.sub(r"^#.*\n", "", lock.read_text(), flags=re.M)):
        head = re.match(r"(\S+?)==(\S+)(?: ; (.*?))? \\\n", block)
        if head:
            name, version, marker = head.groups()
            environment = {"python_version": python, "python_full_version": f"{python}.9"}
            if marker is None or Marker(marker).evaluate(environment):
                hashes = re.findall(r"--hash=\S+", block)
                blocks[name] = f"{name}=={version} " + " ".join(hashes)
                wanted_by[name] = set(re.findall(r"^    #(?: via|  ) +([\w.-]+)", block, flags=re.M))

    project = tomllib.loads(pyproject.read_text())["project"]
    wanted = {*project["dependencies"], *project["optional-dependencies"]["test"]}
    missing = wanted - blocks.keys()
    if missing:
        names = ", ".join(sorted(missing))
        raise LabError(f"{lock.name} does not lock {names}.", "Its first lines say how to make it anew.")
    while more := {name for name in blocks.keys() - wanted if wanted_by[name] & wanted}:
        wanted |= more
    return "\n".join(blocks[name] for name in sorted(wanted)) + "\n"
