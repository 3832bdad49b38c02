"""python binder/book/build.py DIRECTORY: the notebooks as a book, with the outputs that they were saved with.

DIRECTORY gets the English edition, DIRECTORY/zh the Chinese one, if notebooks/zh is there. Nothing is executed, and the
pages ask nothing of any network.
"""

import os
import re
import shutil
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from sphinx.application import Sphinx

HERE = Path(__file__).resolve().parent
PROJECT = HERE.parents[1]


def build(book: Path) -> None:
    """Make the book in a directory, in place of the one that is there."""
    if book.exists() and not (book / ".buildinfo").exists():
        sys.exit(f"{book} is there, and is not a book. Name another directory, or remove it.")
    with tempfile.TemporaryDirectory() as scratch:
        english, made = Path(scratch, "notebooks"), Path(scratch, "book")
        shutil.copytree(PROJECT / "notebooks", english)
        chinese = english / "zh"
        write_front(PROJECT / "README.md", PROJECT / "notebooks", english)
        if chinese.exists():
            write_front(PROJECT / "notebooks/zh/README.md", PROJECT / "notebooks/zh", chinese)
            for notebook in chinese.glob("*.ipynb"):  # what is not translated is in the other edition
                text = re.sub(
                    r"\[([^]]+)\]\(\.\./(\d\d_\w+)\.ipynb\)", r"<a href='../\2.html'>\1</a>", notebook.read_text()
                )
                notebook.write_text(text)
        # Side by side, and each by itself: Sphinx remembers one edition's settings while it makes the next.
        with ProcessPoolExecutor(mp_context=get_context("spawn")) as processes:
            editions = [processes.submit(make, english, made, "en", ("zh/", "zh-CN", "中文", chinese))]
            if chinese.exists():
                other = ("../", "en", "English", english)
                editions.append(processes.submit(make, chinese, made / "zh", "zh_CN", other))
        if any(edition.result() for edition in editions):
            sys.exit("The book is not whole, and was not saved: see the warnings above.")
        shutil.rmtree(book, ignore_errors=True)
        shutil.move(made, book)


def write_front(readme: Path, notebooks: Path, source: Path) -> None:
    """Write the front page from an edition's README: the title, the first paragraph, the table of notebooks.

    The paragraph is the first that begins with a letter; the table has a row for each notebook.
    """
    text = readme.read_text()
    title = re.search(r"^# .+", text, re.M)[0]
    about = re.search(r"^\w.*?(?=\n\n)", text, re.M | re.S)[0]
    rows = re.findall(r"^(\| \[(.+?)\]\(\S*?(\w+)\.ipynb\).+)", text, re.M)
    listed, names = [name for _, _, name in rows], sorted(path.stem for path in source.glob("*.ipynb"))
    if listed != names:
        sys.exit(f"{readme} has a table of {', '.join(listed)}; the notebooks are {', '.join(names)}.")
    table = "\n".join(row for row, _, _ in rows)
    table = re.sub(r"\]\(([^):]+)\)", lambda link: f"]({os.path.relpath(readme.parent / link[1], notebooks)})", table)
    toctree = [f"{heading} <{name}>" for _, heading, name in rows]
    page = [title, "", about, "", "| | | |", "| --- | --- | --- |", table, "", "```{toctree}", ":hidden:", ""]
    (source / "index.md").write_text("\n".join([*page, *toctree, "glossary", "```", ""]))


def make(source: Path, book: Path, language: str, other: tuple[str, str, str, Path]) -> int:
    """Run Sphinx over one edition, whose pages link to those of the other; return its status, 0 without warnings."""
    where, code, name, pages = other
    there = {path.stem for path in pages.glob("*.*")} | {"search"} if pages.exists() else set()
    settings = {
        "language": language,
        "html_title": (source / "index.md").read_text().partition("\n")[0].removeprefix("# "),
        "html_context": {"default_mode": "auto", "other": {"where": where, "code": code, "name": name, "pages": there}},
    }
    doctrees = source.parent / f"doctrees-{language}"
    sphinx = Sphinx(source, HERE, book, doctrees, "html", settings, status=None, warningiserror=True)
    sphinx.build(force_all=True)
    return sphinx.statuscode


if __name__ == "__main__":
    target = Path(sys.argv[1]).absolute()
    build(target)
    print(f"The book is made: {(target / 'index.html').as_uri()}")
