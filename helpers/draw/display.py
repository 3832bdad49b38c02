"""What a notebook shows in colour and a terminal as plain text."""


class Shown:
    """Something with a plain form for terminals and a rich one, HTML or SVG, for notebooks.

    Its colours are its own: it reads the same in JupyterLab's light and dark themes, on a static page, on a telephone.
    """

    def __init__(self, text: str, html: str | None = None, svg: str | None = None) -> None:
        self._text, self._html, self._svg = text, html, svg

    def __repr__(self) -> str:
        return self._text

    def _repr_html_(self) -> str | None:
        return self._html

    def _repr_svg_(self) -> str | None:
        return self._svg

    def show(self) -> None:
        """Show it now, wherever in a cell this stands."""
        from IPython.display import display

        display(self)
