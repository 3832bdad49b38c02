"""The book as a reader has it: from files, on a desk and on a phone, light and dark, in both languages."""

import re
from urllib.parse import urldefrag

import pytest
from playwright.sync_api import expect

from helpers.lab import cache

NOTEBOOKS = cache.PROJECT / "notebooks"
NAMES, CHINESE = (
    [f"{name}.html" for name in [*sorted(path.stem for path in folder.glob("*.ipynb")), "glossary", "index"]]
    for folder in (NOTEBOOKS, NOTEBOOKS / "zh")
)
PAGES = [*NAMES, *(f"zh/{name}" for name in CHINESE)]
PHONE = {"width": 390, "has_touch": True, "is_mobile": True}
RING_BUFFER = "06_ring_buffer.html"

# The texts whose colour is too near that of the ground behind them, with the contrast as WCAG 2 defines it. Those of
# plots and pictures are none: they are images.
FAINT = """least => {
  const numbers = (colour) => colour.match(/[\\d.]+/g).map(Number);
  const light = (colour) => {
    const [r, g, b] = numbers(colour).map((part) => part / 255)
      .map((part) => (part <= 0.04045 ? part / 12.92 : ((part + 0.055) / 1.055) ** 2.4));
    return 0.2126 * r + 0.7152 * g + 0.0722 * b + 0.05;
  };
  const ground = (element) => {
    for (; element; element = element.parentElement) {
      const colour = getComputedStyle(element).backgroundColor;
      if ((numbers(colour)[3] ?? 1) > 0.5) return colour;
    }
    return "rgb(255, 255, 255)";
  };
  const texts = document.createTreeWalker(document.querySelector("article"), NodeFilter.SHOW_TEXT);
  const faint = [];
  while (texts.nextNode()) {
    const { data, parentElement } = texts.currentNode;
    if (!data.trim() || parentElement.matches(".headerlink") || !parentElement.checkVisibility()) continue;
    const [dark, bright] = [getComputedStyle(parentElement).color, ground(parentElement)].map(light).sort();
    if (bright / dark < least) faint.push(`${data.trim()}: ${(bright / dark).toFixed(2)}`);
  }
  return faint;
}"""


@pytest.mark.parametrize("name", PAGES)
def test_a_page_fits_a_phone_and_is_readable_light_and_dark(visit, name):
    for scheme in ("light", "dark"):
        page = visit(name, color_scheme=scheme, **PHONE)
        expect(page.locator("html")).to_have_attribute("data-theme", scheme)
        assert page.evaluate("document.documentElement.scrollWidth") == PHONE["width"]
        assert (
            page.evaluate("[...document.images].filter((image) => !image.naturalWidth).map((image) => image.src)") == []
        )
        assert page.evaluate(FAINT, 4) == []
        expect(page.locator("article a[href*='glossary.html#']:not(.glossary)")).to_have_count(0)


def test_every_link_within_the_book_leads_somewhere(visit, book):
    links, names = set(), {}
    for name in [*PAGES, "search.html", "zh/search.html"]:
        page = visit(name)
        links |= {(name, href) for href in page.evaluate("[...document.links].map((link) => link.href)")}
        names[(book / name).as_uri()] = set(
            page.evaluate("[...document.querySelectorAll('[id]')].map(({id}) => id)")
        ) | {""}
    inside = [(name, *urldefrag(href)) for name, href in links if href.startswith("file:")]
    assert names.keys() == {page for _, page, _ in inside}
    assert [link for link in inside if link[2] not in names.get(link[1], ())] == []


def test_each_page_leads_to_the_same_page_in_the_other_language(visit, book):
    page = visit(NAMES[0])
    for name in [*NAMES, "search.html"]:
        page.goto((book / name).as_uri())
        page.locator("a.edition").click()
        translated = name in [*CHINESE, "search.html"]
        page.wait_for_url((book / "zh" / (name if translated else "index.html")).as_uri())
        assert page.locator("html").get_attribute("lang") == "zh-CN"
        page.locator("a.edition").click()
        page.wait_for_url((book / (name if translated else "index.html")).as_uri())


@pytest.mark.parametrize("edition", ["", "zh/"])
def test_a_word_of_the_glossary_shows_its_meaning_to_the_mouse_and_the_keyboard(visit, edition):
    page = visit(edition + RING_BUFFER)
    word, meaning = page.locator("a.glossary").first, page.locator("#meaning")
    page_of_words, _, name = word.get_attribute("href").partition("#")
    said = visit(edition + page_of_words).locator(f"#{name} > p").inner_text()

    expect(meaning).to_be_hidden()
    word.hover()
    expect(meaning).to_contain_text(said)
    meaning.hover()
    expect(meaning).to_be_visible()
    page.mouse.move(0, 0)
    expect(meaning).to_be_hidden()

    word.focus()
    expect(meaning).to_contain_text(said)
    page.keyboard.press("Escape")
    expect(meaning).to_be_hidden()


@pytest.mark.parametrize("edition", ["", "zh/"])
def test_a_word_of_the_glossary_shows_its_meaning_to_a_finger(visit, edition):
    page = visit(edition + RING_BUFFER, **PHONE)
    meaning = page.locator("#meaning")
    for word in page.locator("a.glossary").all():
        word.tap()
        expect(meaning).to_be_visible()
        box = meaning.bounding_box()
        assert box["x"] >= 0 and box["x"] + box["width"] <= PHONE["width"]
        page.locator("article h1").tap()
        expect(meaning).to_be_hidden()
    word.tap()
    word.tap()
    page.wait_for_url("**/glossary.html#*")


@pytest.mark.parametrize(
    "query, found",
    [
        ("ring buffer", RING_BUFFER),
        ("ringbuf_reserve", RING_BUFFER),
        ("环形缓冲区", "zh/" + RING_BUFFER),
        ("缓冲区", "zh/" + RING_BUFFER),
        ("事件", "zh/" + RING_BUFFER),
        ("BPF程序", "zh/" + RING_BUFFER),
        ("ringbuf_reserve", "zh/" + RING_BUFFER),
    ],
)
def test_search_finds(visit, book, query, found):
    page = visit("zh/index.html" if found.startswith("zh/") else "index.html")
    page.keyboard.press("Control+k")
    page.keyboard.type(query)
    page.keyboard.press("Enter")
    page.locator(f"#search-results li a[href*='{RING_BUFFER}']").first.click()
    page.wait_for_url(f"{(book / found).as_uri()}*")


def test_search_finds_words_that_no_space_parts(visit):
    """A stretch of Chinese from the middle of a sentence, as a reader might copy it."""
    text = visit("zh/" + RING_BUFFER).locator("article").inner_text()
    sentence = max(re.findall("[\u4e00-\u9fff]+", text), key=len)
    page = visit("zh/search.html")
    page.goto(f"{page.url}?q={sentence[1:-1]}")
    expect(page.locator(f"#search-results a[href*='{RING_BUFFER}']")).to_be_visible()


def test_solutions_are_folded_and_open(visit):
    page = visit("01_hello_trace_pipe.html")
    solution = page.locator("details", has_text="Solution").first
    expect(solution.locator("pre")).to_be_hidden()
    solution.locator("summary").click()
    expect(solution.locator("pre")).to_be_visible()
    assert page.locator("details[open]").count() == 1


def test_c_is_coloured(visit):
    listing = visit("01_hello_trace_pipe.html").locator(".text_html pre", has_text="bpf_trace_printk").first
    colours = listing.evaluate("pre => [...pre.querySelectorAll('span')].map((span) => getComputedStyle(span).color)")
    assert len(set(colours)) > 4
