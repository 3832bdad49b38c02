"""Checks for the exercises: they look at what the kernel did, and say in words what is still missing.

An exercise is two cells. The learner fills the first, which begins with its number and a place for the answer:

    # Exercise 1
    my_bpf = ...

The second one checks it. `exercise` is told which names must have been filled in:

    with exercise(1, "my_bpf") as check:
        df = check.hears(my_bpf, "events")
        check.has_columns(df, "pid", "comm")
        check.that(set(df["pid"]) == set(check.made.pids), "`pid` is not the process that called sync: look at >> 32")

The first check that fails ends the block, and its words are shown. A wrong answer never raises; an error inside the
block is shown as a sentence. Until the names are filled in the block says "not done yet". `hears`, `prints` and
`counts` make fresh system calls, a random number of them, so that only a program that is attached and works can pass;
calls that others make meanwhile do not count. Names that the check assigns get their old values back afterwards.
"""

import ast
import dis
import html
import random
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from types import CodeType, TracebackType
from typing import TYPE_CHECKING, Any, Self

from helpers.course.workloads import Calls, run_sync
from helpers.draw.display import Shown
from helpers.language import tr

if TYPE_CHECKING:  # a notebook's first import is not to wait for these
    import pandas as pd
    from bcc import BPF
    from matplotlib.axes import Axes

    from helpers import PerfOutput, RingBuffer

DONE = ("✓", "#00734F", "#E5F4EE", tr("Exercise {number}: done."))
WRONG = ("✗", "#B84A00", "#FCEEE4", tr("Exercise {number}: not right yet."))
OPEN = ("○", "#57606A", "#F1F3F5", tr("Exercise {number}: not done yet."))

BPF_CALL, HELPERS = 0x85, {"ringbuf_output": 130, "ringbuf_reserve": 131, "ringbuf_submit": 132}  # <linux/bpf.h>
TICK_NS = 10_000_000  # of the clock that stamps files: CONFIG_HZ is 100 to 1000


