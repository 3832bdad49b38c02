"""python -m tests.docstrings: every number that a public function takes or gives has its unit in the docstring.

Ruff sees that arguments, results and errors are described, and nothing knows what in. A unit here is a word of UNITS:
so "seconds: how long at most" is enough, and "timeout: how long" is not.
"""

import ast
import re
import sys
from pathlib import Path

UNITS = re.compile(
    r"\b(ns|µs|ms|s|nanoseconds?|milliseconds?|seconds?|minutes?|hours?|bytes?|MiB|pages?|inches|points|pixels|"
    r"events?|calls?|runs|rows?|lines?|times|records?|processes|CPUs?|number of|index|offset|ports?|ids?|UID|"
    r"(file )?descriptors?|PID|TID|signal|status|version|codes?|share|percent|per second)\b"
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
        if not isinstance(owner, ast.Module | ast.ClassDef) or getattr(owner, "name", "").startswith("_"):
            continue
        for function in owner.body:
            if not isinstance(function, ast.FunctionDef) or re.match("_(?!_init__)", function.name):
                continue
            text = ast.get_docstring(owner if function.name == "__init__" else function) or ""
            for name in numbers(function):
                # What Args says of it; else all that is said.
                described = re.search(rf"^ +{name}: (.*(?:\n     +.*)*)", text, re.M)
                if not UNITS.search(described[1] if described else text):
                    faults.append(f"{path}:{function.lineno}: {function.name}: no unit of {name}")
    return faults


def numbers(function: ast.FunctionDef) -> list[str]:
    """The arguments of a function that are annotated as numbers, or as holding numbers, and its result likewise."""
    arguments = [*function.args.posonlyargs, *function.args.args, *function.args.kwonlyargs]
    annotated = [(argument.arg, argument.annotation) for argument in arguments] + [("the result", function.returns)]
    return [name for name, kind in annotated if kind and re.search(r"\b(int|float)\b", ast.unparse(kind))]


if __name__ == "__main__":
    sys.exit(main())
