"""Sphinx's settings for the book; build.py adds what differs between the editions."""

import json
import re
from pathlib import Path

from docutils import nodes
from ipython_pygments_lexers import IPython3Lexer
from sphinx.search.en import SearchEnglish
from sphinx.transforms import SphinxTransform

extensions = ["myst_nb"]
nb_execution_mode = "off"
myst_heading_anchors = 6
exclude_patterns = ["README.md", "zh"]

html_theme = "sphinx_book_theme"
html_favicon = "static/icon.svg"
html_static_path = ["static"]
templates_path = ["templates"]
html_css_files = ["book.css"]
html_js_files = ["glossary.js", "book.js"]
html_theme_options = {
    "article_header_end": ["language.html", "article-header-buttons.html"],
    "use_download_button": False,
    "use_fullscreen_button": False,
    "navbar_persistent": [],
    "home_page_in_toc": True,
    "show_toc_level": 2,
    "footer_content_items": [],
}
html_copy_source = False
html_use_index = False


class SearchChinese(SearchEnglish):
    """Sphinx's search for Chinese. Its own cuts texts by a dictionary, but not queries, and so finds no `环形缓冲区`.

    A query of three characters or more is looked for within the terms, unless it is one itself: so these are whole runs
    of characters, each with a full stop. A shorter query has to be a term: so each character and each pair is one, too.
    """

    lang = "zh"
    words = re.compile("[\u4e00-\u9fff]+|[^\\W\u4e00-\u9fff]+")
    js_splitter_code = r"""
var splitQuery = (query) => query.match(/[\u4e00-\u9fff]+|(?:(?![\u4e00-\u9fff])[\p{L}\p{N}_])+/gu) || [];
"""

    def split(self, input):
        for word in self.words.findall(input):
            if "\u4e00" <= word[0] <= "\u9fff":
                yield f"{word}。"
                yield from (word[start : start + n] for n in (1, 2) for start in range(len(word) - n + 1))
            else:
                yield word


class NamedHeadings(SphinxTransform):
    """A heading with `<a id="…"></a>` in it goes by that name, as on GitHub and in JupyterLab."""

    default_priority = 800  # when headings have been given names, and before links look for them

    def apply(self):
        for title in self.document.findall(nodes.title):
            for raw in list(title.findall(nodes.raw)):
                title.remove(raw)
                if name := re.match('<a id="(.+)">', raw.astext()):
                    section = title.parent
                    section["ids"] = list(dict.fromkeys([name[1], *section["ids"]]))
                    self.document.myst_slugs[name[1]] = (section.line, name[1], title.astext())


class WrittenFiles(SphinxTransform):
    """A cell that writes a file is in the file's language, by the ending of its name."""

    default_priority = 800
    languages = {"c": "c", "h": "c", "sh": "bash"}

    def apply(self):
        for block in self.document.findall(nodes.literal_block):
            name = re.match(r"%%writefile \S+\.(\w+)\n", block.astext())
            if name and name[1] in self.languages:
                block["language"] = self.languages[name[1]]


def write_glossary(app, error):
    """Write the meanings, by their headings' names, for book.js to show; as a script, which file:// gives, too."""
    if error:
        return
    tree = app.env.get_and_resolve_doctree("glossary", app.builder)
    meanings = {}
    for section in tree.findall(nodes.section):
        title, *body = section.children
        if isinstance(section.parent, nodes.section):
            html = "".join(app.builder.render_partial(part)["fragment"] for part in body)
            html = html.replace('href="#', 'href="glossary.html#')
            meanings |= {name: {"title": title.astext(), "html": html} for name in section["ids"]}
    script = f"const GLOSSARY = {json.dumps(meanings, ensure_ascii=False)};\n"
    Path(app.outdir, "_static/glossary.js").write_text(script)


def setup(app):
    app.add_lexer("python", IPython3Lexer)  # cells have lines such as `!df`, too
    app.add_search_language(SearchChinese)
    app.add_transform(NamedHeadings)
    app.add_transform(WrittenFiles)
    app.connect("build-finished", write_glossary)
