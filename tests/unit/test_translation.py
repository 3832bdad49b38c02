"""The gate between the languages: the same cells and code, everything translated, and no change that goes unnoticed."""

import copy
import re

import nbformat
import polib
import pytest

from tests.notebooks import CHINESE, FOLDER, LINK, TRANSLATED, exercises
from tests.notebooks import translation as translate

CATALOGUE = translate.read()
SAY = translate.saying(CATALOGUE)
SOURCES = translate.sources()
TEXTS = translate.texts(SOURCES)


def pair(path):
    return nbformat.read(path, as_version=4), nbformat.read(CHINESE / path.name, as_version=4)


def test_each_has_its_english():
    assert [path.name for path in SOURCES] == [path.name for path in TRANSLATED]
    assert len(SOURCES) >= 8


def test_all_is_translated():
    problems = translate.untranslated(CATALOGUE, TEXTS)
    assert not problems, "\n".join(problems)
    assert [entry.msgid for entry in CATALOGUE] == list(TEXTS), "run: python -m tests.notebooks.translation"


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.stem)
def test_cells_and_code_are_the_same(path):
    english, chinese = pair(path)
    problems = translate.differences(english, chinese, SAY)
    assert not problems, "\n".join(problems)
    for mine, theirs in zip(exercises(english), exercises(chinese), strict=True):
        assert (mine.key, mine.cell, mine.check) == (theirs.key, theirs.cell, theirs.check)
        assert translate.skeleton(mine.solution) == translate.skeleton(theirs.solution)
        assert translate.skeleton(mine.wrong) == translate.skeleton(theirs.wrong)


def test_the_glossary_is_in_step():
    assert (CHINESE / "glossary.md").read_text() == translate.glossary((FOLDER / "glossary.md").read_text(), SAY)


def test_markdown_sees_all_emphasis():
    """It sees no beginning or end of bold and italics between a letter and punctuation."""
    for entry in CATALOGUE:
        text = re.sub(r"`[^`]+`", "(code)", entry.msgstr)
        for mark in re.finditer(r"(?<!\*)(\*{1,2})(?!\*)(.+?)(?<!\*)\1(?!\*)", text):
            before, after = text[: mark.start()][-1:], text[mark.end() :][:1]
            inside = mark[2]
            opens = inside[0].isalnum() or not before.isalnum()
            closes = inside[-1].isalnum() or not after.isalnum()
            assert opens and closes, f"{entry.occurrences[0][0]}: {mark[0]}"


def test_every_word_that_is_shown_as_data_is_somewhere():
    assert translate.SHOWN <= TEXTS.keys()


def test_a_changed_sentence_and_a_changed_line_of_code_are_both_named():
    english, chinese = pair(SOURCES[0])
    changed = copy.deepcopy(english)
    sentence = next(cell for cell in changed.cells if "User id 0 is `root`" in cell.source)
    sentence.source = sentence.source.replace("User id 0 is `root`", "User id 0 has always been `root`")
    line = next(cell for cell in changed.cells if "run_sync(times=5)" in cell.source)
    line.source = line.source.replace("run_sync(times=5)", "run_sync(times=6)")
    problems = "\n".join(translate.differences(changed, chinese, SAY))
    assert f"{sentence.id} is not what English and catalogue make" in problems and "has always been" in problems
    assert f"{line.id}: the code is not the same" in problems and "run_sync(times=6)" in problems
    assert len({problem[:5] for problem in problems.splitlines()}) == 2


def test_a_changed_sentence_is_fuzzy_and_shown_in_english():
    old, new = "A fix has a price. Say it beside the gain.", "A fix has its price. Say it beside the gain."
    changed = {new if text == old else text: places for text, places in TEXTS.items()}
    catalogue = translate.merged(polib.pofile(str(translate.CATALOGUE)), changed)
    entry = catalogue.find(new)
    assert entry.fuzzy and entry.msgstr == SAY(old) and entry.previous_msgid == old
    assert translate.saying(catalogue)(new) == new
    [problem] = [problem for problem in translate.untranslated(catalogue, changed) if new in problem]
    assert "07-65" in problem and "fuzzy" in problem
    entry.flags.clear()
    assert translate.saying(catalogue)(new) == SAY(old)


