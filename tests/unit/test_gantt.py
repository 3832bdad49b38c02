"""Gantt charts: bars from when to when, rows in the order in which they start, and very many bars counted."""

import time

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from helpers import plots


@pytest.fixture
def df():
    return pd.DataFrame(
        {
            "comm": ["sort", "sh", "ls"],
            "start_ns": [10**13 + 2_000_000, 10**13, 10**13 + 1_000_000],
            "end_ns": [10**13 + 9_000_000, 10**13 + 10_000_000, 10**13 + 4_000_000],
            "kind": ["child", "shell", "child"],
        }
    )


def many(number, rows=40, seed=1):
    rng = np.random.default_rng(seed)
    begins = rng.integers(0, 10**10, number)
    names = rng.choice([f"process {i}" for i in range(rows)], number)
    return pd.DataFrame(
        {"comm": names, "start_ns": begins, "end_ns": begins + rng.exponential(1e7, number).astype(int)}
    )


def bars(ax):
    """(row, begin, end) of each bar, and its opacity, from the picture itself."""
    return [
        (
            round(path.vertices[:, 1].mean()),
            path.vertices[:, 0].min(),
            path.vertices[:, 0].max(),
            collection.get_alpha(),
        )
        for collection in ax.collections
        for path in collection.get_paths()
        if len(path.vertices)
    ]


def labels(ax):
    return [label.get_text() for label in ax.get_yticklabels()]


def words(ax):
    return [text.get_text() for text in ax.texts]


def test_bars_and_rows_are_where_they_should_be(df):
    ax = plots.gantt(df)
    assert labels(ax) == ["sh", "ls", "sort"]
    assert sorted(bars(ax)) == [(0, 0, 10, 1), (1, 1, 4, 1), (2, 2, 9, 1)]
    assert ax.get_xlabel() == "time since the first began (ms)"
    assert ax.get_title() == "3 in 10 ms, the longest 10 ms (sh)"
    assert words(ax) == ["7 ms", "10 ms", "3 ms"]


def test_what_has_no_end_goes_on_paler(df):
    ax = plots.gantt(df.assign(end_ns=df["end_ns"].where(df["comm"] != "ls").astype("Int64")))
    assert (1, 1, 10, 0.4) in bars(ax) and "9 ms so far" not in words(ax)[:2] and "9 ms so far" in words(ax)
    assert ax.get_title().endswith("; 1 without an end")


def test_nothing_has_an_end(df):
    ax = plots.gantt(df.assign(end_ns=None))
    assert sorted(bar[2] for bar in bars(ax)) == [2, 2, 2]  # the last moment of the frame


def test_what_has_no_beginning_is_left_out(df):
    assert labels(plots.gantt(df.assign(start_ns=df["start_ns"].where(df["comm"] != "sh").astype("Int64")))) == [
        "ls",
        "sort",
    ]


def test_kinds_are_colours(df):
    ax = plots.gantt(df, kind="kind")
    assert [text.get_text() for text in ax.get_legend().get_texts()] == ["child", "shell"]
    assert len({tuple(colour) for collection in ax.collections for colour in collection.get_facecolor()}) == 2


def test_a_legend_of_two_lines_covers_no_bar():
    kinds = ["a", "b", "c", "d"]
    df = pd.DataFrame({"start_ns": 0, "end_ns": 1000, "comm": kinds, "kind": kinds})
    ax = plots.gantt(df, kind="kind")
    ax.figure.draw_without_rendering()
    bars = [ax.transData.transform(path.vertices) for bars in ax.collections for path in bars.get_paths()]
    assert ax.get_legend().get_window_extent().y0 > max(bar[:, 1].max() for bar in bars)


def test_the_shortest_bar_is_still_seen(df):
    ax = plots.gantt(df.assign(end_ns=df["start_ns"].where(df["comm"] != "sh", df["end_ns"])))
    solid = ax.collections[0]
    assert (solid.get_linewidth() >= 1).all() and (solid.get_edgecolor() == solid.get_facecolor()).all()


def test_of_very_many_it_is_counted_how_many_last_at_a_time():
    df = many(5000, rows=3)
    ax = plots.gantt(df)
    meshes = [mesh.get_array().filled(0).ravel() for mesh in ax.collections]
    width = (df["end_ns"].max() - df["start_ns"].min()) / meshes[0].size
    spent = dict(zip(labels(ax), [mesh.sum() * width for mesh in meshes]))
    lasted = (df["end_ns"] - df["start_ns"]).groupby(df["comm"]).sum()
    assert spent == pytest.approx(lasted.to_dict())


def test_the_busiest_rows_are_shown_and_the_others_are_one():
    df = many(300_000)
    begin = time.process_time()
    ax = plots.gantt(df)
    ax.figure.canvas.draw()
    assert time.process_time() - begin < 3  # about 0.2 s here
    assert len(labels(ax)) == 12 and labels(ax)[-1] == "others"
    lasted = (df["end_ns"] - df["start_ns"]).groupby(df["comm"]).sum().sort_values(ascending=False)
    assert set(labels(ax)[:-1]) == set(lasted.index[:11])


def test_nothing_lasted(df):
    assert words(plots.gantt(df.iloc[:0])) == ["nothing lasted"]
    assert words(plots.gantt(df.assign(start_ns=None))) == ["nothing lasted"]


def test_all_at_one_moment(df):
    ax = plots.gantt(df.assign(start_ns=5, end_ns=5))
    ax.figure.canvas.draw()
    assert ax.get_title().startswith("3 in 0 ns, the longest 0 ns")


def test_it_draws_where_it_is_told_and_leaves_the_frame_alone(df):
    before = df.copy()
    _, mine = plt.subplots()
    assert plots.gantt(df, ax=mine) is mine and plt.get_fignums() == [mine.figure.number]
    pd.testing.assert_frame_equal(df, before)


@pytest.mark.parametrize("number", [3, 5000])
def test_what_else_is_said_by_name_goes_on_to_matplotlib(number):
    artists = plots.gantt(many(number), alpha=0.25).collections
    assert artists and all(artist.get_alpha() == 0.25 for artist in artists)


def test_a_column_that_is_not_there(df):
    with pytest.raises(KeyError, match="no column 'exit_ns'"):
        plots.gantt(df, end="exit_ns")
    with pytest.raises(KeyError, match="give by="):
        plots.gantt(df.drop(columns="comm"))
