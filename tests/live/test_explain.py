"""`explain` on refusals that this kernel makes: each program of refusals.py is refused, and none is misread."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest

from helpers import explain
from tests.live.refusals import HEAD, PROGRAMS, SLOW, TOO_LARGE, text_of


@pytest.fixture(scope="module")
def compiled():
    """All programs in one BPF object, compiled once; the C text, too, which `explain` has to find in the frames."""
    from bcc import BPF

    text = text_of(PROGRAMS + SLOW)
    bpf = BPF(text=text.encode())
    yield bpf, text
    bpf.cleanup()


def refusal(compiled, program):
    bpf, text = compiled
    with pytest.raises(Exception, match="Failed to load") as caught:
        bpf.load_func(program.name.encode(), program.type)
    return explain(caught.value), text


def marked(text, program, mark):
    """The numbers of the lines of a program that bear a mark."""
    rows = text.splitlines()
    first = next(number for number, row in enumerate(rows, 1) if f" {program.name}(" in row)
    last = next(number for number, row in enumerate(rows, 1) if number > first and row == "}")
    return [number for number in range(first, last) if f"// {mark}" in rows[number - 1]]


def check(compiled, program):
    told, text = refusal(compiled, program)
    assert told.kind == program.kind, told
    here, since = marked(text, program, "HERE"), marked(text, program, "FROM")
    assert here == [] or told.line == here[0], told
    assert set(since) <= set(told.lines), told
    assert told.said and told.said.splitlines()[0] in told.log


@pytest.mark.parametrize("program", PROGRAMS, ids=lambda program: program.name)
def test_refusal(compiled, program):
    check(compiled, program)


if not Path("/dev/virtio-ports/wire").exists():  # a million instructions: minutes by software emulation

    @pytest.mark.parametrize("program", SLOW, ids=lambda program: program.name)
    def test_the_verifier_gives_up(compiled, program):
        check(compiled, program)


@pytest.mark.parametrize("program", TOO_LARGE, ids=lambda program: program.name)
def test_the_stack_is_clangs_to_measure(program):
    script = f"from bcc import BPF\nBPF(text={text_of([program]).encode()!r})"
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert ran.returncode == 1 and "Traceback" not in ran.stderr
    told = explain(ran.stderr)
    assert told.kind == "stack" and program.name in told.words


def test_three_programs_of_each_kind():
    counts = Counter(program.kind for program in PROGRAMS + SLOW + TOO_LARGE)
    assert len(PROGRAMS) >= 60
    assert all(counts[kind] >= 3 for kind in explain.KINDS), counts


REFUSED = HEAD + next(program.text for program in PROGRAMS if program.name == "null_count")


def test_in_a_block_the_explanation_comes_instead_of_the_error(capfd):
    from bcc import BPF

    with explain() as told:
        BPF(text=REFUSED.encode()).load_func(b"null_count", BPF.KPROBE)
    assert told.kind == "null" and "`count`" in told.words
    out, err = capfd.readouterr()
    assert "`count`" in out
    assert err == ""


def test_in_a_block_what_works_works_and_what_is_said_is_said(capfd):
    from bcc import BPF

    with explain() as told:
        os.write(2, b"a warning\n")
        BPF(text=b"int nothing(void *ctx) { return 0; }").load_func(b"nothing", BPF.KPROBE)
    assert told.kind == ""
    assert "a warning" in capfd.readouterr().err


def test_in_a_block_another_error_is_that_error(capfd):
    with pytest.raises(ZeroDivisionError), explain():
        os.write(2, b"before\n")
        1 / 0  # noqa: B018
    assert "before" in capfd.readouterr().err


def test_the_last_refusal(monkeypatch):
    from bcc import BPF

    with pytest.raises(Exception, match="Failed to load") as caught:
        BPF(text=REFUSED.encode()).load_func(b"null_count", BPF.KPROBE)
    monkeypatch.setattr(sys, "last_value", caught.value, raising=False)
    assert explain().kind == "null"


def test_a_function_that_is_not_there_has_not_been_refused():
    from bcc import BPF

    with pytest.raises(Exception, match="Unknown program"), explain():
        BPF(text=b"int nothing(void *ctx) { return 0; }").load_func(b"something", BPF.KPROBE)


def test_a_refusal_whose_object_was_cleaned_up():
    from bcc import BPF

    bpf = BPF(text=REFUSED.encode())
    with pytest.raises(Exception, match="Failed to load") as caught:
        bpf.load_func(b"null_count", BPF.KPROBE)
    bpf.cleanup()
    assert explain(caught.value).kind == ""


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("cals.atomic_increment(pid);", "undeclared identifier 'cals'"),
        ("u32 x = pid", "expected ';'"),
        ("struct gone_t gone; gone.x = 1;", "incomplete type"),
        ("calls.increase(pid);", "no member named 'increase'"),
    ],
)  # fmt: skip
def test_clangs_first_error(line, said):
    from bcc import BPF

    text = f"BPF_HASH(calls, u32, u64);\nint on_call(void *ctx) {{\n    u32 pid = 1;\n    {line}\n    return no;\n}}\n"
    with pytest.raises(Exception, match="Failed to compile") as caught:
        BPF(text=text.encode())
    by_asking = explain(caught.value)
    with explain() as by_listening:
        BPF(text=text.encode())
    for told in (by_asking, by_listening):
        assert told.kind == "clang" and said in told.said
        assert told.line == 4 and ("more after it" in told.instead) == (line != "u32 x = pid")


def test_nothing_is_left_open():
    from bcc import BPF

    bpf = BPF(text=REFUSED.encode())
    before = set(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with explain() as told:
            bpf.load_func(b"null_count", BPF.KPROBE)
        assert told.kind == "null"
    assert set(os.listdir("/proc/self/fd")) == before
