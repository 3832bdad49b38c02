"""The table of what each notebook needs from a kernel, and that of BCC's lessons, say what is so."""

import json
import re

import nbformat
import pytest

from tests.notebooks import FOLDER, NOTEBOOKS, cache, needs

USES = {
    "attach_kprobe(": ("kinds", "kprobe"),
    "attach_uprobe(": ("kinds", "uprobe"),
    "enable_probe(": ("kinds", "USDT"),
    "attach_perf_event(": ("kinds", "perf event"),
    "attach_xdp(": ("kinds", "XDP"),
    "TRACEPOINT_PROBE(syscalls,": ("kinds", "tracepoint of a system call"),
    "KFUNC_PROBE(": ("kinds", "fentry"),
    "BPF_PERF_OUTPUT(": ("maps", 4),
    "BPF_STACK_TRACE(": ("maps", 7),
    "BPF_RINGBUF_OUTPUT(": ("maps", 27),
    "cable(": ("beside", "cable"),
    "attach_tc(": ("beside", "attach_tc"),
    "transmit(": ("beside", "transmit"),
}


def code(path):
    cells = nbformat.read(path, as_version=4).cells
    return "\n".join(cell.source for cell in cells if cell.cell_type == "code" and "with exercise(" not in cell.source)


def test_every_notebook_has_run_on_both_kernels():
    known = needs.read()
    assert set(known) == {path.stem for path in NOTEBOOKS}
    kernels = {name: {".".join(kernel.split(".")[:2]) for kernel in used["kernels"]} for name, used in known.items()}
    assert all({"6.1", "6.12"} <= on for on in kernels.values()), kernels


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_what_a_notebook_says_it_uses_has_been_noted(path):
    used = needs.read()[path.stem]
    text = code(path)
    # A program that the kernel refuses, as in 09, uses nothing.
    missing = {word for word, (what, which) in USES.items() if word in text and which not in used.get(what, [])}
    assert not missing, f"run it again: python -m tests.notebooks.needs {path.stem[:2]}"


def test_the_table_is_the_same_everywhere():
    new = needs.table(needs.read())
    [last] = FOLDER.glob("14_*.ipynb")
    assert new in (cache.PROJECT / "README.md").read_text()
    assert any(new in cell.source for cell in nbformat.read(last, as_version=4).cells)


def test_the_oldest_kernel_is_that_of_the_newest_thing():
    used = {"kinds": ["kprobe"], "helpers": [5, 114], "maps": [27], "kernels": ["6.12.1", "6.1.2"]}
    assert needs.oldest(used) == "5.8" and needs.oldest({**used, "maps": [1]}) == "5.5"
    assert needs.table({"99_x": used}).splitlines()[-1] == "| 99 | kprobe | 5.8 | `KPROBES` | no | 6.1, 6.12 |"
    used["beside"] = ["cable", "transmit"]
    assert needs.table({"99_x": used}).splitlines()[-1] == (
        "| 99 | kprobe | 5.18 | `KPROBES`, `NET_NS`, `VETH` | no | 6.1, 6.12 |"
    )


def test_a_table_is_put_in_the_place_of_the_old_one():
    new = needs.table({})
    assert needs.put(f"a\n\n{new}\n| 01 | x |\n\nb\n", new) == f"a\n\n{new}\n\nb\n"


def test_all_of_bccs_lessons_have_a_place():
    text = (cache.PROJECT / "CONTRIBUTING.md").read_text()
    rows = re.findall(r"^\| (\d+) \|.*\| (.*) \|$", text, re.MULTILINE)
    assert [int(number) for number, _ in rows] == list(range(1, 18))
    for number, places in rows:
        for name, section in re.findall(r"\[\d\d\]\(notebooks/(\S+)\): (.+?)(?:, (?=\[)|$)", places):
            cells = json.loads((FOLDER / name).read_text())["cells"]
            headings = "".join("".join(cell["source"]) + "\n" for cell in cells if cell["cell_type"] == "markdown")
            assert f"\n## {section}\n" in f"\n{headings}", f"lesson {number}: {name} has no section {section!r}"