def test_a_new_text_is_shown_in_english():
    found = TEXTS | {"Quite another thing: zebras.": ["00-01"]}
    catalogue = translate.merged(translate.read(), found)
    assert translate.saying(catalogue)("Quite another thing: zebras.") == "Quite another thing: zebras."
    assert "00-01: 'Quite another thing: zebras.' is not translated" in translate.untranslated(catalogue, found)


@pytest.mark.parametrize(
    ("english", "chinese", "what"),
    [
        ("{calls} of {total} calls", "{calls} 次调用", "placeholders"),
        ("%d events", "%s 个事件", "placeholders"),
        ("{found or 'nobody'}", "{right or '没有人'}", "placeholders"),
        ("[map](glossary.md#map)", "[map](glossary.md#table)", "links"),
    ],
)
def test_placeholders_and_links_are_kept(english, chinese, what):
    catalogue = polib.POFile()
    catalogue.append(polib.POEntry(msgid=english, msgstr=chinese))
    [problem] = translate.untranslated(catalogue, {english: ["00-01"]})
    assert f"has other {what}" in problem


@pytest.mark.parametrize(
    ("english", "chinese"),
    [
        ('print("lost", df["lost"])  # lost', 'print("丢失", df["lost"])  # 丢失'),
        ('print(f"{lost} lost of {all}")', 'print(f"{all} 个里丢失 {lost} 个")'),
        ('check.that(x, "lost "\n           f"{lost}")', 'check.that(x, f"丢了 {lost}")'),
        ("check.that(lost == 'lost', 'lost')", "check.that(lost == 'lost', '丢失')"),
        ('ax.set(title="lost", color="lost")', 'ax.set(title="丢失", color="lost")'),
        ("print(f\"lost {lost or 'nobody'}\")", "print(f\"丢了 {lost or '没有人'}\")"),
        ("# Exercise 0a\nlost = ...", "# Exercise 0a\nlost = ..."),
        ('%%writefile lost\nprint("lost")', '%%writefile lost\nprint("丢失")'),
        ("!df lost  # lost", "!df lost  # lost"),
        ('print("µ", "lost")', 'print("µ", "丢失")'),
    ],
)
def test_words_that_a_learner_reads_are_translated_and_no_others(english, chinese):
    words = {
        "lost": "丢失",
        "{lost} lost of {all}": "{all} 个里丢失 {lost} 个",
        "lost {lost}": "丢了 {lost}",
        "lost {lost or 'nobody'}": "丢了 {lost or '没有人'}",
    }
    assert translate.code(english, lambda text: words.get(text, text)) == chinese
    assert translate.skeleton(english) == translate.skeleton(chinese)


def test_a_long_text_in_code_gets_lines_of_its_own():
    words = "这句话很长，" * 12
    made = translate.code('check.that(found, "so long")', lambda _: words)
    first, *rest = made.splitlines()
    assert first == "check.that(found," and len(rest) == 2
    assert all(line.startswith('           "这句话很长') for line in rest)
    assert translate.skeleton(made) == translate.skeleton('check.that(found, "")')


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("print(a)", "print(b)"),
        ('run("sync", times=5)', 'run("sync", times=6)'),
        ('print(f"{a}")', 'print(f"{b}")'),
        ('print(f"{a:.1f}")', 'print(f"{a:.2f}")'),
        ("print(f\"{a or 'b'}\")", "print(f\"{c or 'b'}\")"),
        ("print(f\"{a['b'] or 'c'}\")", "print(f\"{a['d'] or 'c'}\")"),
        ("%%writefile a\nx", "%%writefile b\nx"),
        ("!df a", "!df b"),
    ],
)
def test_other_code_is_other_code(one, other):
    assert translate.skeleton(one) != translate.skeleton(other)


MARKDOWN = """# one

- two
  and a half
- three

| a | b |
| --- | --- |

```python
x = 1  # four

y = 2
```

</details>"""


def test_markdown_is_taken_apart_and_put_together():
    found = []
    made = translate.markdown(MARKDOWN, lambda words: found.append(words) or f"<{words}>")
    assert found == ["# one", "two and a half", "three", "| a | b |", "four"]
    expected = MARKDOWN.replace("\n  and", " and")
    for words in found:
        expected = expected.replace(words, f"<{words}>")
    assert made == expected


def test_the_readme_leads_somewhere():
    links = LINK.findall((CHINESE / "README.md").read_text())
    assert {path.name for path in SOURCES} | {"glossary.md"} <= set(links)
    assert not [link for link in links if not re.match("https?:", link) and not (CHINESE / link).exists()]
