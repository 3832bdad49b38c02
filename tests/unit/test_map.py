"""The map in helpers/__init__.py: each room has a line for each of its modules, and none for what is not there."""

import re
from pathlib import Path

import pytest

import helpers

HOUSE = Path(helpers.__file__).parent


@pytest.mark.parametrize("room", sorted(path.parent.name for path in HOUSE.glob("*/__init__.py")))
def test_every_module_is_on_the_map(room):
    [lines] = re.findall(rf"^{room}: .*\n((?: +.*\n)+)", helpers.__doc__, re.MULTILINE)
    named = re.findall(r"^    (\w+) ", lines, re.MULTILINE)
    assert sorted(named) == sorted(path.stem for path in (HOUSE / room).glob("[!_]*.py"))