class exercise:
    """Check the answer to an exercise in a `with` block; see the head of this module.

    After the block, `check.passed` tells whether the answer was right; `check.made` is the `Calls` made last.

    Args:
        number: as it stands in the first line of the cell to fill ("# Exercise 1").
        *names: what that cell must define.
    """

    def __init__(self, number: int | str, *names: str) -> None:
        self.number, self.passed, self.made = number, False, Calls()
        frame = sys._getframe(1)
        self._namespace = frame.f_globals
        self._open = [name for name in names if _is_open(name, self._namespace, number)]
        self._before = {name: self._namespace.get(name, ...) for name in _names_assigned(frame.f_code)}

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> bool:
        self._give_names_back()
        if kind is not None and not issubclass(kind, Exception):
            return False  # ■ interrupts a check like any other cell
        if self._open:
            names = tr(" and ").join(f"`{name}`" for name in self._open)
            self._say(OPEN, tr("Give {names} a value in the cell above, run it, then run this one again.", names=names))
        elif kind is None:
            self.passed = True
            self._say(DONE, "")
        elif kind is _Missing:
            self._say(WRONG, str(error))
        else:
            what = f"{kind.__name__}: {error}".removesuffix(": ")
            self._say(WRONG, tr("Your answer could not be checked, because of an error: {error}", error=what))
        return True

    def _give_names_back(self) -> None:
        for name, value in self._before.items():
            if self._namespace.get(name) is self:
                continue  # the check itself
            if value is ...:
                self._namespace.pop(name, None)
            else:
                self._namespace[name] = value

    def that(self, condition: object, otherwise: str) -> None:
        """Go on when `condition` is true; else end the check and show the sentence `otherwise`.

        Raises:
            _Missing: ends the `with` block, which shows it.
        """
        if self._open or not condition:
            raise _Missing(otherwise)

    def has_columns(self, df: "pd.DataFrame", *columns: str, rows: int | None = None) -> None:
        """Check for a DataFrame with these columns.

        Args:
            df: what should be one.
            *columns: their names; there may be others.
            rows: number of rows; any but zero when None.
        """
        import pandas as pd

        self.that(
            isinstance(df, pd.DataFrame),
            tr("This should be a DataFrame (what `to_dataframe()` returns), but it is {what}.", what=_a(df)),
        )
        missing = [name for name in columns if name not in df]
        self.that(
            not missing,
            tr("The frame has no column {name}; it has {others}.", name=_listed(missing), others=_listed(df.columns)),
        )
        self.that(
            len(df), tr("The frame has the right columns but no rows: no event came while it was being collected.")
        )
        self.that(
            rows is None or len(df) == rows,
            tr("The frame should have {rows} rows, but it has {found}.", rows=rows, found=len(df)),
        )

    def is_program(self, bpf: "BPF") -> None:
        """Check for a BPF object that is still there: nobody has cleaned it up."""
        from bcc import BPF

        from helpers.collect.bcc_internals import is_gone

        what = _a(bpf)
        self.that(isinstance(bpf, BPF), tr("This should be what `BPF(text=…)` returns, but it is {what}.", what=what))
        self.that(not is_gone(bpf), tr("This BPF object has been cleaned up: run the cell with your answer again."))

    def is_plot(self, ax: "Axes") -> None:
        """Check for an Axes with something drawn in it, a title, and a label on each axis."""
        from matplotlib.axes import Axes

        self.that(
            isinstance(ax, Axes),
            tr("This should be an Axes (what a plot function returns), but it is {what}.", what=_a(ax)),
        )
        self.that(ax.has_data(), tr("Nothing has been drawn in the plot."))
        self.that((ax.get_title() + ax.get_title("left")).strip(), tr("The plot has no title."))
        self.that(ax.get_xlabel().strip(), tr("The plot has no label on the x axis."))
        self.that(ax.get_ylabel().strip(), tr("The plot has no label on the y axis."))

    def collector(self, bpf: "BPF", table: str = "events") -> "PerfOutput | RingBuffer":
        """Check for a program with a table for events.

        Args:
            bpf: the program.
            table: a table declared by BPF_PERF_OUTPUT or BPF_RINGBUF_OUTPUT.

        Returns:
            The collector that reads this table.
        """
        from helpers import PerfOutput, RingBuffer
        from helpers.collect.bcc_internals import PERF_EVENT_ARRAY, RINGBUF, find_table, map_type

        self.is_program(bpf)
        found = find_table(bpf, table)
        self.that(found is not None, tr("The program has no table `{table}`.", table=table))
        collectors: dict[int | None, Any] = {PERF_EVENT_ARRAY: PerfOutput, RINGBUF: RingBuffer}
        kind = map_type(found)
        self.that(
            kind in collectors,
            tr("The table `{table}` was not declared by BPF_PERF_OUTPUT or BPF_RINGBUF_OUTPUT.", table=table),
        )
        return collectors[kind](found)

    def hears(
        self, bpf: "BPF", table: str = "events", each: int = 1, by: Callable[[int], Calls] | None = None
    ) -> "pd.DataFrame":
        """Make fresh calls and check that the program puts as many events into its table.

        A frame without a column `pid` or `tid` cannot tell who called; it may have up to half as many events more.

        Args:
            bpf: the program.
            table: a table declared by BPF_PERF_OUTPUT or BPF_RINGBUF_OUTPUT.
            each: events for each call, at least one.
            by: makes so many calls and returns them; `run_sync` when None.

        Returns:
            The events that came meanwhile.
        """
        with self.collector(bpf, table) as events:
            self._make_calls(by)
        df = self._without_bystanders(events.to_dataframe(), each)
        self._compare(len(df), each, tr("events"), who_is_known={"pid", "tid"} & set(df))
        return df

    def prints(
        self, bpf: "BPF", text: str = "", each: int = 1, by: Callable[[int], Calls] | None = None
    ) -> "pd.DataFrame":
        """Like `hears`, for the lines that the program writes to trace_pipe.

        Args:
            bpf: the program.
            text: a part of the lines that count.
            each: lines for each call; 0 says that these calls must print none.
            by: makes so many calls and returns them; `run_sync` when None.

        Returns:
            The lines that came meanwhile.
        """
        from helpers import TracePipe

        self.is_program(bpf)
        with TracePipe() as lines:
            self._make_calls(by)
        df = lines.to_dataframe()
        df = df[df["message"].str.contains(text, regex=False)]
        df = self._without_bystanders(df, each)
        self._compare(len(df), each, tr("lines with {text!r}", text=text) if text else tr("lines"))
        return df

    def counts(self, read: Callable[[], int], each: int = 1, by: Callable[[int], Calls] | None = None) -> int:
        """Make fresh calls and check that a number grows with each.

        Args:
            read: gives the number of what the program counted.
            each: how much more it is after each call, as in `hears`: 1 for a counter of calls.
            by: makes so many calls and returns them; `run_sync` when None.

        Returns:
            How much it grew by all calls.
        """
        self.that(
            callable(read), tr("This should be a function that reads the number, but it is {what}.", what=_a(read))
        )
        before = read()
        self._make_calls(by)
        grown = read() - before
        self._compare(grown, each, tr("counts"), who_is_known=False)
        return grown

    def reads_memory(self, bpf: "BPF") -> bool:
        """Return whether a function of `bpf` loads a value from memory, such as its context; a constant needs no load.

        It looks for the load instructions and the helpers bpf_probe_read*() in what was loaded (bpf-helpers(7), and
        kernel documentation, bpf/standardization/instruction-set).
        """
        from helpers.collect.bcc_internals import instructions

        load, probe_read = 1, {4, 112, 113}  # <linux/bpf.h>
        return any(code & 7 == load or code == BPF_CALL and number in probe_read for code, number in instructions(bpf))

    def uses(self, bpf: "BPF", *helpers: str) -> None:
        """Check that the program calls these helpers of the kernel, bpf-helpers(7); names as in `HELPERS`."""
        from helpers.collect.bcc_internals import instructions

        called = {number for code, number in instructions(bpf) if code == BPF_CALL}
        for helper in helpers:
            self.that(HELPERS[helper] in called, tr("The program does not call `{helper}`.", helper=helper))

    def counts_losses(self, bpf: "BPF", counter: str, by: Callable[[int], Calls]) -> None:
        """Let `events` overflow while nobody reads, and check that the program counts the events lost.

        Args:
            bpf: the program.
            counter: the array that counts them.
            by: makes so many calls and returns them.
        """
        from helpers import PerfOutput, RingBuffer
        from helpers.collect.bcc_internals import ARRAY, PERCPU_ARRAY, RINGBUF, Counter, find_table, map_type

        table, array = bpf["events"], find_table(bpf, counter)
        is_array = map_type(array) in (ARRAY, PERCPU_ARRAY)
        self.that(is_array, tr("The program has no array `{counter}`.", counter=counter))
        is_ring, lost = map_type(table) == RINGBUF, Counter(array)
        calls = table.max_entries // 16 + 1 if is_ring else 5000  # no record of a ring buffer is smaller than 16 bytes
        collector = RingBuffer(table) if is_ring else PerfOutput(table, pages=1)
        with lost, collector.new_channel() as channel:  # not yet read: that is for the collector's thread
            lost.restart()
            made = by(calls)
            channel.finish()
            missing, counted = made.calls - channel.columns.rows, lost.value()
        self.that(
            missing == counted,
            tr(
                "Of {calls:,} events that nobody read, {missing:,} were lost, but `{counter}` grew by {counted:,}.",
                calls=made.calls,
                missing=missing,
                counter=counter,
                counted=counted,
            ),
        )

    def files_written(self, folder: str | Path, calls: "pd.DataFrame") -> list[Path]:
        """Return the files in a folder that were last written while calls were made.

        The kernel stamps files by a clock that ticks every 1 to 10 ms; twenty sales in memory take less than a tick.

        Args:
            folder: where to look, also in folders within.
            calls: the calls, with columns `time_ns` (since boot) and `took_ns`.
        """
        from helpers.collect.clocks import realtime_offset_ns

        offset = realtime_offset_ns()
        begin, end = calls["time_ns"].min() + offset - TICK_NS, (calls["time_ns"] + calls["took_ns"]).max() + offset
        files = [path for path in Path(folder).rglob("*") if path.is_file()]
        return [path for path in files if begin <= path.stat().st_mtime_ns <= end]

    def _make_calls(self, by: Callable[[int], Calls] | None) -> None:
        self.made = (by or run_sync)(random.randint(3, 7))

    def _without_bystanders(self, df: "pd.DataFrame", each: int) -> "pd.DataFrame":
        """Return only the rows of our callers, if the right number of rows is theirs: others may make the same call."""
        for column, ids in (("pid", self.made.pids), ("tid", self.made.tids)):
            if column in df and (ours := df[column].isin(ids)).sum() == self.made.calls * each:
                return df[ours]
        return df

    def _compare(self, found: int, each: int, what: str, who_is_known: object = True) -> None:
        names = tr(" and ").join(dict.fromkeys(caller.name for caller in self.made))
        expected = self.made.calls * each
        most = expected if who_is_known else expected * 3 // 2
        calls = tr("{number} fresh calls by {names}", number=self.made.calls, names=names)
        values: dict[str, Any] = {"calls": calls, "expected": expected, "what": what, "found": found}
        self.that(
            found or not expected,
            tr("{calls} gave no {what}. Is the program attached, and to the right function?", **values),
        )
        self.that(found >= expected, tr("{calls} should give {expected} {what}, but only {found} came.", **values))
        self.that(
            found <= most,
            tr(
                "{calls} should give {expected} {what}, but {found} came. "
                "Is an older program still attached? Call detach_all() before BPF(…).",
                **values,
            ),
        )

    def _say(self, state: tuple[str, str, str, str], words: str) -> None:
        mark, strong, pale, verdict = state
        head = verdict.format(number=self.number)
        code = r"<code style='color:#1F2328;background:none'>\1</code>"
        body = re.sub("`([^`]+)`", code, html.escape(words))
        Shown(
            f"{mark} {head} {words}".rstrip(),
            html=(
                f'<div style="border-left:5px solid {strong};background:{pale};color:#1F2328;padding:.5em .8em">'
                f'<b style="color:{strong}">{mark} {html.escape(head)}</b> {body}</div>'
            ),
        ).show()


