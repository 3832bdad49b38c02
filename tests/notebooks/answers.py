"""More answers to the exercises: wrong ones that a check has to refuse, in words that help, and unusual right ones.

The plainest wrong answer and the solution of each exercise stand in its notebook. An answer of Python code is put into the
cell to fill, below the line "# Exercise …".
"""

from typing import NamedTuple


class Right(NamedTuple):
    what: str
    code: str


class Wrong(NamedTuple):
    what: str
    code: str
    told: str  # a part of what the check says


ANSWERS = {
}
