"""What notebook 11 measures, BCC's own tools measure too, of the same process at the same time."""

import json
import re

import nbformat
import pytest

from helpers.lab import image
from tests.compiles.__main__ import fetch_tools
from tests.notebooks import FOLDER


@pytest.fixture(scope="module")
def said(person):
    """What tests/lab/switches.py says."""
    tools, programs = person.project / "tools for switches", person.project / "switches.json"
    fetch_tools(image.DEFAULT_SUITE, tools)
    source = "\n".join(
        cell.source for cell in nbformat.read(FOLDER / "11_where_does_it_wait.ipynb", as_version=4).cells
    )
    texts = dict(re.findall(r'^(\w+) = """(.*?)"""$', source, re.DOTALL | re.MULTILINE))
    programs.write_text(json.dumps(texts))
    command = ["python", "-m", "tests.lab.switches", str(tools / "offcputime-bpfcc"), str(programs)]
    done = person.lab("run", "--", *command, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


def test_task_switches_are_counted_alike(said):
    ours, theirs, account = said["switches"]
    assert ours == theirs == account >= 60  # asleep, and waiting for its child, twenty times each, at least


def test_offcputime_finds_the_same_places_and_times(said):
    ours, theirs = said["ours"], said["theirs"]
    # Of each switch offcputime hears when notebook 11's program is done with it, some tenths of a millisecond later.
    assert sum(ours.values()) == pytest.approx(sum(theirs.values()), rel=0.05)
    for stack in {stack for stack in (*ours, *theirs) if max(ours.get(stack, 0), theirs.get(stack, 0)) > 20_000}:
        assert ours.get(stack, 0) == pytest.approx(theirs.get(stack, 0), rel=0.1), stack
    assert any("nanosleep" in stack and us >= 20 * 30_000 for stack, us in ours.items())
