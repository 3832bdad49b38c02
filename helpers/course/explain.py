"""`explain`: what the kernel's verifier or clang refused, in plain words, beside the line of C that it means.

    explain()                   in the cell below a refusal: explains the last one

    with explain():             around what may be refused: the explanation comes instead of the error
        bpf = BPF(text=program)

Of what the verifier says, eight kinds are known (see `helpers.course.verdicts`). For anything else it shows the line
and the kernel's last words, and claims nothing. One mistake it cannot explain in the same Python: where the variables
of a function take more than 512 bytes, clang says so and ends the process. Compile such a text in another Python, and
explain what that printed.
"""

import ast
import html
import os
import re
import sys
from collections.abc import Iterable
from types import TracebackType
from typing import NamedTuple

from helpers.collect.refusals import Refused, captured, refused
from helpers.course.c_lines import Source, source_of, texts_in
from helpers.course.verdicts import KINDS, OFF_THE_STACK, Note, Verdict, verdict
from helpers.course.verifier import Line, Log, Value

_STRONG, _PALE, _MARK = "#B84A00", "#FCEEE4", "#FFF3B0"  # as in a check that says "not right yet"
_LAST_ROWS = 400  # of a log; a loop's may have 100,000


class Row(NamedTuple):
    """A row of the explanation: a line of C, its number or None, and what is said below its part `begin` to `end`."""

    number: int | None
    text: str
    begin: int
    end: int
    words: str


class explain:
    """The explanation of a refusal: a cell that ends with it shows it; in a `with` block it comes instead of the error.

    Args:
        what: the exception to explain, or a log as text; the last exception that nobody caught if None.
        text: the C text, where it is not known from the exception or the notebook's variables.

    Attributes:
        kind: one of `KINDS`; "memory" where it is not known whose; "clang" for its errors; "other"; "" for no refusal.
        words: the sentence; `instead` says what to write, and `said` has the kernel's or clang's own words.
        line: the number of the line that was refused, from 1, as `show_c` counts; None where it is not known.

    >>> explain()
    ✗ `begin` may be NULL, and nothing has checked that it is not
       7      u64 *begin = started.lookup(&tid);
                   ^^^^^ gives NULL when there is no such key
       8      bpf_trace_printk("%d", *begin);
                                       ^^^^^ used here
      Between the two: `if (!begin) return 0;`
      The kernel said: R0 invalid mem access 'map_value_or_null'
    """

    KINDS = KINDS

    def __init__(self, what: BaseException | str | None = None, text: str | None = None) -> None:
        self.kind, self.words, self.instead, self.said = "", "Nothing has been refused.", "", ""
        self.line: int | None = None
        self._by, self._rows, self._log = "", [], ""  # type: str, list[Row], str
        self._text = text
        if isinstance(what, str):
            self._read(Refused("kernel" if re.search(r"^\d+: \(", what, re.MULTILINE) else "clang", what), [])
        else:
            error = what if what is not None else getattr(sys, "last_value", None)
            self._explain(error, None)

    def __enter__(self) -> "explain":
        self._capture = captured(explain.__enter__, explain.__exit__)
        self._capture.__enter__()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, _: TracebackType | None) -> bool:
        self._capture.__exit__()
        explained = isinstance(error, Exception) and self._explain(error, self._capture.said)
        if not explained:
            os.write(2, self._capture.said.encode())
            return False
        from IPython.display import display

        display(self)
        return True

    def __repr__(self) -> str:
        rows = [f"{'✗' if self.kind else '✓'} {self.words}"]
        width = max((len(str(row.number)) for row in self._rows if row.number), default=1)
        for row in self._rows:
            rows.append(f"  {row.number or '':>{width}}  {row.text}".rstrip())
            rows.append(f"  {'':{width}}  {' ' * row.begin}{'^' * (row.end - row.begin)} {row.words}".rstrip())
        if self.instead:
            rows.append(f"  {self.instead}")
        if self.said:
            rows.append(f"  {self._speaker()}: " + self.said.replace("\n", "\n    "))
        return "\n".join(rows)

    def _repr_html_(self) -> str:
        if not self.kind:
            return f"<p>✓ {html.escape(self.words)}</p>"
        width = max((len(str(row.number)) for row in self._rows if row.number), default=1)
        rows = []
        for row in self._rows:
            text = html.escape(row.text[: row.begin]), html.escape(row.text[row.begin : row.end])
            rows.append(
                f'<span style="color:#6E7781;user-select:none">{row.number or "":>{width + 1}}  </span>{text[0]}'
                f'<span style="background:{_MARK}">{text[1]}</span>{html.escape(row.text[row.end :])}\n'
                f'{" " * (width + 3 + row.begin)}<span style="color:{_STRONG}">{"^" * (row.end - row.begin)} '
                f"{html.escape(row.words)}</span>"
            )
        code = '<pre style="color:#1F2328;background:none;margin:.5em 0;white-space:pre;line-height:1.4">'
        body = f"{code}{chr(10).join(rows)}</pre>" if rows else ""
        if self.instead:
            body += f"<div>{_code(self.instead)}</div>"
        log = self._log.splitlines()
        cut = f"… {len(log) - _LAST_ROWS:,} lines before these\n" if len(log) > _LAST_ROWS else ""
        body += (
            f'<details style="margin-top:.5em"><summary>{self._speaker()}: '
            f'<code style="color:#1F2328;background:none">{html.escape(self.said)}</code></summary>'
            f"{code}{cut}{html.escape(chr(10).join(log[-_LAST_ROWS:]))}</pre></details>"
        )
        return (
            f'<div style="border-left:5px solid {_STRONG};background:{_PALE};color:#1F2328;padding:.5em .8em;'
            'overflow-x:auto">'
            f'<b style="color:{_STRONG}">✗ {_code(self.words)}</b>{body}</div>'
        )

    @property
    def lines(self) -> list[int]:
        """The numbers of the lines of C that the explanation shows."""
        return [row.number for row in self._rows if row.number]

    @property
    def log(self) -> str:
        """All that the kernel, or clang, has said."""
        return self._log

    def _speaker(self) -> str:
        return "clang said" if self._by == "clang" else "The kernel said"

    def _explain(self, error: BaseException | None, printed: str | None) -> bool:
        """Return whether an exception is a refusal, and if so, explain it."""
        found = refused(error, printed)
        if found is None:
            return False
        self._read(found, _texts_around(error))
        return True

    def _read(self, found: Refused, texts: Iterable[str]) -> None:
        self._by, self._log = found.by, found.said
        known = [text for text in (self._text, found.text) if text]
        if found.by == "clang":
            self._read_clang(found.said, (known or [""])[0])
        else:
            log = Log(found.said, found.loops)
            source = source_of(known or texts, log.lines, found.function)
            self._read_kernel(log, source, verdict(log, found.function, found.program_type))

    def _read_kernel(self, log: Log, source: Source, found: Verdict) -> None:
        self.kind, self.said = found.kind, "\n".join(log.said)
        name = _name(log, source, found.value)
        notes = found.notes
        if found.kind == "loop":
            notes = tuple(note._replace(line=source.loop_at(note.line)) for note in notes)
        self._rows = _rows(source, notes, name)
        self.line = self._rows[-1].number if self._rows else None
        if found.kind == "other":
            self.words = "The kernel refused this program, and its reason is none of those that `explain` knows"
            self.instead = "More is not known here: the kernel's own words have to do."
        else:
            self.words, self.instead = found.said_of(name)

    def _read_clang(self, said: str, text: str) -> None:
        """The first error: later ones often follow from it."""
        rows = text.expandtabs(4).splitlines()
        if found := re.search(r"in function (\w+) .*: (.*BPF stack limit[^.]*)", said):
            self.kind, self.said = "stack", found[2]
            self.words = f"The variables of `{found[1]}` do not fit into the 512 bytes of stack that a program has"
            self.instead = OFF_THE_STACK
            return
        self.kind, self.words = "clang", "clang could not compile this program"
        found = re.search(r"^(\S+?):(\d+):(\d+): (?:fatal )?error: (.*)\n(?: *\d+ \|)?(.*)$", said, re.MULTILINE)
        if not found:
            self.said = "\n".join(said.strip().splitlines()[-3:])
            return
        self.said, number, column, quoted = found[4], int(found[2]), int(found[3]) - 1, found[5].strip()
        if not found[1].endswith("/main.c") or not text:
            self.words += f": the error is in {found[1]}, line {number}"
        elif number <= len(rows) and rows[number - 1].strip() in (quoted, ""):
            row = rows[number - 1]
            end = max(column + 1, re.compile(r"\w*").match(row, min(column, len(row))).end())  # type: ignore[union-attr]
            self._rows = [Row(number, row, column, end, found[4])]
        else:  # in what BCC made of the text
            source = Source(text, [line := Line(quoted, 0)], "")
            self._rows = _rows(source, [Note(line, found[4])], "")
        self.line = self._rows[0].number if self._rows else None
        more = len(re.findall(r": (?:fatal )?error: ", said)) - 1
        self.instead = f"{more} more after it, which may follow from this one." if more > 0 else ""


