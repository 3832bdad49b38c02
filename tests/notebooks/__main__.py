"""python -m tests.notebooks [NAME …]: run notebooks in the lab from a fresh kernel and save them with their outputs.

The plot of the cell tagged "picture", or the cell itself where it draws none, is also saved for the README.
"""

import base64
import sys
import time

import nbformat
from nbconvert import HTMLExporter

from tests.browser.chromium import chromium
from tests.notebooks import FOLDER, NOTEBOOKS, execute, save


def main(names: list[str]) -> int:
    paths = [path for path in NOTEBOOKS if not names or path.stem in names or path.stem[:2] in names]
    failed = 0
    for path in paths:
        print(f"  {path.stem} …", end=" ", flush=True)
        start = time.monotonic()
        notebook, error = execute(path)
        print(f"{time.monotonic() - start:.0f} s")
        if error:
            failed += 1
            print(f"{error}\n{path.name} was left as it is.", file=sys.stderr)
        else:
            save(notebook, path)
            save_picture(notebook, path)
    return bool(failed)


def save_picture(notebook, path):
    for cell in notebook.cells:
        if "picture" in cell.metadata.get("tags", []):
            plots = [output.data["image/png"] for output in cell.outputs if "image/png" in output.get("data", {})]
            (FOLDER / "pictures").mkdir(exist_ok=True)
            picture = base64.b64decode(plots[-1]) if plots else photograph(cell)
            (FOLDER / f"pictures/{path.stem[:2]}.png").write_bytes(picture)


def photograph(cell) -> bytes:
    """The picture (PNG) of a cell and its outputs, as JupyterLab draws them."""
    page, _ = HTMLExporter().from_notebook_node(nbformat.v4.new_notebook(cells=[cell]))
    with chromium() as browser:
        tab = browser.new_page(viewport={"width": 760, "height": 800})
        tab.route("**/*", lambda route: route.abort())  # the page asks the network for what this cell does not need
        tab.set_content(page)
        return tab.locator(".jp-Cell").screenshot()


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
