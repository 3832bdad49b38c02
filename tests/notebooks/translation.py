"""python -m tests.notebooks.translation [NN …]: the Chinese edition, of the English one and notebooks/zh/messages.po.

It has the notebooks that stand in notebooks/zh, and gets those whose numbers are given.

First it brings the catalogue up to date, and that of the helpers' own words, helpers/locale/zh.po. What is new in
English stands there without a translation, or with that of the most similar text that is gone, marked fuzzy. Both show
in English until somebody has translated them, or looked and taken the mark away. Then it writes the notebooks, whose
outputs stay where their code has, and the glossary.

A text is a paragraph, a heading, an item of a list or a row of a table; in code it is a comment, or words that the
learner sees when the code runs.
"""

import ast
import copy
import difflib
import io
import re
import sys
import tokenize
import unicodedata
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Iterator
from pathlib import Path

import nbformat
import polib
from babel.messages.extract import extract_from_dir

from helpers import language
from helpers.lab import cache
from tests.notebooks import CHINESE, FOLDER, LINK, NOTEBOOKS, digest

CATALOGUE = CHINESE / "messages.po"
HELPERS = language.LOCALE / "zh.po"
Say = Callable[[str], str]  # a text in English, to what stands in its place

# Code shows words by these functions and arguments …
SHOW = {"print", "that", "set_title", "bar_label"}
LABELS = {"title", "xlabel", "ylabel"}
# … and these wherever they stand: data that a table or a plot shows, and what a check compares with such words.
SHOWN = {
    "Who ran where",
    "latency (ms)",
    "none",
    "computes",
    "writes to memory",
    "writes to disk",
    "callback",
    "batches",
    "Say here",
    "How often do 100 calls of sched_rr_get_interval appear in the kernel?",
    "100 times, because nobody else makes this call.",
}
WIDTH = 100  # columns of a line of code, two for a Chinese character

LITERAL = re.compile(r"""([A-Za-z]*)(\"{3}|'{3}|"|')(.*?)(?<!\\)\2""", re.DOTALL)
NO_WORDS = re.compile(r"</?\w+>|%-?\d*[a-z]+|\{[^{}]*\}|\\n")
NO_COMMENT = re.compile(r"#!|# Exercise \w+$")  # `exercise` looks for this line
PLACEHOLDER = re.compile(r"%-?\d*[a-z]+|\{[^{}]*\}")
INSTEAD = re.compile(r"(?<= or )'[^']*'(?=\})")  # what stands in place of nothing is a word, too: {found or 'nobody'}


def markdown(text: str, say: Say) -> str:
    """Return a Markdown text with each of its paragraphs, items and rows as `say` has it; long lines are joined."""
    pieces = re.split(r"(^```.*?^```$|\n\n+|\n(?= *(?:[-*] |\d+\. |\|)))", text, flags=re.DOTALL | re.MULTILINE)
    text = "".join(_piece(piece, say) for piece in pieces)
    # What is not translated yet is read in English.
    return re.sub(
        r"(?<=\]\()\d\d_\w+\.ipynb", lambda link: ("" if (CHINESE / link[0]).exists() else "../") + link[0], text
    )


def _piece(piece: str, say: Say) -> str:
    if piece.startswith("```"):
        return re.sub(r"(?<=^```python\n).*(?=\n```$)", lambda found: code(found.group(), say), piece, flags=re.DOTALL)
    mark, words, end = re.fullmatch(r"(\s*(?:[-*] |\d+\. )?)(.*?)(\s*)", piece, re.DOTALL).groups()
    return mark + _said(" ".join(words.split()), say) + end


def _said(words: str, say: Say) -> str:
    return say(words) if re.search("[A-Za-z]", NO_WORDS.sub("", words)) else words


def code(source: str, say: Say) -> str:
    """Return a cell's code with its comments, and the strings that the learner reads, as `say` has them."""
    if source.startswith("!"):
        return source
    magic, source = re.fullmatch(r"(%%.*?\n)?(.*)", source, re.DOTALL).groups(default="")
    starts = [0]
    for line in source.splitlines(keepends=True):
        starts.append(starts[-1] + len(line))

    def place(line: int, utf8: int) -> int:
        return starts[line - 1] + len(source[starts[line - 1] :].encode()[:utf8].decode())

    edits = []
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type == tokenize.COMMENT and not NO_COMMENT.match(token.string):
            begin = starts[token.start[0] - 1] + token.start[1]
            edits.append((begin, begin + len(token.string), "# " + _said(token.string.removeprefix("#").strip(), say)))
    for node, indent in words_shown(ast.parse(source)):
        begin, end = place(node.lineno, node.col_offset), place(node.end_lineno, node.end_col_offset)
        column = begin - starts[node.lineno - 1]
        literal = _literal(source[begin:end], column, say)
        if indent < column and "\n" in literal:  # a line of its own is better
            begin = len(source[:begin].rstrip())
            literal = f"\n{' ' * indent}{_literal(source[begin:end].lstrip(), indent, say)}"
        edits.append((begin, end, literal))
    for begin, end, text in sorted(edits, reverse=True):
        source = source[:begin] + text + source[end:]
    return magic + source


