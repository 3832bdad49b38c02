"""What a check says to an untouched exercise, to a wrong answer, to a broken one and to a right one."""

import re
from xml.etree import ElementTree

import IPython.display
import pandas as pd
import pytest
from matplotlib.figure import Figure

from helpers.course.exercises import exercise
from helpers.course.workloads import Caller, Calls

COUNT = """
with exercise(1, "my_df") as check:
    check.has_columns(my_df, "pid", "comm", rows=3)
    check.that(my_df["pid"].is_unique, "The three `sync` have three <different> pids.")
"""
RIGHT = pd.DataFrame({"pid": [1, 2, 3], "comm": "sync"})


@pytest.fixture
def cell(monkeypatch):
    """Run a check as a notebook would, among the names given; returns its words and the check."""

    def run(code, **names):
        shown = []
        monkeypatch.setattr(IPython.display, "display", shown.append)
        exec(code, namespace := {"exercise": exercise, **names})
        [verdict] = shown
        inside = "".join(ElementTree.fromstring(verdict._repr_html_()).itertext())
        assert inside.strip() == repr(verdict).replace("`", "").strip()  # both forms say the same
        return repr(verdict), namespace["check"]

    return run


def test_a_right_answer(cell):
    words, check = cell(COUNT, my_df=RIGHT)
    assert words == "✓ Exercise 1: done." and check.passed


@pytest.mark.parametrize("names", [{}, {"my_df": ...}, {"my_df": None}])
def test_not_done_yet(cell, names):
    words, check = cell(COUNT, **names)
    assert words.startswith("○ Exercise 1: not done yet. Give `my_df` a value in the cell above")
    assert not check.passed


def test_not_done_yet_names_all_that_is_missing_and_does_nothing(cell):
    made_calls = []
    words, _ = cell(
        """
with exercise("2b", "one", "two", "three") as check:
    check.counts(lambda: 1, by=made_calls.append)
""",
        one=1,
        two=...,
        made_calls=made_calls,
    )
    assert "Exercise 2b" in words and "`two` and `three`" in words and made_calls == []


@pytest.mark.parametrize(
    "cells, is_open",
    [
        (["", "# Exercise 1\nmy_df = 5"], False),
        (["", "# Exercise 1\nmy_df = 5", "# Exercise 1\n# emptied"], True),
        (["", "# Exercise 1\n"], True),
        (["", "# Exercise 1\nx = 1", "# Exercise 1: again\nmy_df, y = 1, 2"], False),
        (["", "# Exercise 1\nwith a as my_df: pass"], False),
        (["", "# Exercise 1\ndef my_df(): pass"], False),
        (["", "# Exercise 1\nmy_df = 1", "# Exercise 10\nx = 1", "# Exercise 1b\nx = 1", "y = 2"], False),
        (["", "# exercise 1\nget_ipython().run_line_magic('time', 'my_df = 1')"], False),
        (["", "# Exercise 1\nfrom x import y as my_df"], False),
        (["", "# Exercise 1\nfrom x import my_df, y"], False),
        (["", "# Exercise 1\nfrom my_df import y as x"], True),
        (["", "# Exercise 1\nmy df"], False),
        (["", "my_df = 5"], False),
        ([], False),
    ],
)
def test_a_value_left_from_an_earlier_run_does_not_count(cell, cells, is_open):
    words, _ = cell(COUNT, my_df=RIGHT, In=cells)
    assert ("not done yet" in words) == is_open and ("done." in words) != is_open


@pytest.mark.parametrize(
    "answer, sentence",
    [
        (5, "This should be a DataFrame (what `to_dataframe()` returns), but it is a value of type int."),
        (RIGHT[["comm"]], "The frame has no column `pid`; it has `comm`."),
        (RIGHT[:0], "The frame has the right columns but no rows"),
        (RIGHT[:2], "The frame should have 3 rows, but it has 2."),
        (RIGHT.assign(pid=1), "The three `sync` have three <different> pids."),
    ],
)
def test_a_wrong_answer_is_told_what_is_missing(cell, answer, sentence):
    words, check = cell(COUNT, my_df=answer)
    assert words.startswith("✗ Exercise 1: not right yet. ") and sentence in words and not check.passed