def _code(text: str) -> str:
    return re.sub("`([^`]+)`", r"<code style='color:inherit;background:none'>\1</code>", html.escape(text, quote=False))


def _texts_around(error: BaseException | None) -> list[str]:
    """Return every text that the frames of an exception know, and those in the notebook's latest cells."""
    values: list[object] = []
    traceback = error.__traceback__ if error else None
    while traceback is not None:
        values += [*traceback.tb_frame.f_locals.values(), *traceback.tb_frame.f_globals.values()]
        cells = traceback.tb_frame.f_globals.get("In", [])
        for cell in cells[-20:] if isinstance(cells, list) else []:
            try:
                nodes = ast.walk(ast.parse(cell))
            except SyntaxError:
                continue  # such a cell never ran
            values += [node.value for node in nodes if isinstance(node, ast.Constant)]
        traceback = traceback.tb_next
    return list(dict.fromkeys(texts_in(values)))


def _name(log: Log, source: Source, value: Value | None) -> str:
    """Return the variable that got a value in the line of C where it came up; "" if that cannot be told."""
    line = log.line_of(value)
    if not line or not log.last:
        return ""
    names = re.findall(r"(\w+)\s*=(?!=)", source.at(line)[1]) or re.findall(
        r"&(\w+), sizeof|(?:^|\W)(\w+) =(?!=)", line.text
    )
    names = ["".join(name) for name in names]
    if len(names) > 1:
        names = [name for name in names if re.search(rf"\b{name}\b", source.at(log.last)[1])]
    return names[0] if len(names) == 1 else ""


def _rows(source: Source, notes: Iterable[Note], name: str) -> list[Row]:
    rows: list[Row] = []
    for note in notes:
        number, text = source.at(note.line)
        if rows and rows[-1].number == number and rows[-1].text == text:
            rows.pop()  # the last note on a line is the one that counts
        bare = text.partition("//")[0].rstrip()
        begin, end = len(bare) - len(bare.lstrip()), len(bare)
        if name and note.value and (found := re.search(rf"(?<![.>\w]){name}\b", bare)):
            begin, end = found.span()
        rows.append(Row(number, text, begin, end, note.words))
    return rows
