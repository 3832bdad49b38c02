"""Precompile what BCC puts before every program, and kernel headers that programs include: run in the image, once.

    python3 precompile.py

BCC parses its own headers and those of the kernel three times for each BPF(…). Here a clang of the very version that is
inside BCC leaves its state after them in files below /usr/local/lib/bcc, and compiles libbcc.c, which stands in front
of BCC's library and has it use them. It ends with an error, and nothing left behind, where programs do not compile to
the same code with and without.
"""

import contextlib
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

FOLDER = Path("/usr/local/lib/bcc")
FRONT = Path("/usr/local/lib/libbcc.so.0")
# The first stands for what BCC itself includes, and nothing more.
HEADERS = [
    "",
    "uapi/linux/ptrace.h",
    "linux/sched.h",
    "linux/fs.h",
    "linux/blkdev.h",
    "linux/blk-mq.h",
    "linux/skbuff.h",
    "net/sock.h",
]

# BCC's own headers, which it keeps in its library, and by what they are recognized there.
BCC = "/virtual/include/bcc"
STDARG = "/virtual/lib/clang/include"
EMBEDDED = {
    f"{BCC}/bpf.h": b"\n#ifndef _UAPI__LINUX_BPF_H__\n",
    f"{BCC}/bpf_workaround.h": b"\n#ifndef __HAVE_BUILTIN_BSWAP16__\n",
    f"{BCC}/helpers.h": b"\n#ifndef __BPF_HELPERS_H\n",
    f"{STDARG}/stdarg.h": b"\n#ifndef __STDARG_H\n",
}

# Clang makes the names of headers absolute in what it leaves, and so in messages, unless it cannot tell where it is.
LOST = "int *__errno_location(void); char *getcwd(char *path, unsigned long n) { *__errno_location() = 2; return 0; }\n"

# Where clang pastes two tokens into one it numbers the lines of a scratch space of its own, and messages tell them. It
# counts for __COUNTER__ besides, of which headers make names. Neither number goes on from a precompiled header.
PASTE = "#define NO(name) name##_t\nNO(nothing) f;\n"
SCRATCH = 4055  # characters of a token in a scratch space, with which there is no room for another
COUNT = "int f(void *ctx) { return __COUNTER__; }\n"
HELLO = 'int f(void *ctx) { bpf_trace_printk("%d", bpf_get_smp_processor_id()); return 0; }\n'

# Compiles texts, and prints for each the precompiled header, the code, and what was said.
TRY = """
import ctypes, json, os, sys, tempfile
from bcc import BPF
from bcc.libbcc import lib
ask = getattr(lib, "bcc_precompiled", lambda *_: None)
ask.restype = ctypes.c_char_p
stdout, done = os.dup(1), []
for text in json.load(sys.stdin):
    code, used = None, ask(text.encode(), 0, 0)
    with tempfile.TemporaryFile() as said:
        os.dup2(said.fileno(), 1), os.dup2(said.fileno(), 2)
        try:
            code = BPF(text=text).dump_func("f").hex()
        except Exception:
            pass
        said.seek(0)
        done.append([used and used.decode(), code, said.read().decode()])
os.write(stdout, json.dumps(done).encode())
"""


def main(scratch: Path) -> None:
    """Precompile headers, prove that they change nothing, or leave nothing. What nobody needs later is in *scratch*."""
    inside = next(Path("/usr/lib").glob("*/libclang-cpp.so.*")).name.removeprefix("libclang-cpp.so.").partition(".")[0]
    clang = Path(f"/usr/lib/llvm-{inside}/bin/clang")
    kernel = next(path for path in Path("/lib/modules").iterdir() if not path.is_symlink())
    folder = FOLDER / kernel.name
    library = next(Path("/usr/lib").glob("*/libbcc.so.0"))
    try:
        folder.mkdir(parents=True)
        own = write_embedded(library)
        with booted(kernel), booted(folder):
            flags = frontend_flags(kernel, own)
            lost = build(clang, scratch / "lost.so", "-x", "c", "-", input=LOST)
            for header in HEADERS:
                source = folder / (header or "bcc")
                source.parent.mkdir(parents=True, exist_ok=True)
                source.write_text(_include(header))
                source.with_name(f"{source.name}.counters").touch()
                precompile(clang, lost, flags, kernel, source, library)
            build_front(clang, scratch, library)
            prove(folder, library)
    except BaseException:
        shutil.rmtree(FOLDER)
        FRONT.unlink(missing_ok=True)
        raise
    finally:
        subprocess.run(["ldconfig"], check=True)


@contextlib.contextmanager
def booted(path: Path) -> Iterator[None]:
    """Let what belongs to the image's kernel be found by the name of the kernel that runs meanwhile."""
    here = path.with_name(os.uname().release)
    if here == path:
        yield
        return
    here.symlink_to(path.name)
    try:
        yield
    finally:
        here.unlink()


def write_embedded(library: Path) -> dict[str, str]:
    """Return where the files are, written here, that BCC's folders stand for."""
    parts = library.read_bytes().split(b"\0")
    for name, mark in EMBEDDED.items():
        # Numbers may come right before a text.
        text = next(part for part in parts if mark in part).lstrip(bytes({*range(32), *range(127, 256)} - {9, 10}))
        # Messages name the file that BCC gives to clang.
        (FOLDER / Path(name).name).write_bytes(f'#line 1 "{name}"\n'.encode() + text)
    return {BCC: str(FOLDER), STDARG: str(FOLDER)}