def words_shown(tree: ast.AST) -> Iterator[tuple[ast.expr, int]]:
    """Yield the string expressions of a program that the learner reads, each once, and the column for more lines."""
    found = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Constant) and node.value in SHOWN:
            found[node.lineno, node.col_offset] = node, node.col_offset
        if isinstance(node, ast.Call):
            name = getattr(node.func, "attr", getattr(node.func, "id", ""))
            shown = [label.value for label in node.keywords if label.arg in LABELS]
            if name in SHOW:
                shown += node.args[1:] if name == "that" else node.args
            for words in shown:
                for text in _strings(words):
                    indent = node.args[0].col_offset if name == "that" else text.col_offset
                    found[text.lineno, text.col_offset] = text, indent
    yield from found.values()


def _strings(node: ast.AST) -> Iterator[ast.expr]:
    """Yield the strings that a value is made of, but not the arguments and keys that other values are asked for by."""
    if isinstance(node, ast.JoinedStr) or (isinstance(node, ast.Constant) and isinstance(node.value, str)):
        yield node
    elif not isinstance(node, ast.Call | ast.Subscript | ast.Compare):
        for child in ast.iter_child_nodes(node):
            yield from _strings(child)


def _literal(source: str, column: int, say: Say) -> str:
    """Return one or more adjacent string literals with their words, as one text, as `say` has it."""
    literals = LITERAL.findall(source)
    # Spaces behind words make columns, whose width depends on the language.
    words = "".join(body for *_, body in literals).rstrip()
    said = _said(words, say)
    if said == words:
        return source
    quote, lines, left = literals[0][1], [], 0
    for phrase in re.findall(r".*?[，。：；！？]+|.+$", said):
        width = sum(1 + (unicodedata.east_asian_width(character) in "WF") for character in phrase)
        if width > left:
            lines.append("")
            left = WIDTH - column - len('f"")')
        lines[-1] += phrase
        left -= width
    formats = any("f" in prefix for prefix, *_ in literals)
    return ("\n" + " " * column).join(f"{'f' * (formats and '{' in line)}{quote}{line}{quote}" for line in lines)


def notebook(english: nbformat.NotebookNode, say: Say) -> nbformat.NotebookNode:
    """Return a notebook in the words of `say`, without outputs."""
    chinese = copy.deepcopy(english)
    for cell in chinese.cells:
        if cell.cell_type == "markdown":
            cell.source = markdown(cell.source, say)
            continue
        cell.source, cell.outputs, cell.execution_count = code(cell.source, say), [], None
        if "wrong" in cell.metadata:
            cell.metadata["wrong"] = code(cell.metadata["wrong"], say)
    return chinese


def glossary(english: str, say: Say) -> str:
    """Return the glossary in the words of `say`; a heading keeps the anchor that its English words have."""

    def heading(text: str) -> str:
        found = re.fullmatch(r"(## )(?:<a id=\"([a-z-]+)\"></a>)?(.+)", text)
        if not found:
            return say(text)
        mark, anchor, word = found.groups()
        said = say(mark + word).removeprefix(mark)
        if said != word or anchor:
            mark += f'<a id="{anchor or word.replace(" ", "-")}"></a>'
        return mark + said

    return markdown(english, heading)


def sources(numbers: Collection[str] = ()) -> list[Path]:
    """Return the English notebooks that have a translation, or are to get one."""
    return [path for path in NOTEBOOKS if (CHINESE / path.name).exists() or path.name[:2] in numbers]


def texts(notebooks: Iterable[Path]) -> dict[str, list[str]]:
    """Return the texts of English notebooks and of the glossary in reading order, each with the cells it stands in."""
    found: dict[str, list[str]] = {}
    here = ""

    def note(text: str) -> str:
        places = found.setdefault(text, [])
        if here not in places:
            places.append(here)
        return text

    for path in notebooks:
        for cell in nbformat.read(path, as_version=4).cells:
            here = cell.id
            (markdown if cell.cell_type == "markdown" else code)(cell.source, note)
            if "wrong" in cell.metadata:
                code(cell.metadata["wrong"], note)
    here = "glossary.md"
    glossary((FOLDER / here).read_text(), note)
    return found


def texts_of_helpers() -> dict[str, list[str]]:
    """Return the texts that helpers/ gives to `tr`, each with the modules it stands in."""
    found: dict[str, list[str]] = {}
    for module, _, text, *_ in extract_from_dir(cache.PROJECT / "helpers", keywords={"tr": None}):
        places = found.setdefault(text, [])
        if module not in places:
            places.append(module)
    return found


def merged(catalogue: polib.POFile, found: dict[str, list[str]]) -> polib.POFile:
    """Return the catalogue for these texts, in their order."""
    known = {entry.msgid: entry for entry in catalogue}
    gone = [text for text, entry in known.items() if text not in found and entry.msgstr]
    new = polib.POFile(wrapwidth=120)
    new.header, new.metadata = catalogue.header, catalogue.metadata
    for text, places in found.items():
        entry = polib.POEntry(msgid=text)
        if text in known:
            entry = known[text]
        elif similar := difflib.get_close_matches(text, gone, n=1):
            old = known[similar[0]]
            entry.msgstr, entry.flags, entry.previous_msgid = old.msgstr, ["fuzzy"], old.previous_msgid or old.msgid
        entry.occurrences = [(place, "") for place in places]
        new.append(entry)
    return new