def test_an_error_in_the_answer_is_a_sentence(cell):
    def broken():
        raise ZeroDivisionError("division by zero")

    words, _ = cell('with exercise(3, "f") as check:\n    f()', f=broken)
    assert words == (
        "✗ Exercise 3: not right yet. Your answer could not be checked, because of an error: "
        "ZeroDivisionError: division by zero"
    )
    words, _ = cell('with exercise(3, "f") as check:\n    g()', f=broken)
    assert "NameError: name 'g' is not defined" in words


def test_an_interrupt_is_not_swallowed():
    def stop():
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt), exercise(1):
        stop()


def test_plots(cell):
    def told(ax):
        return cell('with exercise(1, "ax") as check:\n    check.is_plot(ax)', ax=ax)[0]

    ax = Figure().add_subplot()
    assert "This should be an Axes" in told(3)
    assert "Nothing has been drawn" in told(ax)
    ax.plot([1, 2])
    assert "no title" in told(ax)
    ax.set(title="t", xlabel="x")
    assert "no label on the y axis" in told(ax)
    ax.set(ylabel="y")
    assert "done." in told(ax)


def test_a_check_gives_the_learners_names_back(monkeypatch):
    monkeypatch.setattr(IPython.display, "display", lambda verdict: None)
    code = "import json" + COUNT + "    my_df, pid, new = 0, 5, 6\n    for row in [1]: pass\nlast = check.passed"
    exec(code, namespace := {"exercise": exercise, "my_df": RIGHT, "pid": "mine"})
    assert namespace["my_df"] is RIGHT and namespace["pid"] == "mine" and not {"new", "row"} & set(namespace)
    assert namespace["last"] and namespace["json"] and namespace["check"].passed


class Counter:
    """A kernel counter that grows by `step` a call."""

    def __init__(self, step):
        self.value, self.step, self.asked = 0, step, []

    def calls(self, times):
        self.asked.append(times)
        self.value += times * self.step
        return Calls([Caller("sync", 1, 1, times, 0, 1)])


@pytest.mark.parametrize(
    "step, each, sentence",
    [
        (1, 1, "done."),
        (2, 2, "done."),
        (0, 0, "done."),
        (0, 1, "fresh calls by sync gave no counts. Is the program attached"),
        (1, 2, "counts, but only "),
        (2, 1, "Call detach_all() before BPF(…)."),
        (1.2, 1, "done."),  # a few by others, as nothing says whose they are
        (1, 0, "should give 0 counts, but "),
    ],
)
def test_what_fresh_calls_tell(cell, step, each, sentence):
    counter = Counter(step)
    words, check = cell(
        'with exercise(1, "c") as check:\n    check.counts(lambda: c.value, each=each, by=c.calls)',
        c=counter,
        each=each,
    )
    assert sentence in words and check.made.calls == counter.asked[0]
    assert check.passed == (sentence == "done.")


def test_fresh_calls_cannot_be_foreseen(cell):
    asked = {Counter(1) for _ in range(40)}
    for counter in asked:
        cell("with exercise(1) as check:\n    check.counts(lambda: c.value, by=c.calls)", c=counter)
    assert len({counter.asked[0] for counter in asked}) > 2


def test_its_own_ground_in_every_theme(monkeypatch):
    shown = []
    monkeypatch.setattr(IPython.display, "display", shown.append)
    with exercise(1) as check:
        check.that(False, "`x` & <y>")
    markup = shown[0]._repr_html_()
    assert re.search("background:#FCEEE4;color:#1F2328", markup) and "&amp; &lt;y&gt;" in markup