class _Missing(Exception):
    """Ends the block; its words are for the learner."""


def _is_open(name: str, namespace: Mapping[str, Any], number: int | str) -> bool:
    """Return whether an answer is still to be given: no such name, a placeholder, or left from an earlier run."""
    value = namespace.get(name, ...)
    return value is ... or value is None or _is_left_over(name, namespace, number)


def _is_left_over(name: str, namespace: Mapping[str, Any], number: int | str) -> bool:
    """Return whether the last cell "# Exercise …" did not give `name` a value; `In` lists a notebook's cells."""
    first_line = re.compile(rf"\s*#\s*exercise\s+{re.escape(str(number))}\b", re.IGNORECASE)
    cells = [cell for cell in namespace.get("In", []) if first_line.match(cell)]
    if not cells or "get_ipython()" in cells[-1]:
        return False  # believe a cell with %magic or !command, which are such calls by now
    try:
        return name not in _names_given(ast.parse(cells[-1]))
    except SyntaxError:
        return False


def _names_assigned(code: CodeType) -> set[str]:
    """Return the global names that a cell's code assigns."""
    return {step.argval for step in dis.get_instructions(code) if step.opname in ("STORE_NAME", "STORE_GLOBAL")}


def _names_given(tree: ast.AST) -> set[str]:
    names = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    defined = [node for node in ast.walk(tree) if isinstance(node, (ast.FunctionDef, ast.ClassDef, ast.alias))]
    return names | {getattr(node, "asname", None) or node.name for node in defined}


def _a(value: object) -> str:
    return tr("a value of type {name}", name=type(value).__name__)


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)
