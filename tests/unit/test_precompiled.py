"""When a program is compiled from a precompiled header, from which, and when BCC is left alone (lab/libbcc.c)."""

import ctypes
import os
import subprocess

import pytest

from helpers.lab import image

SIZES = {"bcc": 10, "linux/sched.h": 20, "linux/fs.h": 40, "net/sock.h": 30}


@pytest.fixture(scope="module")
def library(tmp_path_factory):
    folder = tmp_path_factory.mktemp("front")
    paths = f'-DFOLDER="{folder}"', '-DLIBBCC="none"'
    subprocess.run(
        ["gcc", "-shared", "-fPIC", "-Wall", "-Werror", *paths, "-o", folder / "front.so", image.FRONT], check=True
    )
    loaded = ctypes.CDLL(str(folder / "front.so"))
    loaded.bcc_precompiled.restype = ctypes.c_char_p
    return loaded, folder / os.uname().release


@pytest.fixture
def choose(library, tmp_path, monkeypatch):
    """A function: a program to the precompiled header it gets, or None."""
    loaded, folder = library
    monkeypatch.chdir(tmp_path)
    for name in ("ARCH", "CPATH", "C_INCLUDE_PATH"):
        monkeypatch.delenv(name, raising=False)
    for name, size in SIZES.items():
        made = folder / f"{name}.pch"
        made.parent.mkdir(parents=True, exist_ok=True)
        made.write_bytes(bytes(size))
        status = made.stat()
        listed = f"{status.st_size} {int(status.st_mtime)} {made}\n-1 0 linux\n"
        (folder / f"{name}.made").write_text(listed)

    def choose(text, debug=0, cflags=0):
        found = loaded.bcc_precompiled(text.encode(), debug, cflags)
        return found and found.decode().removeprefix(f"{folder}/").removesuffix(".pch")

    choose.folder = folder
    return choose


@pytest.mark.parametrize(
    "text, header",
    [
        ("", "bcc"),
        ("int f(void *ctx) { return 0; }", "bcc"),
        ("#include <linux/sched.h>\n", "linux/sched.h"),
        ("\n\t#  include\t<linux/sched.h> // why\n", "linux/sched.h"),
        ("/* two\nlines */ #include <linux/sched.h>\n", "linux/sched.h"),
        ("#include <uapi/linux/ptrace.h>\n\n#include <linux/sched.h>\n", "linux/sched.h"),
        ("#include <linux/sched.h>\n#include <linux/fs.h>\n#include <net/sock.h>\n", "linux/fs.h"),
        ("#include <linux/sched.h>\nint n;\n#include <linux/fs.h>\n", "linux/sched.h"),
        ("#include <linux/sched.h> #include <linux/fs.h>\n", "linux/sched.h"),
        ("#include <linux/sched.h> /*\n*/ #include <linux/fs.h>\n", "linux/sched.h"),
        ("#define N 1\n#include <linux/sched.h>\n", "bcc"),
        ("#if 0\n#include <linux/sched.h>\n#endif\n", "bcc"),
        ('#include "mine.h"\n#include <linux/sched.h>\n', "bcc"),
        ("#include <mine.h>\n#include <linux/sched.h>\n", "bcc"),
        ("// #include <linux/sched.h>\n", "bcc"),
        ("// goes on \\\n#include <linux/sched.h>\n", "bcc"),
        ("/* #include <linux/sched.h>\n */", "bcc"),
        ("/* never ends\n#include <linux/sched.h>\n", "bcc"),
        ('"\\\n#include <linux/sched.h>\\\n"', "bcc"),
        ("#include <linux/sched.h\n>", "bcc"),
        ("#include <linux/sched.hpp>\n", "bcc"),
        ("#include <linux/" + "x" * 1000 + ">\n", "bcc"),
        ("#includes <linux/sched.h>\n", "bcc"),
        ("#include_next <linux/sched.h>\n", "bcc"),
        ("#include", "bcc"),
        ("#", "bcc"),
    ],
)
def test_only_what_a_program_includes_first(choose, text, header):
    assert choose(text) == header


@pytest.mark.parametrize("name", ["KBUILD_MODNAME", "__KERNEL__", "__TARGET_ARCH_x86"])
def test_a_macro_of_bcc_defined_again_is_left_alone(choose, name):
    """Clang's note would tell another place of the first definition."""
    assert choose(f'#define {name} "mine"\n') is None


def test_flags_and_debugging_output_are_left_alone(choose):
    assert choose("", cflags=1) is None and choose("", debug=4) is None


@pytest.mark.parametrize("name", ["CPATH", "BCC_KERNEL_SOURCE", "ARCH"])
def test_settings_are_left_alone(choose, name, monkeypatch):
    monkeypatch.setenv(name, "/tmp")
    assert choose("") is None


def test_what_has_changed_since_is_not_used(choose):
    (choose.folder / "linux/sched.h.pch").write_bytes(bytes(SIZES["linux/sched.h"] - 1))
    assert choose("#include <linux/sched.h>\n") is None
    assert choose("") == "bcc"
    (choose.folder / "bcc.made").unlink()
    assert choose("") is None


def test_a_header_here_that_clang_would_find_first(choose, tmp_path):
    assert choose("") == "bcc"
    (tmp_path / "linux").mkdir()
    assert choose("") is None
