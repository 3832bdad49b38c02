"""The log of the kernel's verifier, taken apart: its steps, their lines of C, and where each value came from.

A log has the steps of one way through the program, the last one refused, and the lines of C that they were made from
(kernel documentation, bpf/verifier; instructions as in bpf/standardization/instruction-set). Where a register
got its value follows from the steps, as long as that is simple; where it is not, nothing is claimed.
"""

import re
from collections.abc import Iterable
from typing import NamedTuple

_NOISE = re.compile(
    r"\s*$|bpf: |HINT: |libbpf: |-- (BEGIN|END)|processed \d+|verification time|stack depth|from \d+ to \d+|\d+: |[ \t]"
    r"|R\d+(_\w+)?=|(cur|old) state:|mark_precise|last_idx|regs=|parent |func#\d|Validating|arg#\d"
)
_JUMP = re.compile(r"if [rw](\d+) (s?[=!<>&]+) (-?\w+) goto pc([+-]\d+)")


class Line(NamedTuple):
    """A line of C as the log shows it, rewritten by BCC; `number`, in that text, is 0 where the log has none."""

    text: str
    number: int


class Step(NamedTuple):
    """An instruction that the verifier looked at: its number in the program, in words, and its line of C."""

    number: int
    text: str
    line: Line | None


class Value(NamedTuple):
    """Where a value came from: what gave it, and in which step (an index into the steps of the log; -1: none).

    `source` is "context", "stack", "constant", "global", "memory", or the name of a helper that returned or wrote it.
    `number` is a constant, or a place on the stack. `of`, for memory, is the source of the address it was read from.
    """

    source: str
    step: int
    number: int | None = None
    of: str = ""


class Check(NamedTuple):
    """A comparison with a constant: the value, what holds from there on ("==", "s<=", …), the constant, the step."""

    value: Value
    holds: str
    constant: int
    step: int


