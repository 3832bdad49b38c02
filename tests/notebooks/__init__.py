"""Running the course's notebooks in the lab: real kernel, real probes, from outside as Jupyter does it."""

import os
from pathlib import Path

import nbformat
from nbclient import NotebookClient
from nbclient.exceptions import CellExecutionError

from helpers.lab import cache, serve

FOLDER = cache.PROJECT / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("[0-9][0-9]_*.ipynb"))
CELL_TIMEOUT = 240  # seconds; a cell that takes longer hangs


def execute(source: Path | nbformat.NotebookNode, times: int = 1) -> tuple[nbformat.NotebookNode, str | None]:
    """Run all cells from a fresh kernel, *times* over in that kernel; return the last run and its first error, if any.

    A cell tagged ``raises-exception`` may fail: its error is the lesson.
    """
    notebook = source if isinstance(source, nbformat.NotebookNode) else nbformat.read(source, as_version=4)
    with serve.environment() as env:
        old, os.environ["JUPYTER_PATH"] = os.environ.get("JUPYTER_PATH"), env["JUPYTER_PATH"]
        client = NotebookClient(
            notebook,
            timeout=CELL_TIMEOUT,
            kernel_name="ebpf",
            resources={"metadata": {"path": str(FOLDER)}},
            coalesce_streams=True,
        )
        error = None
        try:
            with client.setup_kernel():
                for _ in range(times):
                    for index, cell in enumerate(notebook.cells):
                        client.execute_cell(cell, index)
        except CellExecutionError as failure:
            error = str(failure)
        finally:
            os.environ.pop("JUPYTER_PATH") if old is None else os.environ.update(JUPYTER_PATH=old)
    return notebook, error


def save(notebook: nbformat.NotebookNode, path: Path) -> None:
    """Write a notebook so that two runs of the same source differ in its outputs only."""
    for cell in notebook.cells:
        cell.metadata.pop("execution", None)
    notebook.metadata = {
        "kernelspec": {"name": "ebpf", "display_name": "eBPF lab", "language": "python"},
        "language_info": {"name": "python", "file_extension": ".py", "mimetype": "text/x-python"},
    }
    nbformat.write(notebook, path)