def read(file: Path = CATALOGUE) -> polib.POFile:
    """Return a catalogue as it is."""
    return polib.pofile(str(file), wrapwidth=120)


def brought_up_to_date(file: Path, found: dict[str, list[str]]) -> polib.POFile:
    """Return a catalogue, written anew with these texts, and say what it lacks."""
    catalogue = merged(read(file), found)
    catalogue.save(str(file))
    print("\n".join(untranslated(catalogue, found)) or f"{file.relative_to(cache.PROJECT)}: everything is translated")
    return catalogue


def saying(catalogue: polib.POFile) -> Say:
    """Return the function that translates by a catalogue: what is fuzzy, missing or not translated stays in English."""
    translated = {entry.msgid: entry.msgstr for entry in catalogue if entry.msgstr and not entry.fuzzy}
    return lambda text: translated.get(text, text)


def skeleton(source: str) -> str:
    """Return a program without comments and words: a string is what is put into it, in any order."""

    class Strings(ast.NodeTransformer):
        def visit_JoinedStr(self, node: ast.JoinedStr) -> ast.expr:
            parts = [part for part in node.values if isinstance(part, ast.FormattedValue)]
            for part in parts:
                if isinstance(part.value, ast.BoolOp):
                    part.value.values = [
                        self.visit(value) if isinstance(value, ast.Constant) else value for value in part.value.values
                    ]
            return ast.Set(sorted(parts, key=ast.dump))

        def visit_Constant(self, node: ast.Constant) -> ast.expr:
            return ast.Set([]) if isinstance(node.value, str) else node

    magic, program = re.fullmatch(r"([%!].*?(?:\n|$))?(.*)", source, re.DOTALL).groups(default="")
    return magic + ast.dump(Strings().visit(ast.parse(program)))


def untranslated(catalogue: polib.POFile, found: dict[str, list[str]]) -> list[str]:
    """Return what is not to be published, a line for each text: not translated, or not as its English is."""
    known = {entry.msgid: entry for entry in catalogue}
    problems = []
    for text, places in found.items():
        entry = known.get(text)
        where = f"{', '.join(places)}: {text!r}"
        if entry is None or not entry.msgstr:
            problems.append(f"{where} is not translated")
        elif entry.fuzzy:
            problems.append(f"{where} is fuzzy: it was {entry.previous_msgid!r}")
        for pattern, what in ((LINK, "links"), (PLACEHOLDER, "placeholders")):
            if entry and entry.msgstr and _found(pattern, text) != _found(pattern, entry.msgstr):
                problems.append(f"{where} has other {what} in its translation: {entry.msgstr!r}")
    return problems


def _found(pattern: re.Pattern[str], text: str) -> Counter[str]:
    return Counter(pattern.findall(INSTEAD.sub("''", text)))


def differences(english: nbformat.NotebookNode, chinese: nbformat.NotebookNode, say: Say) -> list[str]:
    """Return what is not the same in a notebook and its translation, a line for each cell, with the English of both."""
    if [cell.id for cell in english.cells] != [cell.id for cell in chinese.cells]:
        return ["the cells are not the same"]
    problems = []
    for mine, theirs, made in zip(english.cells, chinese.cells, notebook(english, say).cells):
        if (theirs.source, theirs.metadata, theirs.cell_type) != (made.source, made.metadata, made.cell_type):
            pairs = zip(made.source.splitlines(), theirs.source.splitlines())
            line = next((f": {one!r} here, {other!r} there" for one, other in pairs if one != other), "")
            problems.append(f"{mine.id} is not what English and catalogue make{line}")
        if mine.cell_type == "code" and skeleton(mine.source) != skeleton(theirs.source):
            problems.append(f"{mine.id}: the code is not the same")
    return problems


def main(numbers: Collection[str] = ()) -> None:
    notebooks = sources(numbers)
    say = saying(brought_up_to_date(CATALOGUE, texts(notebooks)))
    brought_up_to_date(HELPERS, texts_of_helpers())
    for path in notebooks:
        chinese, target = notebook(nbformat.read(path, as_version=4), say), CHINESE / path.name
        before = nbformat.read(target, as_version=4) if target.exists() else chinese
        if before.metadata["outputs_of"] == digest(chinese):
            chinese.metadata = before.metadata
            outputs = {
                cell.id: (cell.outputs, cell.execution_count) for cell in before.cells if cell.cell_type == "code"
            }
            for cell in chinese.cells:
                if cell.cell_type == "code":
                    cell.outputs, cell.execution_count = outputs[cell.id]
        nbformat.write(chinese, target)
    (CHINESE / "glossary.md").write_text(glossary((FOLDER / "glossary.md").read_text(), say))


if __name__ == "__main__":
    main(sys.argv[1:])
