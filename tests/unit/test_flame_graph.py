"""Flame graphs: every stack is as wide as what was spent in it, whatever is named, and nothing is left out unsaid."""

import re
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from helpers import plots

STACKS = {
    "[unknown in libc.so.6];entry_[k];sync_[k];wait_[k]": 600,
    "[unknown in libc.so.6];entry_[k];sync_[k]": 100,
    "[unknown in libc.so.6];entry_[k];read_[k]": 250,
    "main;compute": 50,
}


@pytest.fixture
def df():
    return pd.DataFrame({"stack": list(STACKS), "off_ns": list(STACKS.values()), "count": 1})


def random_stacks(number, names, depth, seed=1):
    rng = np.random.default_rng(seed)
    words = [f"function_{i}" for i in range(names)]
    rows = [";".join(words[i] for i in rng.integers(0, names, rng.integers(1, depth))) for _ in range(number)]
    return pd.DataFrame({"stack": rows, "count": rng.integers(1, 5, number)})


def boxes(ax):
    """(depth, begin, width) of each box, from the picture itself."""
    [collection] = ax.collections
    return [
        (round(path.vertices[:, 1].min()), path.vertices[:, 0].min(), np.ptp(path.vertices[:, 0]))
        for path in collection.get_paths()
    ]


def names(ax):
    return {text.get_text(): text.get_position() for text in ax.texts}


def counted(ax):
    """(named, too narrow, not drawn), as the words below the picture say."""
    return [int(n.replace(",", "")) for n in re.findall(r"([\d,]+) (?:box|too|not)", ax.get_xlabel())]


def test_boxes_are_as_wide_as_what_was_spent(df):
    ax = plots.flame_graph(df, "off_ns")
    assert sorted(boxes(ax)) == [
        (0, 0, 950),  # [unknown in libc.so.6]
        (0, 950, 50),  # main
        (1, 0, 950),  # entry
        (1, 950, 50),  # compute
        (2, 0, 250),  # read, before sync in the alphabet
        (2, 250, 700),  # sync
        (3, 350, 600),  # wait, behind the 100 that sync spent without calling it
    ]
    assert names(ax)["sync"][0] == 600 and ax.get_xlim() == (0, 1000)
    assert ax.get_title() == "1 µs in 4 stacks, 60 % in the widest"


def test_an_icicle_hangs_from_the_ceiling(df):
    upright, hanging = plots.flame_graph(df, "off_ns"), plots.flame_graph(df, "off_ns", icicle=True)
    assert sorted(boxes(hanging)) == sorted(boxes(upright))
    assert hanging.yaxis_inverted() and not upright.yaxis_inverted()
    assert sorted(hanging.get_ylim()) == [-1.4, 4] and sorted(upright.get_ylim()) == [0, 5.4]


def test_one_kind_of_box_needs_no_legend(df):
    assert plots.flame_graph(df, "off_ns").get_legend()
    assert not plots.flame_graph(df[df["stack"] == "main;compute"], "off_ns").get_legend()


def test_all_that_is_spent_is_in_the_lowest_row_and_none_twice():
    df = random_stacks(500, 5, 8)
    ax = plots.flame_graph(df)
    lowest = [width for depth, _, width in boxes(ax) if depth == 0]
    assert sum(lowest) == df["count"].sum()
    by_row = pd.DataFrame(boxes(ax), columns=["depth", "begin", "width"]).sort_values(["depth", "begin"])
    for _, row in by_row.groupby("depth"):
        assert (row["begin"].iloc[1:].to_numpy() >= (row["begin"] + row["width"]).iloc[:-1].to_numpy()).all()


def test_a_name_that_goes_on_where_another_ends_parts_no_box():
    """Blank, digits and `(` to `.` come before the semicolon in ASCII."""
    ax = plots.flame_graph(pd.DataFrame({"stack": ["http", "http.client", "http;read", "http 2"], "count": 1}))
    assert [(depth, width) for depth, _, width in sorted(boxes(ax))] == [(0, 2), (0, 1), (0, 1), (1, 1)]


def test_equal_stacks_are_one(df):
    assert sorted(boxes(plots.flame_graph(pd.concat([df, df]), "count"))) == sorted(
        boxes(plots.flame_graph(df.assign(count=2), "count"))
    )


