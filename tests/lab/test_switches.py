"""What notebook 11 measures, BCC's own tools measure too, of the same process at the same time."""

import json
import re

import nbformat
import pytest

from tests.notebooks import FOLDER

pytestmark = pytest.mark.times


@pytest.fixture(scope="module")
def measure(person, bcc_tools):
    """A function: what tests/lab/switches.py says, of a fresh run."""
    programs = bcc_tools / "switches.json"
    cells = nbformat.read(FOLDER / "11_where_does_it_wait.ipynb", as_version=4).cells
    source = "\n".join(cell.source for cell in cells)
    texts = re.findall(r'^(\w+) = """(.*?)"""$', source, re.DOTALL | re.MULTILINE)
    programs.write_text(json.dumps(dict(texts)))
    command = ["python", "-m", "tests.lab.switches", str(bcc_tools / "offcputime-bpfcc"), str(programs)]

    def measure():
        done = person.lab("run", "--", *command, timeout=400)
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout.splitlines()[-1])

    return measure


def test_bccs_tools_find_the_same_switches_places_and_times(measure):
    differ = []
    for _ in range(4):
        said = measure()
        ours, theirs = said["ours"], said["theirs"]
        counted, theirs_counted, account = said["switches"]
        assert counted == theirs_counted == account >= 40  # asleep, and waiting for its child, twenty times each
        assert {stack for stack in ours if ours[stack] > 20_000} <= theirs.keys()
        assert {stack for stack in theirs if theirs[stack] > 20_000} <= ours.keys()
        # Between their two probes, some microseconds apart, the emulated CPU may lose its turn for many milliseconds,
        # so the runs in which that happens differ. They do not all, where both measure the same.
        both = [(stack, ours[stack], theirs.get(stack, 0)) for stack in ours]
        differ = [f"{stack}: {one:.0f} and {other} µs" for stack, one, other in both if far(one, other)]
        # It leaves the CPU after its timer has begun: much later where the emulated CPU loses its turn there.
        if not any("nanosleep" in stack and us >= 20 * 30_000 for stack, us in ours.items()):
            differ.append("it did not sleep as long as it was told to")
        if not differ:
            return
    pytest.fail("\n".join(differ))


def far(ours, theirs):
    """Whether two times (µs) of twenty switches differ by more than a tenth, and a millisecond for each."""
    return abs(ours - theirs) > max(0.1 * theirs, 20_000)
