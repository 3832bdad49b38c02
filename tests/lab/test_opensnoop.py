"""What a notebook measures, BCC's own tool of Debian's bpfcc-tools measures too, on the same calls at the same time."""

import json
import re

import nbformat

from tests.notebooks import FOLDER


def test_opensnoop_sees_the_same_files(person, bcc_tools):
    notebook = nbformat.read(FOLDER / "08_what_a_probe_can_read.ipynb", as_version=4)
    [program] = [
        found
        for cell in notebook.cells
        for found in re.findall(r'^looking = """(.*?)"""$', cell.source, re.DOTALL | re.MULTILINE)
    ]
    text = bcc_tools / "looking.c"
    text.write_text(program)
    done = person.lab(
        "run",
        "--",
        "python",
        "-m",
        "tests.lab.beside_opensnoop",
        str(bcc_tools / "opensnoop-bpfcc"),
        str(text),
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    said = json.loads(done.stdout.splitlines()[-1])
    assert said["lost"] == 0 and "lost" not in done.stderr
    assert len(said["ours"]) > 20 and {error for _, error, _ in said["ours"]} == {0, 2}
    assert sorted(said["ours"]) == sorted(said["theirs"])
