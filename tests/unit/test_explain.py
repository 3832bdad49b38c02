"""`explain` on logs kept as text: of refusals.py's programs from several kernels, and the words of older ones."""

import os
import re
import signal
from pathlib import Path

import pytest

from helpers import detach_all, explain
from helpers.course.verdicts import KINDS, verdict
from helpers.course.verifier import Log
from tests.live.refusals import PROGRAMS, TOO_LARGE, text_of
from tests.moments import moments, press

# What explain(error).log gave in the lab and on the host; the middle of long ones is left out.
LOGS = [
    (path.stem, name, log.strip())
    for path in sorted(Path(__file__).with_name("verifier").glob("*.log"))
    for name, log in re.findall(r"^=== (\w+)\n(.*?)(?=^=== |\Z)", path.read_text(), re.DOTALL | re.MULTILINE)
]
BY_NAME = {program.name: program for program in PROGRAMS + TOO_LARGE}


def test_there_are_logs_of_three_kernels():
    assert {"6.1", "6.12", "6.18"} == {kernel for kernel, _, _ in LOGS}
    assert {name for _, name, _ in LOGS} == set(BY_NAME)


@pytest.mark.parametrize(("kernel", "name", "log"), LOGS, ids=[f"{kernel}-{name}" for kernel, name, _ in LOGS])
def test_a_log_as_text(kernel, name, log):
    program = BY_NAME[name]
    told = explain(log, text=text_of([program]))
    assert told.kind == program.kind, told
    rows = text_of([program]).splitlines()
    here = [number for number, row in enumerate(rows, 1) if "// HERE" in row]
    if here and program.kind != "stack":
        assert told.line == here[0], told
    assert set(told.lines) <= set(range(1, len(rows) + 1))
    shown = str(told)
    assert all(rows[number - 1] in shown for number in told.lines)
    assert "{" not in told.words and "None" not in shown


WAY = """\
0: (bf) r6 = r1
1: (b7) r1 = 0
2: (63) *(u32 *)(r10 -4) = r1
; struct v *v = map.lookup(&key);
3: (18) r1 = 0xffff888100000000
5: (bf) r2 = r10
6: (07) r2 += -4
7: (85) call bpf_map_lookup_elem#1
; return v->n[i];
8: (79) r1 = *(u64 *)(r0 +0)
"""
ROUND = "0: (85) call bpf_get_prandom_u32#7\n1: (05) goto pc-2\n0: (85) call bpf_get_prandom_u32#7\n1: (05) goto pc-2\n"
TASK = "0: (85) call bpf_get_current_task#35\n1: (79) r1 = *(u64 *)(r0 +0)\n"


@pytest.mark.parametrize(
    ("way", "said", "kind"),
    [
        (WAY, "R0 invalid mem access 'map_value_or_null'", "null"),
        (WAY, "R0 pointer arithmetic on map_value_or_null prohibited, null-check it first", "null"),
        (WAY, "Possibly NULL pointer passed to trusted arg0", "null"),
        (TASK, "R0 invalid mem access 'inv'", "kernel memory"),
        (TASK, "R0 invalid mem access 'scalar'", "kernel memory"),
        (ROUND, "back-edge from insn 1 to 0", "loop"),
        (ROUND, "infinite loop detected at insn 1", "loop"),
        (ROUND, "The sequence of 8193 jumps is too complex.", "loop"),
        (ROUND, "BPF program is too large. Processed 1000001 insn", "loop"),
        (WAY, "BPF program is too large. Processed 1000001 insn", "other"),
        (WAY, "The sequence of 8193 jumps is too complex.", "other"),
        (WAY, "R0 unbounded memory access, make sure to bounds check any array access into a map", "index"),
        (WAY, "invalid access to map value, value_size=8 off=8 size=8", "index"),
        (WAY, "R0 min value is negative, either use unsigned index or do a if (index >=0) check.", "index"),
        (WAY, "math between map_value pointer and register with unbounded min value is not allowed", "index"),
        (WAY, "value -2147483648 makes map_value pointer be out of bounds", "index"),
        (WAY, "invalid unbounded variable-offset read from stack R6", "index"),
        (WAY, "variable stack access var_off=(0x0; 0xff) off=-16 size=1", "index"),
        (WAY, "invalid access to packet, off=12 size=1, R1(id=0,off=12,r=0)", "other"),
        (WAY, "invalid stack off=-520 size=8", "stack"),
        (WAY, "invalid write to stack R10 off=-600 size=8", "stack"),
        (WAY, "combined stack size of 2 calls is 544. Too large", "stack"),
        (WAY, "invalid indirect read from stack off -24+20 size 24", "other"),
        (WAY, "invalid read from stack R2 off -16+8 size 16", "other"),
        (WAY, "Unreleased reference id=2 alloc_insn=7", "release"),
        (WAY, "unknown func bpf_redirect#23", "helper"),
        (WAY, "program of this type cannot use helper bpf_redirect#23", "helper"),
        (WAY, "cannot call GPL-restricted function from non-GPL compatible program", "helper"),
        (WAY, "helper call is not allowed in probe", "helper"),
        (WAY, "cannot pass map_type 27 into func bpf_perf_event_output#25", "other"),
        (WAY, "R2 !read_ok", "other"),
        (WAY, "R0 leaks addr as return value", "other"),
        (WAY, "unreachable insn 5", "other"),
        (WAY, "", "other"),
        ("", "jump out of range from insn 5 to 12", "other"),
    ],
)  # fmt: skip
def test_the_kernels_words(way, said, kind):
    assert verdict(Log(f"{way}{said}\nprocessed 9 insns (limit 1000000)\n")).kind == kind


