"""What all plots look like: colours, fonts, white Axes, rows with names, ticks in words."""

import textwrap
import unicodedata
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Literal

import matplotlib.pyplot as plt
from matplotlib import font_manager
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.cbook import normalize_kwargs
from matplotlib.colors import LinearSegmentedColormap
from matplotlib.text import Text
from matplotlib.ticker import FuncFormatter, MaxNLocator

from helpers.draw.values import OTHERS, duration, short
from helpers.language import tr, translations

# Okabe and Ito's colours, which colour-blind readers can tell apart, without the yellow that white paper swallows.
COLOURS = ["#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9"]
GREY = "#8C8C8C"
BLUES = LinearSegmentedColormap.from_list("blues", ["#D6E9F5", "#0072B2", "#00416B"])
STYLE: dict[Any, Any] = {
    "font.size": 11.5,
    "axes.titlesize": 11.5,
    "axes.titleweight": "bold",
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.axisbelow": True,
    "text.color": "black",
    "axes.labelcolor": "black",
    "xtick.color": "black",
    "ytick.color": "black",
    "figure.facecolor": "white",
    "axes.facecolor": "white",
    "axes.edgecolor": "#444444",
}
# Any of these has what matplotlib's own font lacks; the first is that of the lab's virtual machine.
CHINESE_FONTS = [
    *["WenQuanYi Micro Hei", "WenQuanYi Zen Hei", "Noto Sans CJK SC", "Noto Sans CJK JP", "Source Han Sans SC"],
    *["Source Han Sans CN", "Droid Sans Fallback", "PingFang SC", "Heiti SC", "Microsoft YaHei", "SimHei"],
]
SHORT = FuncFormatter(lambda value, _: short(value))
DURATION = FuncFormatter(lambda value, _: duration(value))


def chinese_font() -> str | None:
    """Return the name of a font with Chinese characters; without one on this machine warn, and return None."""
    manager = font_manager.fontManager
    if not {*CHINESE_FONTS} & {*manager.get_font_names()}:  # matplotlib keeps its list, and the font may be newer
        for font in font_manager.FontManager().ttflist:
            if font.name in CHINESE_FONTS:
                manager.addfont(font.fname)
    installed = manager.get_font_names()
    if found := next((name for name in CHINESE_FONTS if name in installed), None):
        return found
    warnings.filterwarnings("ignore", r"Glyph \d+ ")  # matplotlib would say so for each character
    warnings.warn(
        tr(
            "Plots in Chinese need a font that has its characters, and this machine has none: they show as boxes. "
            "Install one and restart the notebook:  sudo apt install fonts-wqy-microhei"
        )
    )
    return None


if translations and (font := chinese_font()):
    # Of the two, a character takes the first that has it. Few Chinese fonts are bold, and Latin letters alone look odd.
    STYLE |= {"font.family": ["sans-serif", font], "axes.titleweight": "normal", "axes.titlesize": 12.5}


@contextmanager
def styled() -> Iterator[None]:
    """Decorate a plotting function, or a block: black words on white, whatever the theme of JupyterLab.

    Not `plt.rc_context`, which would also undo what a notebook's backend sets when the first figure loads it.

    Yields:
        Nothing; within the block, `plt.rcParams` has the plots' style.
    """
    before = {key: plt.rcParams[key] for key in STYLE}
    plt.rcParams.update(STYLE)
    try:
        yield
    finally:
        plt.rcParams.update(before)


class StyledAxes(Axes):
    """Axes that style their title also when a notebook sets it later: `set_title()` asks rcParams each time."""

    @styled()
    def set_title(self, label: str, *args: Any, **kwargs: Any) -> Text:
        """Set the title in the plots' size and weight; see `matplotlib.axes.Axes.set_title`.

        Args:
            label: the title.
            *args: on to matplotlib.
            **kwargs: on to matplotlib; they may say another size or weight.

        Returns:
            The title as drawn.
        """
        return super().set_title(label, *args, **kwargs)


def new_axes(ax: Axes | None, rows: int | None = None) -> Axes:
    """Return `ax`, or the Axes of a new white figure, 5.8 inches wide.

    Args:
        ax: where the caller wants it drawn.
        rows: how many rows of bars it has to be high enough for; 3.4 inches when None.
    """
    if ax is None:
        height = 3.4 if rows is None else 1.4 + 0.34 * max(rows, 3)
        _, ax = plt.subplots(figsize=(5.8, height), layout="constrained", subplot_kw={"axes_class": StyledAxes})
    return ax


def wrapped(title: str, columns: int = 54) -> str:
    """Return a title in lines of so many columns; a Chinese character takes two."""
    taken = len(title) + sum(unicodedata.east_asian_width(character) in "WF" for character in title)
    return "\n".join(textwrap.wrap(title, columns * len(title) // taken))


def finish(ax: Axes, title: str, x: str, y: str, grid: Literal["x", "y", "both"]) -> Axes:
    """Return `ax` with its title, axis labels and a pale grid along `grid`."""
    ax.set_title(wrapped(title))
    ax.set_xlabel(x)
    ax.set_ylabel(y)
    ax.grid(axis=grid, color="#DDDDDD", linewidth=0.8)
    return ax


def say(ax: Axes, words: str) -> Axes:
    """Return `ax` with nothing drawn but why."""
    ax.text(0.5, 0.5, words, transform=ax.transAxes, ha="center", va="center", color="#555555", fontsize=13)
    ax.set(xticks=[], yticks=[])
    ax.spines[:].set_visible(False)
    return ax


def row_names(ax: Axes, labels: list[str]) -> None:
    """Name the rows 0, 1, … of a picture from top to bottom; one or two rows do not fill the height of three."""
    ax.set_yticks(range(len(labels)), labels)
    room = 0.5 + max(0, 3 - len(labels)) / 2
    ax.set_ylim(len(labels) - 1 + room, -room)


def colour(number: int, label: str = "") -> str:
    """Return the colour of a group; grey for `OTHERS`.

    Args:
        number: index of the group.
        label: its name.
    """
    return GREY if label == OTHERS else COLOURS[number % len(COLOURS)]


def options(artist: type[Artist], kwargs: dict[str, Any], **ours: Any) -> dict[str, Any]:
    """Return what goes on to matplotlib's artist: the caller's `kwargs`, by any of their aliases, before `ours`."""
    return ours | normalize_kwargs(kwargs, artist)


def whole_numbers() -> MaxNLocator:
    """Return ticks at about five whole, round numbers."""
    return MaxNLocator(5, integer=True, steps=[1, 2, 5, 10])