def frontend_flags(kernel: Path, own: dict[str, str]) -> list[str]:
    """Return the flags that BCC gives to clang's front end, as its own debugging output tells them."""
    DEBUG_PREPROCESSOR = 4
    told = subprocess.run(
        [sys.executable, "-c", f"from bcc import BPF; BPF(text='', debug={DEBUG_PREPROCESSOR})"],
        stderr=subprocess.PIPE,
        text=True,
        check=True,
    ).stderr
    line = next(line for line in told.splitlines() if line.startswith("clang -cc1 "))
    for told_as, path in {f"{kernel.with_name(os.uname().release)}/": f"{kernel}/", **own}.items():
        line = line.replace(told_as, path)
    return line[: line.index(" -o ")].split()[1:]


def precompile(clang: Path, lost: Path, flags: list[str], kernel: Path, source: Path, library: Path) -> None:
    """Make a precompiled header beside its source, and a list of what it was made from."""
    made, rules = source.with_name(f"{source.name}.pch"), source.with_name(f"{source.name}.d")
    root = kernel / "source"
    emit = ["-emit-pch", "-fno-pch-timestamp", "-sys-header-deps", "-MT", "it"]
    emit += ["-o", str(made), "-dependency-file", str(rules)]
    environment = {"PATH": os.environ["PATH"], "LD_PRELOAD": str(lost)}
    subprocess.run([clang, *flags, *emit, "-x", "c", source], cwd=root, check=True, env=environment)
    used = [root / name for name in rules.read_text().replace("\\\n", "").split()[1:]]
    rules.unlink()
    with source.with_name(f"{source.name}.made").open("w") as made_from:
        for path in [made, library, *library.parent.glob("libclang-cpp.so.*"), *used]:
            status = path.stat()
            print(status.st_size, int(status.st_mtime), path, file=made_from)
        # BCC has clang look for each header in the current directory first.
        includes = [root / path for flag, path in zip(flags, flags[1:]) if flag in ("-I", "-isystem")]
        includes = [path for path in includes if path not in (Path.cwd(), FOLDER)]
        names = {path.relative_to(above).parts[0] for path in used for above in includes if path.is_relative_to(above)}
        for name in sorted(names | {"asm", "bcc", "linux", "net", "stdarg.h", "uapi"}):
            print(-1, 0, name, file=made_from)


def build(clang: Path, target: Path, *arguments: str | Path, input: str = "") -> Path:
    """Return the shared library *target*, compiled."""
    command: list[str | Path] = [clang, "-shared", "-fPIC", "-O2", "-Wall", "-nostdlib"]
    subprocess.run([*command, "-o", target, *arguments], input=input, text=True, check=True)
    return target


def build_front(clang: Path, scratch: Path, library: Path) -> None:
    """Compile libbcc.c into a library that needs Debian's libbcc, by its path, and is found before it."""
    stand_in = build(clang, scratch / "libbcc.so", f"-Wl,-soname,{library}", "-x", "c", "-")
    paths = f'-DLIBBCC="{library}"', f'-DFOLDER="{FOLDER}"'
    libraries = "-Wl,--no-as-needed", stand_in, library.with_name("libc.so.6")
    build(clang, FRONT, *paths, Path(__file__).with_name("libbcc.c"), *libraries)


def tried(library: Path, texts: list[str]) -> list[list[str]]:
    """Return of texts compiled with a library: the precompiled header used, the code, and what was said."""
    environment = {**os.environ, "LD_LIBRARY_PATH": str(library.parent)}
    told = subprocess.run(
        [sys.executable, "-c", TRY],
        input=json.dumps(texts),
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
        check=True,
    ).stdout
    return json.loads(told)  # type: ignore[no-any-return]


def prove(folder: Path, library: Path) -> None:
    """Make sure that programs come out the same with precompiled headers and without.

    Raises:
        AssertionError: one does not.
    """
    texts = [_include(header) + text for header in HEADERS for text in (PASTE, COUNT, HELLO)]
    stock, begun = tried(library, texts), tried(FRONT, texts[1::3])
    for header, paste, count, our_count in zip(HEADERS, stock[::3], stock[1::3], begun, strict=True):
        lines = [
            *["#if __COUNTER__", "#endif"] * (_count(count) - _count(our_count)),
            "#define __LAB_PASTE(a, b) a##b",
            # This fills a scratch space alone. The next one is on line 2 of another.
            f"#if __LAB_PASTE({'a' * 2000}, {'b' * (SCRATCH - 2000)})",
            "#endif",
            *["#if __LAB_PASTE(a, b)", "#endif"] * (_line_of_paste(paste) - 2),
            "#undef __LAB_PASTE",
            "",
        ]
        (folder / f"{header or 'bcc'}.counters").write_text("\n".join(lines))
    for (_, *before), (used, *ours) in zip(stock, tried(FRONT, texts), strict=True):
        assert used, f"nothing precompiled is used: {ours}"
        assert ours == before, f"with precompiled headers: {ours}, without: {before}"


def _line_of_paste(outcome: list[str]) -> int:
    return int(re.findall(r"<scratch space>:(\d+)", outcome[2])[0])


def _count(outcome: list[str]) -> int:
    """Return what __COUNTER__ gave, of a program whose first instruction loads it: its last four bytes."""
    return int.from_bytes(bytes.fromhex(outcome[1])[4:8], "little")


def _include(header: str) -> str:
    return f"#include <{header}>\n" if header else ""


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as scratch:
        main(Path(scratch))
