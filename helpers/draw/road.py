"""The road of an event, as a picture with this notebook's stop marked: `road("probe")`."""

import base64

from helpers.draw.display import Shown
from helpers.language import tr

STOPS = {
    "process": tr("process"),
    "system call": tr("system call"),
    "probe": tr("probe"),
    "BPF program": tr("BPF program"),
    "channel": tr("channel"),
    "Python": "Python",
    "DataFrame": "DataFrame",
    "plot": tr("plot"),
}
IN_KERNEL = {"system call", "probe", "BPF program", "channel"}

# Okabe and Ito's blue and vermilion, and a pale ground for each; the words on the ground stay black.
_KERNEL, _KERNEL_PALE = "#0072B2", "#E3F0F9"
_USER, _USER_PALE = "#B84A00", "#FBEBDD"


def road(*here: str) -> None:
    """Show the road an event takes, with the stop or stops `here` marked.

    >>> road("probe")
    process → system call → [probe] → BPF program → channel → Python → DataFrame → plot

    Args:
        *here: of "process", "system call", "probe", "BPF program", "channel", "Python", "DataFrame" and "plot".

    Raises:
        ValueError: for a stop that is not on the road.
    """
    for stop in here:
        if stop not in STOPS:
            stops = ", ".join(STOPS)
            raise ValueError(tr("{stop!r} is not on the road; the stops are {stops}", stop=stop, stops=stops))
    text = " → ".join(f"[{name}]" if stop in here else name for stop, name in STOPS.items())
    svg = _road_svg(here)
    # As an <img> it shrinks with the page, also on static pages, which cut off a bare SVG.
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    image = f'<img width="600" style="max-width:100%;height:auto" alt="{text}" src="{source}">'
    Shown(text, html=image, svg=svg).show()


def _road_svg(here: tuple[str, ...]) -> str:
    """Return two rows of four boxes, 494 units wide: on a telephone that is 360 pixels, and words are still 11 high."""
    # Not in the f-strings, where Babel does not look for them.
    you, kernel, user = tr("you are here"), tr("in the kernel"), tr("in user space")
    arrows, boxes = ['<path d="M430 79v13H64v11"/>'], []
    for number, (stop, name) in enumerate(STOPS.items()):
        x, y = 10 + number % 4 * 122, 34 + number // 4 * 74
        strong, pale = (_KERNEL, _KERNEL_PALE) if stop in IN_KERNEL else (_USER, _USER_PALE)
        marked = stop in here
        boxes.append(
            f'<rect x="{x}" y="{y}" width="108" height="44" rx="7" fill="{strong if marked else pale}" '
            f'stroke="{strong}" stroke-width="{3 if marked else 1.5}"/>'
        )
        boxes.append(f'<text x="{x + 54}" y="{y + 27}" fill="{"#FFF" if marked else "#000"}">{name}</text>')
        if marked:
            boxes.append(
                f'<text x="{x + 54}" y="{y + 60 if number > 3 else y - 8}" font-size="13" '
                f'font-weight="bold" fill="{strong}">{"▲" if number > 3 else "▼"} {you}</text>'
            )
        if number not in (3, 7):
            arrows.append(f'<path d="M{x + 109} {y + 22}h8"/>')
    return (
        '<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 494 204" width="600" height="248" '
        'style="max-width:100%;height:auto">'
        '<defs><marker id="head" viewBox="0 0 8 8" refX="4" refY="4" markerWidth="8" markerHeight="8" '
        'markerUnits="userSpaceOnUse" orient="auto"><path d="M0 0L8 4L0 8z" fill="#555" stroke="none"/></marker></defs>'
        '<rect width="494" height="204" rx="10" fill="#FFF"/>'
        '<g font-family="system-ui, sans-serif" font-size="15" text-anchor="middle">'
        '<g fill="none" stroke="#555" stroke-width="1.5" marker-end="url(#head)">'
        f"{''.join(arrows)}</g>{''.join(boxes)}"
        f'<g font-size="13" text-anchor="start"><rect x="12" y="182" width="12" height="12" rx="2" fill="{_KERNEL}"/>'
        f'<text x="30" y="193" fill="#333">{kernel}</text>'
        f'<rect x="130" y="182" width="12" height="12" rx="2" fill="{_USER}"/>'
        f'<text x="148" y="193" fill="#333">{user}</text></g></g></svg>'
    )
