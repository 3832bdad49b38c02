"""The helpers' words in the language of the notebook: chosen by its folder, whole, and free in English."""

import ast
import os
import subprocess
import sys

import polib
import pytest

from helpers import language
from helpers.lab import cache
from tests.notebooks import CHINESE, FOLDER
from tests.notebooks import translation as translate

HELPERS = cache.PROJECT / "helpers"
SAID_TO_LEARNERS = [*HELPERS.glob("collect/*.py"), *HELPERS.glob("draw/*.py"), *HELPERS.glob("course/*.py")]
CATALOGUE, TEXTS = translate.read(translate.HELPERS), translate.texts_of_helpers()


def calls(path):
    return [node for node in ast.walk(ast.parse(path.read_text())) if isinstance(node, ast.Call)]


def in_folder(folder, code):
    """What a Python that starts in a folder prints."""
    env = {**os.environ, "PYTHONPATH": str(cache.PROJECT), "MPLBACKEND": "Agg"}
    return subprocess.run([sys.executable, "-c", code], cwd=folder, env=env, capture_output=True, text=True, check=True)


def test_all_is_translated():
    problems = translate.untranslated(CATALOGUE, TEXTS)
    assert not problems, "\n".join(problems)
    assert [entry.msgid for entry in CATALOGUE] == list(TEXTS), "run: python -m tests.notebooks.translation"


def test_every_text_is_found():
    """Babel sees no call inside an f-string, and no text that is not a literal."""
    given = [node.args[0] for path in HELPERS.rglob("*.py") for node in calls(path) if ast.unparse(node.func) == "tr"]
    assert {getattr(text, "value", ast.unparse(text)) for text in given} == set(TEXTS)


def test_no_error_is_in_english_only():
    """All that is raised goes through `tr`, but for what `unroll` says of a ring that cannot be."""
    bare = [
        f"{path.name}: {ast.unparse(node.exc)}"
        for path in SAID_TO_LEARNERS
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Raise) and isinstance(node.exc, ast.Call)
        for argument in node.exc.args
        if isinstance(argument, ast.JoinedStr) or isinstance(argument, ast.Constant) and isinstance(argument.value, str)
    ]
    assert len(bare) == 1 and "bytes between tail and head" in bare[0]


def test_a_catalogue_is_read_as_polib_reads_it():
    read = {entry.msgid: entry.msgstr for entry in CATALOGUE}
    assert len(read) > 150 and language.catalogue(translate.HELPERS) == read


def test_what_is_fuzzy_or_missing_or_gone_is_english(tmp_path):
    catalogue = polib.POFile()
    catalogue.append(polib.POEntry(msgid='"long"\n' * 40, msgstr='"长"\\\n' * 40))
    catalogue.append(polib.POEntry(msgid="old", msgstr="旧", flags=["fuzzy"], previous_msgid="older"))
    catalogue.append(polib.POEntry(msgid="new"))
    catalogue.append(polib.POEntry(msgid="gone", msgstr="没了", obsolete=True))
    catalogue.save(str(tmp_path / "zh.po"))
    assert language.catalogue(tmp_path / "zh.po") == {'"long"\n' * 40: '"长"\\\n' * 40, "new": "new"}


SAY = """
from helpers import plots, run
from helpers.language import tr
print(run("getppid", times=3, name="ann"))
print(tr("{share} lost", share="5 %"))
"""


@pytest.mark.parametrize("folder, words", [(CHINESE, "丢失 5 %"), (FOLDER, "5 % lost"), ("/", "5 % lost")])
def test_the_folder_decides(folder, words):
    said = in_folder(folder, SAY).stdout.splitlines()
    assert said[1] == words and ("3 次调用" in said[0]) == (folder == CHINESE) and "ann" in said[0]


def test_a_copy_of_the_course_decides_too(tmp_path):
    (tmp_path / "notebooks/zh").mkdir(parents=True)
    assert "丢失" in in_folder(tmp_path / "notebooks/zh", SAY).stdout


def test_a_folder_that_is_gone_is_english(tmp_path):
    code = f"import os; os.rmdir({str(tmp_path)!r})\n{SAY}"
    assert "5 % lost" in in_folder(tmp_path, code).stdout


def test_english_reads_nothing():
    said = in_folder(FOLDER, "import sys, helpers.language as l; print(l.translations, 'ast' in sys.modules)")
    assert said.stdout == "{} False\n"


def test_without_a_font_it_says_so_once():
    code = """
import pandas as pd
from matplotlib import font_manager
font_manager.fontManager.ttflist = [font for font in font_manager.fontManager.ttflist if "DejaVu" in font.name]
font_manager.findSystemFonts = lambda paths=None, **_: []
from helpers import plots
df = pd.DataFrame({"time_ns": [1, 2, 4], "comm": "sync"})
for _ in range(2):
    plots.timeline(df).figure.canvas.draw()
"""
    said = in_folder(CHINESE, code).stderr
    assert said.count("fonts-wqy-microhei") == 1 and "Glyph" not in said and "findfont" not in said
    assert in_folder(FOLDER, code).stderr == ""


def test_a_font_is_taken_for_what_the_first_one_lacks():
    code = """
from matplotlib import font_manager
from matplotlib.font_manager import FontEntry, fontManager
fontManager.ttflist = [font for font in fontManager.ttflist if "DejaVu" in font.name]
fontManager.ttflist += [FontEntry(fname=fontManager.findfont("DejaVu Sans"), name="SimHei")]
from helpers.draw.style import STYLE, StyledAxes, new_axes
print(*STYLE.get("font.family", []), *new_axes(None).title.get_fontfamily(), sep=",")
"""
    assert in_folder(CHINESE, code).stdout.startswith("sans-serif,SimHei,")
    assert in_folder(FOLDER, code).stdout == "sans-serif\n"


@pytest.mark.parametrize(
    "title, lines",
    [
        ("9,999 events in 1.2 s, 5,000 of them by a-process-with-a-long-name", 2),
        ("1.98 s 内有 300 个事件，其中 109 个来自 ann", 1),
        ("九千九百九十九个事件，全都按发生的先后到达，一个也没有丢失，真好", 2),
    ],
)
def test_long_titles_have_several_lines(title, lines):
    from helpers.draw.style import wrapped

    made = wrapped(title).splitlines()
    assert len(made) == lines and "".join(made).replace(" ", "") == title.replace(" ", "")
