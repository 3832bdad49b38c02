"""The language of the helpers' words: that of the notebook, by the folder that its kernel runs in (notebooks/zh).

`tr` says a text in it, by a catalogue in locale/ (GNU gettext's PO format), which is read when this module is loaded;
for English there is none to read. ``python -m tests.notebooks.translation`` brings the catalogues up to date.

It stands outside of the rooms because all of them speak, and `helpers.lab` before there are any packages: the standard
library only.
"""

from contextlib import suppress
from pathlib import Path

LOCALE = Path(__file__).with_name("locale")


def catalogue(file: Path) -> dict[str, str]:
    """Return the translations in a PO file (GNU gettext manual, "PO Files") by their English, but for fuzzy ones."""
    import ast
    import re

    found = {}
    for entry in file.read_text("utf-8").split("\n\n")[1:]:  # the first is about the file
        strings = re.findall(r'^msg(?:id|str) ((?:".*"\n?)+)', entry, re.MULTILINE)
        if strings and "#, fuzzy" not in entry:
            english, translated = (ast.literal_eval(f"({string})") for string in strings)
            found[english] = translated or english
    return found


def _of_this_folder() -> dict[str, str]:
    with suppress(FileNotFoundError):  # no catalogue, or the folder itself is gone
        folder = Path.cwd()
        if folder.parent.name == "notebooks":
            return catalogue(LOCALE / f"{folder.name}.po")
    return {}


translations = _of_this_folder()


def tr(text: str, /, **values: object) -> str:
    """Return a text in the notebook's language.

    >>> tr("{count} pages", count=8)
    '8 pages'

    Args:
        text: the English, as it stands in the code: a literal, which Babel finds in a call of this name.
        **values: what replaces its ``{…}``, as in str.format(); without any the text stays as it is.
    """
    text = translations.get(text, text)
    return text.format(**values) if values else text
