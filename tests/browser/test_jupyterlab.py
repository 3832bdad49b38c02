"""A learner's first hour in JupyterLab: open, run all, fill in an exercise, stop a cell, restart."""

import json

import nbformat
import pytest
from playwright.sync_api import TimeoutError as TooLate

from helpers.lab import cache
from tests.notebooks import exercises

DEADLINE_MS = 480_000  # a notebook takes a minute or two by software emulation
pytestmark = pytest.mark.timeout(1800)
ARTEFACTS = cache.PROJECT / "tests/artefacts"
NOTEBOOK = "notebooks/04_perf_output_to_dataframe.ipynb"


class Page:
    """One tab of the browser with a notebook open in it; what it shows is asked of JupyterLab itself."""

    def __init__(self, page, server, path):
        self.page = page
        page.set_default_timeout(DEADLINE_MS)
        page.goto(f"{server.web.address}/lab/tree/{path}?token={server.web.token}&reset")
        page.wait_for_selector(".jp-NotebookPanel .jp-Cell")
        self.wait_until_idle()

    def ask(self, script: str):
        """Return the value of a JavaScript expression over `panel`, the notebook in front."""
        return self.page.evaluate(
            f"(() => {{ const panel = window.jupyterapp.shell.currentWidget; return {script}; }})()"
        )

    def cells(self) -> list[dict]:
        return json.loads(self.ask("JSON.stringify(panel.content.model.toJSON().cells)"))

    def status(self) -> str:
        return self.ask("panel.sessionContext.kernelDisplayStatus")

    def wait_until_idle(self):
        self.page.wait_for_function(
            "window.jupyterapp.shell.currentWidget.sessionContext?.kernelDisplayStatus === 'idle'"
        )

    def menu(self, menu: str, item: str):
        self.page.get_by_role("menuitem", name=menu, exact=True).first.click()
        self.page.get_by_role("menuitem", name=item).first.click()

    def go_to(self, index: int):
        self.ask(f"(panel.content.activeCellIndex = {index}, panel.content.scrollToItem({index}, 'center'), null)")
        self.page.wait_for_timeout(500)

    def editor(self, index: int):
        self.go_to(index)
        return self.page.locator(f'.jp-Cell[data-windowed-list-index="{index}"] .cm-content')

    def type_into(self, index: int, text: str):
        self.editor(index).click()
        self.page.keyboard.press("Control+a")
        self.page.keyboard.insert_text(text)

    def run(self, index: int):
        self.editor(index).click()
        self.page.keyboard.press("Control+Enter")

    def shows(self, index: int, text: str):
        """Wait until the output of a cell has a text. Fails with what it has instead."""
        try:
            self.page.wait_for_function(
                "([index, text]) => JSON.stringify(window.jupyterapp.shell.currentWidget.content.model.toJSON()"
                ".cells[index].outputs).includes(text)",
                arg=[index, text],
            )
        except TooLate:
            self.picture("failed")
            pytest.fail(f"cell {index} should show {text!r}; it is {self.cells()[index]}, the kernel {self.status()}")

    def picture(self, name: str):
        ARTEFACTS.mkdir(exist_ok=True)
        self.page.screenshot(path=ARTEFACTS / f"{name}.png")


@pytest.fixture
def open_notebook(browser, server):
    def opener(path=NOTEBOOK, **options):
        page = browser.new_page(viewport={"width": 1200, "height": 860}, **options)
        return Page(page, server, path)

    yield opener
    for context in browser.contexts:
        context.close()


def test_run_all_and_fill_in_an_exercise(open_notebook):
    page = open_notebook()
    source = nbformat.read(cache.PROJECT / NOTEBOOK, as_version=4)
    page.menu("Edit", "Clear Outputs of All Cells")
    page.menu("Run", "Run All Cells")
    last = max(i for i, cell in enumerate(source.cells) if cell.cell_type == "code")
    page.page.wait_for_function(
        f"window.jupyterapp.shell.currentWidget.content.model.cells.get({last}).executionCount !== null"
    )
    page.wait_until_idle()
    cells = page.cells()
    outputs = [output for cell in cells for output in cell.get("outputs", [])]
    lessons = [cell for cell in cells if "raises-exception" in cell["metadata"].get("tags", [])]
    errors = [output for output in outputs if output["output_type"] == "error"]
    assert len(errors) <= len(lessons), errors
    pictures = [output for output in outputs if "image/png" in output.get("data", {})]
    assert pictures, "no plot was drawn"

    plot = next(i for i, c in enumerate(cells) if any("image/png" in o.get("data", {}) for o in c.get("outputs", [])))
    page.go_to(plot)
    page.picture("plot")

    task = exercises(source)[0]
    assert "not done yet" in json.dumps(cells[task.check]["outputs"])
    page.type_into(task.cell, task.solution)
    page.run(task.cell)
    page.run(task.check)
    page.shows(task.check, "done.")
    page.go_to(task.check)
    page.picture("exercise")


def test_stop_and_restart_during_a_collection(open_notebook):
    page = open_notebook()
    page.type_into(1, "from helpers import TracePipe\npipe = TracePipe()\nkept = 5\npipe.collect(seconds=100)")
    page.run(1)
    page.shows(1, "0 events")
    page.picture("collecting")
    page.page.locator(
        'jp-button[data-command="notebook:interrupt-kernel"], [data-jp-item-name="interrupt"]'
    ).first.click()
    page.wait_until_idle()
    page.type_into(1, "print(kept, len(pipe.to_dataframe()))")
    page.run(1)
    page.shows(1, "5 0")

    page.page.locator('[data-jp-item-name="restart"]').first.click()
    page.page.get_by_role("button", name="Confirm Kernel Restart").click()
    page.page.wait_for_function("window.jupyterapp.shell.currentWidget.sessionContext.kernelDisplayStatus !== 'idle'")
    page.wait_until_idle()
    page.type_into(1, "print('kept' in globals())")
    page.run(1)
    page.shows(1, "False")


def test_a_word_opens_the_glossary_at_its_place(open_notebook):
    """Also one with capitals, which JupyterLab and GitHub write differently into the addresses of headings."""
    page = open_notebook("notebooks/01_hello_trace_pipe.ipynb").page
    page.locator('.jp-Notebook a[href*="glossary.md"]', has_text="BPF program").first.click()
    page.wait_for_selector(".jp-MarkdownViewer h2")
    page.wait_for_function(
        """() => { const heading = document.querySelector('.jp-MarkdownViewer [data-jupyter-id="bpf-program"]');
                   const top = heading?.getBoundingClientRect().top;
                   return top > 0 && top < 200; }"""
    )
