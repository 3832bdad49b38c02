"""Plots of no event, of one, of three, of three million, and of strange ones; and what their titles claim."""

import subprocess
import sys
import time

import numpy as np
import pandas as pd
import pytest
from matplotlib import pyplot as plt

from helpers import plots
from helpers.draw.values import duration, percent, short

MILLION = 1_000_000


def frame(number, names=("sync", "ann", "bob"), seed=1):
    rng = np.random.default_rng(seed)
    return pd.DataFrame(
        {
            "time_ns": np.sort(rng.integers(0, 2_000_000_000, number)) + 10**13,
            "comm": pd.Categorical(rng.choice(names, number), categories=[*names, "never"]),
            "cpu": rng.integers(0, 2, number).astype("int16"),
            "latency_ns": np.exp(rng.normal(10, 2, number)).astype("int64"),
            "slot": rng.integers(8, 25, number),
            "value": rng.integers(0, 5, number) + (number < 300),
        }
    )


PLOTS = {
    "timeline": plots.timeline,
    "timeline by cpu": lambda df, **more: plots.timeline(df, by="cpu", **more),
    "rate": plots.rate,
    "rate by comm": lambda df, **more: plots.rate(df, by="comm", **more),
    "counts": plots.counts,
    "gaps": plots.gaps,
    "latency": plots.latency,
    "latency by comm": lambda df, **more: plots.latency(df, by="comm", **more),
    "arrival": plots.arrival,
    "log2_histogram": plots.log2_histogram,
    "log2_histogram by comm": lambda df, **more: plots.log2_histogram(df, by="comm", **more),
    "heatmap": plots.heatmap,
    "heatmap of slots": lambda df, **more: plots.heatmap(df, slot="slot", **more),
    "losses": lambda df, **more: plots.losses({"this": df}, **more),
}


def draw(ax):
    ax.figure.canvas.draw()


def words(ax):
    return " ".join(text.get_text() for text in ax.texts)


@pytest.mark.parametrize("name", PLOTS)
@pytest.mark.parametrize("number", [1, 2, 3, 300, 5000])
def test_a_plot_has_a_title_labels_and_a_white_ground(name, number):
    ax = PLOTS[name](frame(number))
    draw(ax)
    assert ax.get_title() and ax.get_xlabel() or "event" in words(ax)
    assert ax.figure.get_facecolor() == ax.get_facecolor() == (1, 1, 1, 1)
    assert ax.xaxis.label.get_fontsize() >= 10 and all(t.get_fontsize() >= 10 for t in ax.get_xticklabels())


@pytest.mark.parametrize("name", PLOTS)
def test_no_events(name):
    df = frame(0)
    ax = PLOTS[name](df)
    draw(ax)
    assert "no events" in words(ax)
    assert all(0 < place < 1 for text in ax.texts for place in text.get_position())


@pytest.mark.parametrize("name", PLOTS)
def test_it_draws_where_it_is_told_and_leaves_the_frame_alone(name):
    df = frame(50)
    before = df.copy()
    _, mine = plt.subplots()
    assert PLOTS[name](df, ax=mine) is mine
    assert plt.get_fignums() == [mine.figure.number]
    pd.testing.assert_frame_equal(df, before)


@pytest.mark.parametrize("name", PLOTS)
def test_three_million_events_in_time(name):
    df = frame(3 * MILLION)
    begin = time.process_time()
    draw(PLOTS[name](df))
    assert time.process_time() - begin < 4  # about 0.3 s here


@pytest.mark.parametrize("name", PLOTS)
def test_all_events_at_one_moment_and_alike(name):
    df = frame(20).assign(time_ns=5, latency_ns=7000, comm="one")
    draw(PLOTS[name](df))


@pytest.mark.parametrize("values", [[0, 0, 0], [-5, 0, 3], [-1], [1, 2**62]])
def test_latencies_that_a_log_axis_cannot_show(values):
    ax = plots.latency(pd.DataFrame({"latency_ns": values}))
    draw(ax)
    told = words(ax) + ax.get_xlabel()
    assert "none longer than 0 ns" in told if max(values) <= 0 else ("not shown" in told) == (min(values) <= 0)