def checked(jump, said):
    """A look-up, a jump by what it gave, and a use of it that is refused because it is a number."""
    way = WAY.rpartition("; return")[0]
    return Log(f"{way}8: (15) if r0 {jump} 0x0 goto pc+1\n10: (79) r1 = *(u64 *)(r0 +0)\n{said}\n")


def test_null_for_certain_is_not_the_kernels_memory():
    log = checked("==", "R0 invalid mem access 'inv'")
    assert verdict(log).kind == "null" and "always" in verdict(log).words
    assert verdict(checked("!=", "R0 invalid mem access 'inv'")).kind == "other"


def test_what_is_no_refusal():
    assert explain(ValueError("no")).kind == ""
    assert repr(explain(ValueError("no"))) == "✓ Nothing has been refused."


def test_a_placeholder_in_place_of_a_text():
    """BCC raises before its object is whole, and Python keeps the object for as long as it keeps the exception."""
    bcc = pytest.importorskip("bcc")
    with pytest.raises(AttributeError, match="ellipsis") as caught:
        bcc.BPF(text=...)
    assert explain(caught.value).kind == "" and detach_all() == 0


def test_stop_at_every_moment_of_a_block(capfd):
    def cell():
        with explain():
            os.write(2, b"a warning\n")

    def state():
        return os.fstat(2).st_ino, len(os.listdir("/proc/self/fd")), signal.getsignal(signal.SIGINT)

    before = state()
    for moment in moments(cell):
        assert press(cell, moment), moment
        assert state() == before, moment
    assert "a warning" in capfd.readouterr().err


def test_nothing_is_claimed_of_what_is_not_known():
    told = explain(f"{WAY}the moon is in the wrong house\n", text="struct v *v = map.lookup(&key);\nreturn v->n[i];\n")
    assert (told.kind, told.line, told.said) == ("other", 2, "the moon is in the wrong house")
    assert "None of" not in told.words and "not known" in told.instead


def test_the_page_has_colours_of_its_own_and_text_is_text():
    told = explain("/virtual/main.c:1:5: error: use of '<b>'\nint <b>;\n", text="int <b>;\n")
    page = told._repr_html_()
    assert "&lt;b&gt;" in page and "<b>;" not in page
    assert "background:" in page and "color:#1F2328" in page


@pytest.mark.parametrize(
    ("said", "line", "words"),
    [
        ("/virtual/main.c:2:9: error: no such thing\n    x = y;\n        ^\n", 2, "no such thing"),
        ("/virtual/main.c:2:9: error: no such thing\n    2 |     x = y;\n      |         ^\n", 2, "no such thing"),
        ("/virtual/main.c:1:1: warning: hm\nint f() {\n/virtual/main.c:2:9: error: no\n    x = y;\n", 2, "no"),
        ("/virtual/main.c:40:9: error: no\n    (x) = y;\n", 2, "no"),  # in what BCC made of the text
        ("include/linux/sched.h:7:1: error: a kernel of tomorrow\nstruct\n", None, "a kernel of tomorrow"),
        ("cannot find the headers\n", None, "cannot find the headers"),
    ],
)  # fmt: skip
def test_clangs_words(said, line, words):
    told = explain(said, text="int f() {\n    x = y;\n}\n")
    assert (told.kind, told.line, told.said) == ("clang", line, words)


def test_every_kind_has_its_program():
    assert set(KINDS) | {"memory", "other"} == {program.kind for program in BY_NAME.values()}
