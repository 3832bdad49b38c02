"""C with its lines numbered as the compiler numbers them: `show_c(bpf_text)`."""

from collections.abc import Collection

from helpers.draw.display import Shown


def show_c(text: str, mark: Collection[int] = ()) -> None:
    r"""Show a C program with highlighting and line numbers.

    The numbers are those of the compiler's messages: a text that begins with an empty line begins with line 2.

    >>> show_c("int hello(void *ctx) {\n    return 0;\n}", mark=[2])
      1  int hello(void *ctx) {
    > 2      return 0;
      3  }

    Args:
        text: the program; tabs become four spaces.
        mark: numbers of the lines that stand out.
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
