"""Every notebook in the lab: run twice in one kernel, and its exercises untouched, answered wrongly and answered well.

A notebook is passed through three times. In one fresh kernel all its cells run, and run again; the numbers of events
must be the same both times, and what the text says of them must hold (claims.py). Then the exercises are answered, by
somebody who comes back to them. In another kernel each exercise meets its wrong answer and then its solution, in the
place where a learner would write them, and after these the answers of answers.py; everything around runs as usual.
The Chinese notebooks go the same way, their claims and answers with the words of their own code.
"""

import copy
import re

import nbformat
import pytest

from helpers import language
from tests.notebooks import FOLDER, NOTEBOOKS, TRANSLATED, exercises, opened, translation, words_of
from tests.notebooks.answers import ANSWERS, Wrong
from tests.notebooks.claims import with_claims

pytestmark = pytest.mark.timeout(1800)  # by software emulation, on a busy machine

COUNT = re.compile(
    r"\b([\d,]+|no|none|nobody|nothing) (calls?|rows?|events?|lines?|messages?|process(?:es)?|received|lost|places"
    r"|points?|left|times)\b|([\d,]+) ([个次行条页]\w?)"
)
ERROR = "Your answer could not be checked, because of an error: {error}"


@pytest.fixture(params=[*NOTEBOOKS, *TRANSLATED], ids=lambda path: str(path.relative_to(FOLDER).with_suffix("")))
def path(request):
    return request.param


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


@pytest.fixture
def say(path):
    """What puts the words of code into the notebook's language."""
    return translation.saying(translation.read()) if path in TRANSLATED else str


@pytest.fixture
def tell(path):
    """What says a text of helpers in the notebook's language, with a number, and nothing in place of {error}."""
    words = language.catalogue(translation.HELPERS) if path in TRANSLATED else {}
    return lambda text, number="": words.get(text, text).format(number=number, error="")


def test_run_all_twice_in_one_kernel(path, notebook, say, tell):
    with_claims(notebook, say)
    code = [place for place, cell in enumerate(notebook.cells) if cell.cell_type == "code"]
    tasks = exercises(notebook)
    runs = []
    with opened(notebook, path.parent) as run:
        for _ in range(2):
            for place in code:
                run(place)
            runs.append(copy.deepcopy(notebook.cells))
        # Who has run everything and then turns to the exercises finds what they need.
        first = next(place for place, cell in enumerate(notebook.cells) if say("## Exercises") in cell.source)
        for task in tasks:
            notebook.cells[task.cell].source = task.solution
        for place in code:
            if first < place <= tasks[-1].check:
                run(place)
    problems = []
    for task in tasks:
        said = words_of(notebook.cells[task.check])
        if tell("Exercise {number}: done.", task.key) not in said:
            problems.append(f"{task.key}: after all has been run, the solution is told {said!r}")
    for cells in runs:
        for task in tasks:
            if tell("Exercise {number}: not done yet.", task.key) not in words_of(cells[task.check]):
                problems.append(f"{cells[task.check].id}: an untouched exercise says {words_of(cells[task.check])!r}")
        for place in code:
            failed = any(output.output_type == "error" for output in cells[place].outputs)
            if failed != ("raises-exception" in cells[place].metadata.get("tags", [])):
                problems.append(f"{cells[place].id}: the error that is this cell's lesson did not happen")
    for place in code:
        first, second = (numbers_of(cells[place]) for cells in runs)
        if first != second and "counts-vary" not in notebook.cells[place].metadata.get("tags", []):
            problems.append(f"{notebook.cells[place].id}: first run {first}, second run {second}")
    assert not problems, "\n".join(problems)


def test_exercises_answered_wrongly_and_well(path, notebook, say, tell):
    tasks = {task.cell: task for task in exercises(notebook)}
    assert tasks, "a notebook has exercises"
    problems = []

    def answered(run, task, answer):
        notebook.cells[task.cell].source = answer
        run(task.cell)
        return words_of(run(task.check))

    with opened(notebook, path.parent) as run:
        for place in range(len(notebook.cells)):
            run(place)
            if place not in tasks:
                continue
            task = tasks[place]
            done, wrong = (tell(f"Exercise {{number}}: {verdict}.", task.key) for verdict in ("done", "not right yet"))
            said = answered(run, task, task.wrong)
            advice = said.partition(f"{wrong} ")[2]
            if len(re.findall(r"[\u4e00-\u9fff]|[\w`]+", advice, re.ASCII)) < 6 or tell(ERROR) in advice:
                problems.append(f"{task.key}: the wrong answer is told {said!r}")
            if path in TRANSLATED and (english := in_english(said)):
                problems.append(f"{task.key}: the wrong answer is told {english} in English")
            for answer in ANSWERS.get(task.key, []):
                said = answered(run, task, f"# Exercise {task.key}\n{translation.code(answer.code, say)}")
                verdict, words = (wrong, answer.told) if isinstance(answer, Wrong) else (done, "")
                words *= path in NOTEBOOKS  # what is said is compared in English only
                if verdict not in said or words not in said or tell(ERROR) in said:
                    problems.append(f"{task.key}: {answer.what} is told {said!r}")
                if path in TRANSLATED and (english := in_english(said)):
                    problems.append(f"{task.key}: {answer.what} is told {english} in English")
            said = answered(run, task, task.solution)
            if done not in said:
                problems.append(f"{task.key}: the solution is told {said!r}")
    assert not problems, "\n".join(problems)


def in_english(said: str) -> list[str]:
    """The sentences of a verdict without a Chinese character; a warning before it shows a line of code."""
    sentences = re.split(r"[。！？\n]", said[re.search("[✓✗○]", said).start() :])
    return [one for one in sentences if re.search("[A-Za-z]{2}", one) and not re.search("[\u4e00-\u9fff]", one)]


def numbers_of(cell):
    """What must not change from run to run: counts of things, tables of counts, the number of lines of each output.

    Times, addresses and process numbers may change. Where the kernel decides how many there are, as with lost events,
    the cell is tagged "counts-vary".
    """
    found = []
    for output in cell.outputs:
        if output.output_type == "stream" and output.name == "stdout":
            text = output.text
        elif output.output_type in ("execute_result", "display_data"):
            text = output.data.get("text/plain", "")
        else:
            continue
        # pandas folds wide frames in plain text, and how wide one is depends on its numbers; the page's table has its
        # rows.
        rows = output.get("data", {}).get("text/html", "").count("<tr")
        found.append((rows or len(text.splitlines()), *COUNT.findall(text)))
        if "Name: count" in text:
            found.append(text)
    return found