@pytest.mark.parametrize(
    "name, number, kind",
    [
        ("timeline", 50, "lines"),
        ("timeline", 5000, "collections"),
        ("rate", 50, "patches"),
        ("rate by comm", 50, "patches"),
        ("counts", 50, "patches"),
        ("gaps", 50, "patches"),
        ("latency", 50, "patches"),
        ("latency by comm", 50, "patches"),
        ("arrival", 50, "lines"),
        ("losses", 50, "patches"),
        ("log2_histogram", 50, "patches"),
        ("log2_histogram by comm", 50, "patches"),
        ("heatmap", 50, "collections"),
        ("heatmap of slots", 50, "collections"),
    ],
)
def test_what_else_is_said_by_name_goes_on_to_matplotlib(name, number, kind):
    artists = getattr(PLOTS[name](frame(number), alpha=0.25), kind)
    assert artists and all(artist.get_alpha() == 0.25 for artist in artists)


def test_what_goes_on_may_say_otherwise_by_any_of_its_names():
    df = frame(50)
    assert [stairs.get_linewidth() for stairs in plots.rate(df, by="comm", lw=5).patches] == [5, 5, 5]
    assert all(line.get_color() == "red" for line in plots.arrival(df, c="red").lines)
    assert all(line.get_markersize() == 9 for line in plots.timeline(df, ms=9).lines)
    with pytest.raises(AttributeError, match="unexpected keyword argument 'bye'"):
        plots.gaps(df, bye="comm")


@pytest.mark.parametrize("name", ["timeline", "rate", "counts", "gaps", "arrival", "losses"])
def test_options_are_said_by_name(name):
    with pytest.raises(TypeError, match="takes 1 positional argument but 2 were given"):
        getattr(plots, name)(frame(50), "comm")


def test_a_title_set_later_looks_the_same():
    ax = plots.counts(frame(50))
    before = ax.title.get_fontsize(), ax.title.get_fontweight()
    assert before == (11.5, "bold")
    ax.set_title("my own")
    assert (ax.title.get_fontsize(), ax.title.get_fontweight()) == before
    ax.set(title="another")
    assert (ax.title.get_fontsize(), ax.title.get_fontweight()) == before and ax.get_title() == "another"
    ax.set_title("small", {"fontweight": "normal"}, size=7)
    assert (ax.title.get_fontsize(), ax.title.get_fontweight()) == (7, "normal")


def test_matplotlib_is_set_as_it_was():
    code = """
import matplotlib.pyplot as plt
plt.switch_backend("agg")  # the first plot would set it
before = dict(plt.rcParams)
import pandas as pd
from helpers import plots
assert dict(plt.rcParams) == before
plots.counts(pd.DataFrame({"comm": ["sync"]})).set_title("my own")
assert dict(plt.rcParams) == before
"""
    subprocess.run([sys.executable, "-c", code], check=True)


def test_times_out_of_order_make_no_negative_gaps():
    ax = plots.gaps(pd.DataFrame({"time_ns": [3000, 1000, 2000, 2000]}))
    assert ax.get_title() == "Half the gaps are under 1 µs, the longest 1 µs"
    assert "1 of zero or less not shown" in ax.get_xlabel()


def test_missing_values_are_left_out():
    df = frame(10)
    df["time_ns"] = df["time_ns"].astype("Int64").where(df.index != 3)
    df["comm"] = df["comm"].where(df.index != 5)
    assert plots.timeline(df).get_title().startswith("9 events in ")
    assert "nan" in [label.get_text() for label in plots.counts(df).get_yticklabels()]


