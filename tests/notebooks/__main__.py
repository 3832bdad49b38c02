"""python -m tests.notebooks [NAME …]: run notebooks in the lab from a fresh kernel and save them with their outputs.

The Chinese ones are made anew before they run, of the English ones as they are then.

The plot of the cell tagged "picture", or the cell itself where it draws none, is also saved for the README.
"""

import base64
import sys
import time
from pathlib import Path

import nbformat
from nbconvert import HTMLExporter

from tests.browser.chromium import chromium
from tests.notebooks import FOLDER, NOTEBOOKS, TRANSLATED, execute, save, translation


def main(names: list[str]) -> int:
    def wanted(path: Path) -> bool:
        return not names or path.stem in names or path.stem[:2] in names

    failed = [path for path in filter(wanted, NOTEBOOKS) if not run(path)]
    translation.main()
    failed += [path for path in filter(wanted, TRANSLATED) if not run(path)]
    return bool(failed)


def run(path: Path) -> bool:
    """Run a notebook and save it, if it runs to its end."""
    print(f"  {path.relative_to(FOLDER).with_suffix('')} …", end=" ", flush=True)
    start = time.monotonic()
    notebook, error = execute(path)
    print(f"{time.monotonic() - start:.0f} s")
    if error:
        print(f"{error}\n{path.name} was left as it is.", file=sys.stderr)
        return False
    save(notebook, path)
    if path in NOTEBOOKS:
        save_picture(notebook, path)
    return True


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
