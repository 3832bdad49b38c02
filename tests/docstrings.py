"""python -m tests.docstrings: every number that a public function takes or gives has its unit in the docstring.

Ruff sees that arguments, results and errors are described, and nothing knows what in. A unit here is a word of UNITS: so
"seconds: how long at most" is enough, and "timeout: how long" is not.
"""

import ast
import re
import sys
from pathlib import Path

UNITS = re.compile(
    r"\b(ns|µs|ms|s|nanoseconds?|milliseconds?|seconds?|minutes?|hours?|bytes?|MiB|pages?|inches|points|pixels|"
    r"events?|calls?|rows?|lines?|times|records?|processes|CPUs?|number of|index|offset|port|descriptors?|ids?|UID|PID|TID|"
    r"signal|status|version|codes?|share|percent|per second)\b"
)


def main() -> int:
    """Print what has no unit; returns the exit status."""
    faults = [fault for path in sorted(Path("helpers").rglob("*.py")) for fault in without_unit(path)]
    print("\n".join(faults) or "every number has its unit")
    return bool(faults)


def without_unit(path: Path) -> list[str]:
    """The public functions of a module that take or give a number without a unit, a line each."""
    faults = []
    for owner in ast.walk(ast.parse(path.read_text())):
        if isinstance(owner, ast.Module | ast.ClassDef) and not getattr(owner, "name", "").startswith("_"):
            class_text = ast.get_docstring(owner) or "" if isinstance(owner, ast.ClassDef) else ""
            for function in owner.body:
                if isinstance(function, ast.FunctionDef) and (not function.name.startswith("_") or function.name == "__init__"):
                    text = ast.get_docstring(function) or ""
                    text += class_text if function.name == "__init__" else ""
                    numbers = {a.arg: f"{a.arg}[^:\n]*:(.*(?:\n +.*)*)" for a in all_arguments(function) if number(a.annotation)}
                    if number(function.returns):
                        numbers["the result"] = r"()"
                    faults += [
                        f"{path}:{function.lineno}: {function.name}: no unit of {name}"
                        for name, where in numbers.items()
                        if not any(UNITS.search(found if where != "()" else text) for found in re.findall(where, text) or [""])
                    ]
    return faults


def all_arguments(function: ast.FunctionDef) -> list[ast.arg]:
    """The arguments of a function, whatever their kind."""
    return [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]


def number(annotation: ast.expr | None) -> bool:
    """Whether an annotation is a number, or a number or None."""
    return annotation is not None and bool(re.search(r"\b(int|float)\b", ast.unparse(annotation)))


if __name__ == "__main__":
    sys.exit(main())
