"""Running the course's notebooks in the lab: real kernel, real probes, from outside as Jupyter does it."""

import hashlib
import json
import os
import re
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers.lab import cache, serve

FOLDER = cache.PROJECT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
CHINESE = FOLDER / "zh"
TRANSLATED = sorted(CHINESE.glob("[0-9][0-9]_*.ipynb"))
LINK = re.compile(r"\]\(([^)\s]+)\)")
CELL_TIMEOUT = 240  # seconds; a cell that takes longer hangs


@contextmanager
def opened(notebook: nbformat.NotebookNode, folder: Path = FOLDER):
    """A fresh kernel in a folder for a notebook: yields a function that runs a cell, given its place, and returns it.

    The function raises CellExecutionError for an error in a cell that is not tagged ``raises-exception``.
    """
    with serve.environment() as env:
        old, os.environ["JUPYTER_PATH"] = os.environ.get("JUPYTER_PATH"), env["JUPYTER_PATH"]
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            iopub_timeout=60,
            kernel_name="ebpf",
            resources={"metadata": {"path": str(folder)}},
            coalesce_streams=True,
        )
        try:
            with client.setup_kernel():
                yield lambda index: client.execute_cell(notebook.cells[index], index)
        finally:
            os.environ.pop("JUPYTER_PATH") if old is None else os.environ.update(JUPYTER_PATH=old)


def execute(path: Path) -> tuple[nbformat.NotebookNode, str | None]:
    """Run all cells from a fresh kernel; return the notebook and its first error, if any.

    A cell tagged ``raises-exception`` may fail: its error is the lesson.
    """
    notebook = nbformat.read(path, as_version=4)
    try:
        with opened(notebook, path.parent) as run:
            for index in range(len(notebook.cells)):
                run(index)
    except CellExecutionError as failure:
        return notebook, str(failure)
    return notebook, None


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook so that two runs of the same source differ in its outputs only."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {
        "kernelspec": {"name": "ebpf", "display_name": "eBPF lab", "language": "python"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
        "outputs_of": digest(notebook),
    }
    nbformat.write(notebook, path)


def digest(notebook: nbformat.NotebookNode) -> str:
    """A fingerprint of the code cells. `save` writes it beside the outputs, which come from this code and no other."""
    sources = [cell.source for cell in notebook.cells if cell.cell_type == "code"]
    return hashlib.sha256(json.dumps(sources).encode()).hexdigest()


class Exercise(NamedTuple):
    """An exercise of a notebook: the places of its cell to fill and of its check, a right answer and a wrong one."""

    key: str
    cell: int
    check: int
    solution: str
    wrong: str


def exercises(notebook: nbformat.NotebookNode) -> list[Exercise]:
    """The exercises of a notebook, from the metadata of its cells.

    The cell to fill has ``exercise`` (a key) and ``wrong`` (a plausible wrong answer) and is tagged "exercise"; the
    check is the first code cell behind it that begins a check; the markdown cell with ``solution`` (the key) holds one
    Python block. Raises ValueError where one of them is missing.
    """
    cells, found = notebook.cells, []
    solutions = {}
    for cell in cells:
        if "solution" in cell.metadata:
            blocks = re.findall(r"^```python\n(.*?)\n```$", cell.source, re.DOTALL | re.MULTILINE)
            if len(blocks) != 1 or cell.metadata["solution"] in solutions:
                raise ValueError(f"cell {cell.id}: a solution is one Python block, and there is one for each exercise")
            solutions[cell.metadata["solution"]] = blocks[0]
    for place, cell in enumerate(cells):
        if "exercise" in cell.metadata.get("tags", []):
            key = cell.metadata.get("exercise")
            checks = [
                i
                for i in range(place + 1, len(cells))
                if cells[i].cell_type == "code" and "with exercise(" in cells[i].source
            ]
            if key not in solutions or "wrong" not in cell.metadata or not checks:
                raise ValueError(f"cell {cell.id}: exercise {key} has no solution, no wrong answer or no check")
            found.append(Exercise(key, place, checks[0], solutions.pop(key), cell.metadata["wrong"]))
    if solutions:
        raise ValueError(f"solutions without an exercise: {', '.join(map(str, solutions))}")
    return found


def words_of(cell: nbformat.NotebookNode) -> str:
    """What a code cell showed, as plain text: what it printed, its value, and what it displayed."""
    shown = []
    for output in cell.outputs:
        if output.output_type == "stream":
            shown.append(output.text)
        elif output.output_type in ("execute_result", "display_data"):
            shown.append(output.data.get("text/plain", ""))
    return "\n".join(text.rstrip("\n") for text in shown)
