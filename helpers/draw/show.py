"""What a notebook shows around its programs: the road of an event, and C with line numbers.

    road("probe")       the way from a system call to a plot, with this notebook's stop marked
    show_c(bpf_text)    a C program, highlighted and numbered, before it runs

Both bring their own light background, so they read the same in JupyterLab's light and dark themes, on a static page
and on a telephone. In a terminal they print plain text.
"""

import base64

STOPS = ("process", "system call", "probe", "BPF program", "channel", "Python", "DataFrame", "plot")
IN_KERNEL = {"system call", "probe", "BPF program", "channel"}

# Okabe and Ito's blue and vermilion, and a pale ground for each; the words on the ground stay black.
_KERNEL, _KERNEL_PALE = "#0072B2", "#E3F0F9"
_USER, _USER_PALE = "#B84A00", "#FBEBDD"


class Shown:
    """Something with a plain form for terminals and a rich one, HTML or SVG, for notebooks."""

    def __init__(self, text, html=None, svg=None):
        self._text, self._html, self._svg = text, html, svg

    def __repr__(self):
        return self._text

    def _repr_html_(self):
        return self._html

    def _repr_svg_(self):
        return self._svg

    def show(self):
        """Show it now, wherever in a cell this stands."""
        from IPython.display import display

        display(self)


def road(*here):
    """Show the road an event takes, with the stop or stops `here` marked.

    The stops are "process", "system call", "probe", "BPF program", "channel", "Python", "DataFrame" and "plot".

    >>> road("probe")
    process → system call → [probe] → BPF program → channel → Python → DataFrame → plot

    Raises ValueError for a stop that is not on the road.
    """
    for stop in here:
        if stop not in STOPS:
            raise ValueError(f"{stop!r} is not on the road; the stops are {', '.join(STOPS)}")
    text = " → ".join(f"[{stop}]" if stop in here else stop for stop in STOPS)
    svg = _road_svg(here)
    # As an <img> it shrinks with the page, also on static pages, which cut off a bare SVG.
    source = "data:image/svg+xml;base64," + base64.b64encode(svg.encode()).decode()
    image = f'<img width="600" style="max-width:100%;height:auto" alt="{text}" src="{source}">'
    Shown(text, html=image, svg=svg).show()


def show_c(text, mark=()):
    """Show a C program with highlighting and line numbers; the lines numbered in `mark` stand out.

    The numbers are those of the compiler's messages: a text that begins with an empty line begins with line 2.

    >>> show_c("int hello(void *ctx) {\\n    return 0;\\n}", mark=[2])
      1  int hello(void *ctx) {
    > 2      return 0;
      3  }
    """
    from pygments import highlight
    from pygments.formatters import HtmlFormatter
    from pygments.lexers import CLexer

    first = len(text) - len(text.lstrip("\n")) + 1
    lines = text.strip("\n").expandtabs(4).splitlines()
    numbers = range(first, first + len(lines))
    width = len(str(first + len(lines)))
    plain = "\n".join(f"{'>' if n in mark else ' '} {n:{width}}  {line}".rstrip() for n, line in zip(numbers, lines))

    code = highlight("\n".join(lines), CLexer(stripnl=False), HtmlFormatter(nowrap=True, noclasses=True))
    longest = max(map(len, lines), default=0)
    rows = "\n".join(
        f'<span style="background:{"#FFF3B0" if n in mark else "none"}"><span style="color:#6E7781;user-select:none">'
        f"{n:{width + 1}}  </span>{row}{' ' * (longest + 1 - len(line))}</span>"
        for n, line, row in zip(numbers, lines, code.splitlines())
    )
    Shown(
        plain,
        html='<pre style="color:#1F2328;background:#F6F8FA;border:1px solid #D0D7DE;border-radius:6px;'
        'padding:.5em 0;overflow-x:auto;white-space:pre;font-family:monospace;line-height:1.4">'
        f"{rows}</pre>",
    ).show()


def _road_svg(here):
    """Two rows of four boxes, 494 units wide: on a telephone that is 360 pixels, and the words are still 11 high."""
    arrows, boxes = ['<path d="M430 79v13H64v11"/>'], []
    for number, stop in enumerate(STOPS):
        x, y = 10 + number % 4 * 122, 34 + number // 4 * 74
        strong, pale = (_KERNEL, _KERNEL_PALE) if stop in IN_KERNEL else (_USER, _USER_PALE)
        marked = stop in here
        boxes.append(
            f'<rect x="{x}" y="{y}" width="108" height="44" rx="7" fill="{strong if marked else pale}" '
            f'stroke="{strong}" stroke-width="{3 if marked else 1.5}"/>'
        )
        boxes.append(f'<text x="{x + 54}" y="{y + 27}" fill="{"#FFF" if marked else "#000"}">{stop}</text>')
        if marked:
            boxes.append(
                f'<text x="{x + 54}" y="{y + 60 if number > 3 else y - 8}" font-size="13" '
                f'font-weight="bold" fill="{strong}">{"▲" if number > 3 else "▼"} you are here</text>'
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
        '<text x="30" y="193" fill="#333">in the kernel</text>'
        f'<rect x="130" y="182" width="12" height="12" rx="2" fill="{_USER}"/>'
        '<text x="148" y="193" fill="#333">in user space</text></g></g></svg>'
    )