def test_what_is_not_named_or_not_drawn_is_counted():
    df = random_stacks(3000, 4, 9)
    ax = plots.flame_graph(df)
    named, narrow, hidden = counted(ax)
    assert named == len(ax.texts) > 0 and named + narrow == len(boxes(ax)) and hidden > 0
    prefixes = {tuple(stack.split(";")[:depth]) for stack in df["stack"] for depth in range(1, stack.count(";") + 2)}
    assert named + narrow + hidden == len(prefixes)


def test_a_stack_deeper_than_the_picture_is_counted():
    ax = plots.flame_graph(pd.DataFrame({"stack": [";".join(f"f{i}" for i in range(127))], "count": [7]}))
    assert counted(ax) == [40, 0, 87]


def test_names_fit_their_boxes():
    ax = plots.flame_graph(random_stacks(200, 2, 6))
    ax.figure.canvas.draw()
    edges = [(depth, begin, begin + width) for depth, begin, width in boxes(ax)]
    assert len(ax.texts) >= 10
    for text in ax.texts:
        x, y = text.get_position()
        [(left, right)] = [(b, e) for depth, b, e in edges if depth == int(y) and b < x < e]
        (first, _), (last, _) = ax.transData.inverted().transform(text.get_window_extent())
        assert first >= left - 0.02 * (right - left) and last <= right + 0.02 * (right - left), text.get_text()


def test_colours_tell_the_kernel_from_user_space_and_from_what_has_no_name(df):
    ax = plots.flame_graph(df, "off_ns")
    [collection] = ax.collections
    colours = {tuple(colour) for colour in collection.get_facecolor()}
    assert len(colours) == 3
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["kernel", "user space", "no name"]


@pytest.mark.parametrize(
    "column, values, title",
    [
        ("off_ns", [1500, 1500], "3 µs"),
        ("off_ms", [1.5, 1.5], "3 ms"),
        ("took", pd.to_timedelta([1, 2], unit="s"), "3 s"),
        ("count", [1000, 2000], "3,000 samples"),
        ("count", [1000, None], "1,000 samples"),
    ],
)
def test_times_and_numbers(column, values, title):
    ax = plots.flame_graph(pd.DataFrame({"stack": ["a;b", "a;c"], column: values}), column)
    assert ax.get_title().startswith(title + " in ")


def test_three_hundred_thousand_rows_in_time(df):
    for many in (random_stacks(300_000, 40, 20), pd.concat([df] * 75_000, ignore_index=True)):
        begin = time.process_time()
        ax = plots.flame_graph(many)
        ax.figure.canvas.draw()
        assert time.process_time() - begin < 8  # about 2 s here


@pytest.mark.parametrize("count", [[], [0, 0]])
def test_nothing_to_draw(count):
    ax = plots.flame_graph(pd.DataFrame({"stack": ["a", "b"][: len(count)], "count": count}))
    assert [text.get_text() for text in ax.texts] == ["no stacks"]


def test_it_draws_where_it_is_told_and_leaves_the_frame_alone(df):
    before = df.copy()
    _, (mine, other) = plt.subplots(1, 2)
    assert plots.flame_graph(df, "off_ns", ax=mine) is mine and not other.collections
    assert plt.get_fignums() == [mine.figure.number]
    pd.testing.assert_frame_equal(df, before)


def test_what_else_is_said_by_name_goes_on_to_matplotlib(df):
    [collection] = plots.flame_graph(df, "off_ns", lw=3, alpha=0.5).collections
    assert collection.get_alpha() == 0.5 and set(collection.get_linewidth()) == {3}


def test_a_column_that_is_not_there(df):
    with pytest.raises(KeyError, match="no column 'on_ns'"):
        plots.flame_graph(df, "on_ns")
    with pytest.raises(KeyError, match="no column 'where'"):
        plots.flame_graph(df, stack="where")


def test_readable_at_a_phones_width(df):
    ax = plots.flame_graph(df, "off_ns")
    pixels = 360 / (ax.figure.get_size_inches()[0] * 72)  # for each point, where the picture is 360 pixels wide
    assert all(text.get_fontsize() * pixels > 8.5 for text in [*ax.texts, ax.xaxis.label, ax.title])