@pytest.mark.parametrize(
    "column, values, seconds",
    [
        ("time_ns", [10**9, 3 * 10**9], 2),
        ("ts", [10**9, 3 * 10**9], 2),
        ("ts", [5.5, 7.5], 2),
        ("time", pd.to_datetime([1, 3], unit="s"), 2),
        ("time", pd.to_datetime([1, 3], unit="s", utc=True).tz_convert("Asia/Tokyo"), 2),
        ("start_ns", np.array([0, 2**63 + 1], dtype="uint64") // 2**32, 2.147483648),
    ],
)
def test_times_of_many_kinds(column, values, seconds):
    ax = plots.rate(pd.DataFrame({column: values}))
    assert ax.get_title().startswith(f"{2 / seconds:.3g} events a second")


def test_durations_of_many_kinds():
    for column, value in (("t_us", 5.0), ("t_ms", 0.005), ("t", 5000), ("t", 5e-6), ("t", pd.Timedelta("5us"))):
        assert plots.latency(pd.DataFrame({column: [value]}), column).get_title() == "1 event, it took 5 µs"


def test_nanoseconds_that_became_floats_are_not_taken_for_seconds():
    df = frame(10).rename(columns={"time_ns": "ts"})
    df["ts"] = df["ts"].shift()
    with pytest.raises(ValueError, match="'ts' has times of more than 292 years.* end in _ns"):
        plots.timeline(df)
    assert plots.timeline(df.rename(columns={"ts": "ts_ns"})).get_title().startswith("9 events in ")


def test_titles_say_what_the_frame_says():
    df = frame(1000)
    most = df["comm"].value_counts()
    assert f"{most.iloc[0]:,} of them from {most.index[0]}" in plots.counts(df).get_title()
    assert f"{duration(df['latency_ns'].median())}" in plots.latency(df).get_title()
    assert duration(np.diff(df["time_ns"]).max()) in plots.gaps(df).get_title()
    assert "All 1,000 events came in the order" in plots.arrival(df).get_title()


def test_bars_add_up():
    df = frame(1000)
    assert sum(bar.get_width() for bar in plots.counts(df).patches) == 1000
    [stairs] = plots.latency(df).patches
    assert stairs.get_data().values.sum() == (df["latency_ns"] > 0).sum()
    [stairs] = plots.rate(df).patches
    assert (stairs.get_data().values * np.diff(stairs.get_data().edges)).sum() == pytest.approx(1000)


@pytest.mark.parametrize("number", [1101, 5555, 99_999])
def test_a_steady_stream_is_steady_to_its_end(number):
    [stairs] = plots.rate(pd.DataFrame({"time_ns": np.arange(number) * 1_000_000})).patches
    assert stairs.get_data().values == pytest.approx(1000, rel=0.1)
    assert stairs.get_data().edges[-1] == (number - 1) / 1000


def test_many_processes_become_others():
    names = [f"process {number}" for number in range(40)]
    for ax in (plots.timeline(frame(2000, names)), plots.counts(frame(2000, names))):
        labels = [label.get_text() for label in ax.get_yticklabels()]
        assert len(labels) == 12 and labels[-1] == "others" and "others" not in ax.get_title()
    red, green, blue, _ = zip(*(bar.get_facecolor() for bar in ax.patches))
    assert [red[n] == green[n] == blue[n] for n in range(12)] == [False] * 11 + [True]  # they alone are grey


@pytest.mark.parametrize("number", [1, 2, 3, 7, 23])
def test_things_are_counted_in_whole_numbers(number):
    ticks = plots.counts(frame(number, ["sync"])).get_xticks()
    assert (ticks == ticks.round()).all() and 2 <= len(ticks) <= 7


def test_a_process_may_be_called_others():
    assert plots.counts(pd.DataFrame({"comm": ["others"] * 3})).get_title() == "3 events, 3 of them from others"


@pytest.mark.parametrize("rows", [1, 2, 3, 7])
def test_each_row_has_the_height_of_one_and_one_or_two_not_that_of_three(rows):
    ax = plots.counts(pd.DataFrame({"comm": [f"name {number}" for number in range(rows)]}))
    bottom, top = ax.get_ylim()
    assert bottom - top == max(3, rows) and bottom - (rows - 1) == 0 - top


def test_cpus_are_in_their_own_order():
    ax = plots.timeline(pd.DataFrame({"time_ns": range(6), "cpu": [10, 10, 10, 2, 2, 0]}), by="cpu")
    assert [label.get_text() for label in ax.get_yticklabels()] == ["CPU 0", "CPU 2", "CPU 10"]


def test_late_events_are_counted():
    ax = plots.arrival(pd.DataFrame({"time_ns": [1, 5, 3, 4, 6, 2]}))
    assert ax.get_title().startswith("3 of 6 events came after a later one")


def bars(ax):
    return {round(bar.get_x()): bar.get_height() for bar in ax.patches if bar.get_height()}


def test_slots_add_up_and_end_where_they_say():
    slots = pd.DataFrame({"slot": [1, 4, 4, 11, 30], "value": [2, 3, 5, 1, 0]})
    ax = plots.log2_histogram(slots)
    draw(ax)
    assert bars(ax) == {0: 2, 3: 8, 10: 1}  # slot 4 is drawn from 3 to 4
    assert ax.get_title() == "11 events, half under 16 ns, all under 2.05 µs"
    assert "0 ns" in [tick.get_text() for tick in ax.get_xticklabels()]  # slot 1 holds 0
    bytes_of = plots.log2_histogram(slots.rename(columns={"slot": "key"}), unit="bytes")
    assert bytes_of.get_title() == "11 events, half under 16, all under 2 Ki" and "bytes" in bytes_of.get_xlabel()


def test_groups_of_slots_are_ranked_by_what_was_counted():
    names = [f"p{number}" for number in range(9)]
    slots = pd.DataFrame({"comm": [*names, "rare", "rare"], "slot": 5, "value": [100] * 9 + [1, 1]})
    labels = [text.get_text() for text in plots.log2_histogram(slots, by="comm").get_legend().get_texts()]
    assert len(labels) == 6 and labels[-1].startswith("others") and not any("rare" in label for label in labels)


@pytest.mark.parametrize("number", [3, 300_000])
def test_a_heat_map_shows_each_event_once(number):
    df = frame(number)
    df = df[df["latency_ns"] > 0]
    of_slots = df.assign(slot=np.floor(np.log2(df["latency_ns"])).astype("int64") + 1, value=1)
    for ax in (plots.heatmap(df), plots.heatmap(of_slots, slot="slot")):
        draw(ax)
        assert ax.collections[0].get_array().sum() == len(df)
        assert ax.get_title().startswith(f"{len(df):,} events in ")


def test_intervals_of_a_heat_map_make_no_stripes():
    steps = pd.DataFrame({"time_ns": np.arange(200) * 20_000_000, "slot": 12, "value": 7})
    grid = plots.heatmap(steps, slot="slot").collections[0].get_array().compressed()
    assert len(grid) <= 80 and set(grid[:-1]) == {21}  # 3 intervals in each column


@pytest.mark.parametrize("number, in_one", [(30, 1), (200, 3)])
def test_intervals_that_begin_a_little_early_or_late_make_no_holes(number, in_one):
    jitter = np.random.default_rng(2).integers(-1_000_000, 1_000_000, number)
    steps = pd.DataFrame({"time_ns": 10**13 + np.arange(number) * 10**9 + jitter, "slot": 12, "value": 7})
    ax = plots.heatmap(steps, slot="slot")
    assert ax.collections[0].get_array()[0, :-1].tolist() == [7 * in_one] * (-(-number // in_one) - 1)
    assert ax.figure.axes[1].get_ylabel() == f"events in {in_one} s"
    assert plots.heatmap(steps.drop(5), slot="slot").collections[0].get_array().mask.sum() == (in_one == 1)


def test_an_interval_without_a_time_is_left_out():
    steps = pd.DataFrame({"time_ns": [1000, None, 3000], "slot": 12, "value": 7}).astype({"time_ns": "Int64"})
    assert plots.heatmap(steps, slot="slot").get_title().startswith("14 events in 4 µs")


def test_heat_maps_of_one_span_have_one_axis():
    df = frame(300)
    span = int(df["time_ns"].min()) - 10**9, int(df["time_ns"].max()) + 10**9
    half = df[df["time_ns"] < df["time_ns"].median()]
    one, two = plots.heatmap(df, span=span), plots.heatmap(half, span=span)
    assert abs(one.get_xlim()[1] - two.get_xlim()[1]) < 0.05 and one.get_xlabel() == two.get_xlabel()
    assert "no events" in words(plots.heatmap(df, span=(0, 5)))


def test_a_heat_map_says_what_it_cannot_show():
    df = pd.DataFrame({"time_ns": [1, 2, 3, 4], "latency_ns": [0, -5, 3, None]}).astype({"latency_ns": "Int64"})
    ax = plots.heatmap(df)
    assert "2 of zero or less not shown" in ax.get_xlabel() and ax.collections[0].get_array().sum() == 1
    assert "none longer than 0 ns" in words(plots.heatmap(df[:2]))


def test_losses_of_frames_and_of_a_table():
    some, none, unknown = frame(300), frame(50), frame(10)
    some.attrs["lost"], none.attrs["lost"], unknown.attrs["lost"] = 100, 0, None
    ax = plots.losses({"8 pages": some, "64 pages": none, "pipe": unknown})
    assert ax.get_title() == "25 % lost with 8 pages" and "loss unknown" in words(ax)
    assert plots.losses({"64 pages": none}).get_title() == "Nothing lost of 50 events"
    table = pd.DataFrame({"received": [1, 9], "lost": [999, 1]}, index=pd.Index([8, 64], name="pages"))
    assert plots.losses(table).get_title() == "99.9 % lost with 8 pages"


@pytest.mark.parametrize(
    "plot, words",
    [
        (lambda df: plots.timeline(df), "comm, task, name"),
        (lambda df: plots.counts(df, by="who"), "no column 'who' here, only .'x'."),
        (lambda df: plots.rate(df), "give time="),
        (lambda df: plots.latency(df), "no column 'latency_ns'"),
    ],
)
def test_a_column_that_is_not_there(plot, words):
    with pytest.raises(KeyError, match=words):
        plot(pd.DataFrame({"x": [1]}))


def test_live_draws_again_and_ends(monkeypatch):
    import IPython.display

    shown = []
    handle = type("Handle", (), {"update": lambda self, figure: shown.append(figure)})()
    monkeypatch.setattr(IPython.display, "display", lambda display_id: handle)
    drawn = []
    ax = plots.live(
        lambda ax: drawn.append(plots.rate(frame(10 + len(drawn)), ax=ax)), until=lambda: len(drawn) >= 3, every=0.01
    )
    assert len(drawn) == len(shown) == 4 and ax is drawn[-1]
    assert plt.get_fignums() == []  # nothing is shown a second time at the end of the cell
    begin = time.monotonic()
    plots.live(lambda ax: ax.plot([1]), seconds=0.2, every=0.05)
    assert 0.2 <= time.monotonic() - begin < 5


def test_live_ends_when_interrupted():
    def press_stop(ax):
        ax.plot([1])
        raise KeyboardInterrupt

    plots.live(press_stop, seconds=60)


def test_live_interrupted_before_there_is_anything_to_draw_in(monkeypatch):
    real = plt.Figure.add_subplot
    presses = iter([KeyboardInterrupt])

    def add_subplot(figure, **kwargs):
        for press in presses:
            raise press
        return real(figure, **kwargs)

    monkeypatch.setattr(plt.Figure, "add_subplot", add_subplot)
    assert not plots.live(lambda ax: None, seconds=60).has_data()


def test_units_in_words():
    assert [percent(share) for share in (0, 1e-6, 0.2864, 0.999, 0.9995, 1 - 1e-7, 1)] == [
        "0 %",
        "0.0001 %",
        "28.6 %",
        "99.9 %",
        "99.95 %",
        "99.99999 %",
        "100 %",
    ]
    assert [duration(ns) for ns in (0, 999, 12_300, 4.5e6, 1e9, 7.2e12)] == [
        "0 ns",
        "999 ns",
        "12.3 µs",
        "4.5 ms",
        "1 s",
        "7,200 s",
    ]
    assert [duration(ns) for ns in (999.6, 999_600, 999.6e9)] == ["1 µs", "1 ms", "1,000 s"]
    assert [short(n) for n in (0, 12, 1500, 1.5e6, 2e9)] == ["0", "12", "1.5 k", "1.5 M", "2 G"]
    assert short(999_999) == "1 M"