class Log:
    """A log, taken apart.

    `steps` are the steps on the way to the refusal, and `said` the kernel's last lines. The rest is what is known at
    the last step: `values` of registers ("r0") and of places on the stack ("r10 -8"), the `checks` on the way, and
    `added`: pairs of the value of an address and of a number that was added to it.

    Args:
        text: the log as the kernel prints it.
        loops: index of the first and of the last instruction of each loop, where they are known from elsewhere.
    """

    def __init__(self, text: str, loops: Iterable[tuple[int, int]] = ()) -> None:
        self.loops = tuple(loops)
        self.steps: list[Step] = []
        self.said: list[str] = []
        self.values: dict[str, Value] = {"r1": Value("context", -1), "r10": Value("stack", -1, 0)}
        self.checks: list[Check] = []
        self.added: list[tuple[Value, Value]] = []
        self._read(text)
        for index in range(len(self.steps) - 1):
            self._follow(index)

    def _read(self, text: str) -> None:
        line = None
        for row in text.splitlines():
            if found := re.match(r"; (.*?)(?: @ (\S+):(\d+))?$", row):
                # Without text it is the compiler's own, and in a header an inlined function's: the line stays.
                if found[1].strip() and not (found[2] or "").endswith(".h"):
                    line = Line(found[1].strip(), int(found[3] or 0))
            elif found := re.match(r"(\d+): \((..)\) (.*)", row):
                words = re.sub(r"(goto pc[+-]\d+) .*", r"\1", found[3]).partition(";")[0].strip()
                is_global = found[2] == "18" and re.search(r"= 0x0$", words)
                self.steps.append(Step(int(found[1]), "global " + words if is_global else words, line))
                behind = re.search(r"goto pc[+-]\d+ ([a-zA-Z].*)", found[3])  # where it goes on, or the end of it all
                self.said = [behind[1]] if behind else []
            elif not _NOISE.match(row):
                self.said.append(row)

    @property
    def lines(self) -> list[Line]:
        """The lines of C, each once, in the order of the steps."""
        return list(dict.fromkeys(step.line for step in self.steps if step.line))

    @property
    def last(self) -> Line | None:
        """The line of C that was refused."""
        return self.steps[-1].line if self.steps else None

    def line_of(self, value: Value | None) -> Line | None:
        """Return the line of C in which a value came up; None where that is not known."""
        return self.steps[value.step].line if value and value.step >= 0 else None

    def is_null(self, value: Value) -> bool:
        """Return whether a check on the way found that this value is 0."""
        checks = [check for check in self.checks if check.value == value and check.constant == 0]
        return bool(checks) and checks[-1].holds == "=="

    def loop(self) -> list[Step]:
        """Return the steps of a loop that the way went through again; none if it did not."""
        last: dict[int, int] = {}
        found: list[Step] = []
        for index, step in enumerate(self.steps):
            if step.number in last:
                found = self.steps[last[step.number] : index]
                if len(found) > 1:
                    break
            last[step.number] = index
        return found

    def _follow(self, index: int) -> None:
        values, text = self.values, self.steps[index].text
        if found := re.match(r"call (\w+)#", text):
            self._call(found[1], index)
        elif found := re.match(r"\*\(u\d+ \*\)\(r10 ([+-]\d+)\) = [rw](\d+)$", text):
            self._set(f"r10 {found[1]}", values.get(f"r{found[2]}"))
        elif found := re.match(r"[rw](\d+) = \*\([us]\d+ \*\)\(r(\d+) ([+-]\d+)\)", text):
            base = values.get(f"r{found[2]}")
            kept = values.get(f"r10 {found[3]}") if found[2] == "10" else None
            self._set(f"r{found[1]}", kept or Value("memory", index, of=base.source if base else ""))
        elif found := re.match(r"[rw](\d+) = (?:\([us]\d+\))?[rw](\d+)$", text):
            self._set(f"r{found[1]}", values.get(f"r{found[2]}"))
        elif found := re.match(r"(global )?[rw](\d+) = (-?\d+|0x[0-9a-f]+)( ll)?$", text):
            self._set(f"r{found[2]}", Value("global" if found[1] else "constant", index, int(found[3], 0)))
        elif found := re.match(r"[rw](\d+) (\S+)= (\S+)$", text):
            self._compute(f"r{found[1]}", found[2], found[3])
        elif found := _JUMP.match(text):
            self._check(index, *found.groups())
        elif found := re.match(r"[rw](\d+) = ", text):
            self._set(f"r{found[1]}", None)

    def _call(self, helper: str, index: int) -> None:
        first = self.values.get("r1")
        if first and first.source == "stack" and "probe_read" in helper:
            self.values[f"r10 {first.number:+}"] = Value(helper, index)
        for number in range(1, 6):
            self.values.pop(f"r{number}", None)
        self.values["r0"] = Value(helper, index)

    def _compute(self, register: str, operator: str, operand: str) -> None:
        """With a constant, a value stays the one it was, and an address stays one when a number is added to it."""
        value, other = self.values.get(register), self.values.get(operand.replace("w", "r"))
        if other and other.source == "constant" and value and value.source != "stack":
            pass
        elif operand.startswith(("r", "w")):
            address, number = self.index_of(value, other) if operator == "+" else (None, None)
            self._set(register, address)
            if address and number:
                self.added.append((address, number))
        elif value and value.source == "stack" and value.number is not None and operator == "+":
            self._set(register, value._replace(number=value.number + int(operand, 0)))
        elif value and value.source == "constant":
            self._set(register, None)

    @staticmethod
    def index_of(one: Value | None, other: Value | None) -> tuple[Value | None, Value | None]:
        """Return the address and the number, of two values that are added; None for what is not known."""
        addresses = [
            value for value in (one, other) if value and re.search("stack|context|lookup|reserve", value.source)
        ]
        if len(addresses) != 1:
            return None, None
        return addresses[0], other if addresses[0] is one else one

    def _check(self, index: int, register: str, comparison: str, constant: str, jump: str) -> None:
        value = self.values.get(f"r{register}")
        if not value or not re.match(r"-?\d", constant) or comparison == "&":
            return
        here, there = self.steps[index], self.steps[index + 1]
        if there.number == here.number + 1 + int(jump) != here.number + 1:
            holds = comparison
        else:
            holds = {"==": "!=", "!=": "==", ">": "<=", "<=": ">", ">=": "<", "<": ">="}[comparison.lstrip("s")]
            holds = "s" * comparison.startswith("s") + holds
        self.checks.append(Check(value, holds, int(constant, 0), index))

    def _set(self, place: str, value: Value | None) -> None:
        if value is None:
            self.values.pop(place, None)
        else:
            self.values[place] = value
