"""The road picture and C listings: right in a terminal, whole and self-coloured in a notebook."""

import base64
import re
from xml.etree import ElementTree

import IPython.display
import pytest

from helpers import road, show_c
from helpers.draw.road import STOPS

PROGRAM = """
int hello(void *ctx) {
\tbpf_trace_printk("<b>&\\n");  /* one
    two */
    return 0;
}
"""


@pytest.fixture
def shown(monkeypatch):
    """What display() was called with."""
    calls = []
    monkeypatch.setattr(IPython.display, "display", calls.append)
    return calls


def words(svg):
    return [element.text for element in ElementTree.fromstring(svg).iter("{http://www.w3.org/2000/svg}text")]


@pytest.mark.parametrize("stop", STOPS)
def test_every_stop_can_be_marked(shown, stop):
    road(stop)
    [picture] = shown
    assert f"[{stop}]" in repr(picture) and repr(picture).count("[") == 1
    text = words(picture._repr_svg_())
    assert [word for word in text if word in STOPS] == list(STOPS)
    assert sum("you are here" in word for word in text) == 1


def test_several_stops_or_none(shown):
    road("channel", "Python")
    road()
    assert repr(shown[0]).count("[") == 2
    assert repr(shown[1]) == " → ".join(STOPS)


def test_the_road_has_its_own_ground_and_fits_a_narrow_page(shown):
    road("plot")
    svg = shown[0]._repr_svg_()
    assert '<rect width="494" height="204" rx="10" fill="#FFF"/>' in svg
    markup = shown[0]._repr_html_()
    assert "max-width:100%;height:auto" in svg and "max-width:100%;height:auto" in markup
    assert base64.b64decode(markup.partition("base64,")[2].partition('"')[0]).decode() == svg


def test_a_stop_that_is_not_on_the_road(shown):
    with pytest.raises(ValueError, match="'airport' is not on the road; the stops are process"):
        road("airport")


def test_lines_have_the_compilers_numbers(shown):
    show_c(PROGRAM, mark=[3])
    lines = repr(shown[0]).splitlines()
    assert lines[0] == "  2  int hello(void *ctx) {"
    assert lines[1].startswith("> 3      bpf_trace_printk(")
    assert lines[-1] == "  6  }"


def test_the_listing_in_a_notebook_says_what_the_text_says(shown):
    show_c(PROGRAM, mark=[3])
    markup = shown[0]._repr_html_()
    tree = ElementTree.fromstring(markup)
    assert [line.rstrip() for line in "".join(tree.itertext()).splitlines()][:2] == [
        " 2  int hello(void *ctx) {",
        ' 3      bpf_trace_printk("<b>&\\n");  /* one',
    ]
    assert len("".join(tree.itertext()).splitlines()) == 5 and markup.count("#FFF3B0") == 1
    assert re.match(r'<pre style="color:#1F2328;background:#F6F8FA', markup)


def test_strange_texts(shown):
    for text in ("", "\n\n", "// only a comment", "}}} not C at all \0 ´", "\n".join("x" for _ in range(120))):
        show_c(text)
        ElementTree.fromstring(shown[-1]._repr_html_().replace("\0", ""))
    assert repr(shown[-1]).splitlines()[-1] == "  120  x"
