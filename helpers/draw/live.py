"""A picture that follows events while they come."""

import time
from collections.abc import Callable

import matplotlib.pyplot as plt
from matplotlib.axes import Axes

from helpers.draw.style import StyledAxes, styled


@styled()
def live(
    draw: Callable[[Axes], object],
    *,
    seconds: float | None = None,
    until: Callable[[], object] | None = None,
    every: float = 0.5,
) -> Axes:
    """Draw a picture again and again in the same place, until it is time, or ■ is pressed.

    >>> with PerfOutput(bpf["events"]) as events, start("fsync", times=500, rate=100) as work:
    ...     live(lambda ax: plots.rate(events.to_dataframe(), ax=ax), until=lambda: not work.running)

    Args:
        draw: is called with empty Axes, again and again.
        seconds: end after so many seconds.
        until: end when it returns something true.
        every: seconds from one picture to the next; more if drawing is slow.

    Returns:
        The last Axes.
    """
    from IPython.display import display

    begin = time.monotonic()
    figure = plt.figure(figsize=(5.8, 3.4), layout="constrained")
    plt.close(figure)  # or the notebook would show it once more at the end of the cell
    handle, last = None, False
    while not last:
        drawn = time.monotonic()
        last = bool(until and until()) or (seconds is not None and drawn - begin >= seconds)
        try:
            figure.clear()
            draw(figure.add_subplot(axes_class=StyledAxes))
            handle = handle or display(display_id=True)
            if handle:  # None where there is no notebook
                handle.update(figure)
            took = time.monotonic() - drawn
            time.sleep(0 if last else max(every - took, took))
        except KeyboardInterrupt:
            last = True
    return figure.axes[0] if figure.axes else figure.add_subplot(axes_class=StyledAxes)
