"""The notebooks of both languages as files: outputs that belong to their code, cells of a good size, links that lead
somewhere.
"""

import re
import statistics
import unicodedata

import nbformat
import pytest

from tests.notebooks import CHINESE, FOLDER, LINK, NOTEBOOKS, TRANSLATED, digest, exercises
from tests.notebooks.answers import ANSWERS
from tests.notebooks.claims import CLAIMS

SERIES = [
    "00_start_here",
    "01_hello_trace_pipe",
    "02_trace_pipe_to_dataframe",
    "03_hello_perf_output",
    "04_perf_output_to_dataframe",
    "05_when_events_get_lost",
    "06_ring_buffer",
    "07_a_real_question",
    "08_what_a_probe_can_read",
    "09_what_the_verifier_refuses",
    "10_count_in_the_kernel",
    "11_where_does_it_wait",
    "12_inside_a_program",
    "13_packets",
    "14_leaving_the_lab",
]


@pytest.fixture(params=[*NOTEBOOKS, *TRANSLATED], ids=lambda path: str(path.relative_to(FOLDER).with_suffix("")))
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def texts(notebook):
    return [cell.source for cell in notebook.cells if cell.cell_type == "markdown"]


def anchors(text):
    """The anchors of a markdown text that lead somewhere in JupyterLab and on GitHub, which makes capitals small."""
    titles = [title.replace(" ", "-") for title in re.findall(r"^#+ (.+)$", text, re.MULTILINE)]
    return re.findall(r'<a id="([a-z-]+)">', text) + [title for title in titles if re.fullmatch(r"[a-z_-]+", title)]


def tags(cell):
    return cell.metadata.get("tags", [])


def test_the_series_is_whole():
    assert [path.stem for path in NOTEBOOKS] == SERIES


def test_it_is_a_valid_notebook_for_the_lab(notebook):
    nbformat.validate(notebook)
    assert notebook.metadata.kernelspec.name == "ebpf"
    ids = [cell.id for cell in notebook.cells]
    assert len(set(ids)) == len(ids)


def test_outputs_come_from_this_source(notebook):
    assert notebook.metadata.get("outputs_of") == digest(notebook), "run it again: python -m tests.notebooks"
    assert [cell.execution_count for cell in code_cells(notebook)] == list(range(1, len(code_cells(notebook)) + 1))


def test_errors_only_where_they_are_the_lesson(notebook):
    for cell in code_cells(notebook):
        errors = [output.ename for output in cell.outputs if output.output_type == "error"]
        assert bool(errors) == ("raises-exception" in tags(cell)), f"{cell.id}: {errors}"
        if not errors:
            printed = [output.text for output in cell.outputs if output.output_type == "stream"]
            assert not any("Traceback (most recent" in text for text in printed), cell.id


def test_plots_have_a_font_for_every_character(notebook):
    for cell in code_cells(notebook):
        printed = [output.text for output in cell.outputs if output.output_type == "stream"]
        assert not any(re.search("Glyph|findfont|fonts-wqy", text) for text in printed), cell.id


def test_cells_are_short_and_explained(path, notebook):
    cells = code_cells(notebook)
    lines = [len(cell.source.splitlines()) for cell in cells]
    long = {cell.id: size for cell, size in zip(cells, lines) if size > 20 and "whole-program" not in tags(cell)}
    assert not long
    assert 2 <= statistics.median(len(re.findall(r"^.*\S", cell.source, re.MULTILINE)) for cell in cells) <= 6
    prose = re.sub(r"^```.*?^```$", "", "\n".join(texts(notebook)), flags=re.DOTALL | re.MULTILINE)
    words = re.sub(r"\]\([^)]*\)|</?(details|summary)>", " ", prose).split()
    assert path in TRANSLATED or 20 <= len(words) / len(cells) <= 60  # Chinese words have no spaces between
    assert not [cell.id for cell in cells if any(columns(line) > 100 for line in cell.source.splitlines())]


def columns(line):
    """How wide a line is: a Chinese character takes two columns."""
    return sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in line)


def test_it_opens_with_the_road_and_leads_on(path, notebook):
    assert re.match(r"# \S", notebook.cells[0].source)
    assert any("road(" in cell.source for cell in code_cells(notebook)[:3])
    following = [name for name in SERIES[SERIES.index(path.stem) + 1 :] if path.with_name(f"{name}.ipynb").exists()]
    if following:
        assert any(f"]({following[0]}.ipynb)" in text for text in texts(notebook)[-3:]), "no link to the next notebook"


def test_three_exercises_or_more(notebook):
    found = exercises(notebook)
    assert len(found) >= 3
    for task in found:
        first_line = notebook.cells[task.cell].source.splitlines()[0]
        assert first_line == f"# Exercise {task.key}"
        assert task.solution.startswith(first_line) and task.wrong.startswith(first_line)
        assert "..." in notebook.cells[task.cell].source or "None" in notebook.cells[task.cell].source
        compile(task.solution, "solution", "exec")
        compile(task.wrong, "wrong answer", "exec")


def test_every_further_answer_has_its_exercise():
    keys = {task.key for path in NOTEBOOKS for task in exercises(nbformat.read(path, as_version=4))}
    assert ANSWERS.keys() <= keys
    for answer in (answer for answers in ANSWERS.values() for answer in answers):
        compile(answer.code, answer.what, "exec")


def test_links_lead_somewhere(path, notebook):
    links = [link for text in texts(notebook) for link in LINK.findall(text)]
    assert not [link for link in links if not leads_somewhere(link, path.parent)]
    outside = [link.removeprefix("../") for link in links if link.startswith("..")]
    assert not [link for link in outside if path.with_name(link).exists() or not re.match(r"\d\d_", link)], (
        "a link leads out of this language's edition"
    )


def leads_somewhere(link, folder, here=""):
    if re.match(r"https?://|attachment:", link):
        return True
    name, _, anchor = link.partition("#")
    if not name:
        return anchor in anchors(here)
    target = folder / name
    if not target.exists():
        return False
    return not anchor or target.suffix != ".md" or anchor in anchors(target.read_text())


@pytest.mark.parametrize("folder", [FOLDER, CHINESE], ids=["en", "zh"])
def test_the_glossary_explains_each_word_once(folder):
    text = (folder / "glossary.md").read_text()
    words = re.findall(r"^## (?:<a.*</a>)?(.+)$", text, re.MULTILINE)
    assert words == sorted(words, key=lambda word: word.partition("（")[0].lower())
    assert len({word.lower() for word in words}) == len(words)
    broken = [link for link in LINK.findall(text) if not leads_somewhere(link, folder, text)]
    assert not broken


def test_every_claim_has_its_cell():
    cells = {
        cell.id for path in NOTEBOOKS for cell in nbformat.read(path, as_version=4).cells if cell.cell_type == "code"
    }
    assert CLAIMS.keys() <= cells
    assert {name.partition("-")[0] for name in CLAIMS} == {path.name[:2] for path in NOTEBOOKS}
